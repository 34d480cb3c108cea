"""What agents do with files: give them to the user, and read long ones part by part."""

import asyncio
import contextlib

import httpx2
import pytest

from agents_app.engine.toolset import Attachment, Call, ToolError, ToolResult
from agents_app.files import storage
from agents_app.models import StoredBytes
from agents_app.tools import attachments, files
from tests.files.test_sent_files import upload
from tests.harness.fakes.fake_model_process import tool_results


def use(tool: str, **arguments: object) -> dict:
    return {"tool_call": {"name": tool, "arguments": arguments}}


def test_an_agent_gives_a_file_and_reads_only_its_users_files(people, model, name):
    ann, bob = people["ann"], people["bob"]
    text = "zweite Hälfte: " + "ü" * 300_000 + "end"
    mine, picture, theirs = upload(ann, text.encode(), "long.md"), upload(ann), upload(bob, b"secret", "s.txt")
    calls = [
        use("give_file", name="../../a\u202eb.csv", content="a,b\n1,2\n", media_type="image/png"),
        use("give_file", name="..", content="x"),
        use("read_file", file_id=mine, offset=8, limit=7),
        use("read_file", file_id=mine, offset=300_010),
        use("read_file", file_id=mine, offset=400_000),
        use("read_file", file_id=picture),
        use("read_file", file_id=theirs),
    ]
    model.script(name, [calls, [{"text": "Here it is."}]])
    people["boss"].add_agent(name, model.base_url, builtin_tools=["give_file", "read_file"])
    with contextlib.closing(ann.chat(name, agent_name=name)) as chat:
        assert chat.ask("go", agent_name=name)["data"]["status"] == "completed", chat.fold.frames[-2]["data"]
        run = chat.fold.frames[0]["run_id"]
    results = tool_results(model.requests(name)[-1])  # in the order in which the calls ended
    (file,) = ann.request("GET", f"/v1/runs/{run}/files")[1]["data"]
    assert (file["filename"], file["media_type"], file["kind"], file["bytes"]) == ("ab.csv", "text/csv", "given", 8)
    for words in (
        f"[file_id {file['id']}: ab.csv, text/csv, 8 bytes]",
        "'name' must be a file name",
        f"{text[8:15]}\n[more at offset 15]",
        "üend\n[end of the file]",
        "file ends before",
        "The file is image/png",
        "There is no file",
    ):
        assert [result for result in results if words in result], words
    assert bob.request("GET", f"/v1/runs/{run}/files")[0] == 404
    address = f"{ann.product.url}/v1/files/{file['id']}/content"
    assert httpx2.get(address, headers=ann.headers).content == b"a,b\n1,2\n"


def test_a_file_that_an_agent_makes_has_bounds():
    call = Call("1", lambda _: None)
    (tool,) = files.make_tools(["give_file"], None)
    with pytest.raises(ToolError, match="1,048,576"):
        asyncio.run(tool.call({"name": "x.txt", "content": "x" * (1024**2 + 1)}, call))


@pytest.mark.django_db(transaction=True)
@pytest.mark.both
@pytest.mark.parametrize(("room", "works", "words"), [(6, True, ""), (5, True, "MiB"), (6, False, "refused the write")])
def test_what_cannot_be_kept_is_left_out_in_words(monkeypatch, room, works, words):
    def refuse(*_: object) -> None:
        raise OSError("full")

    monkeypatch.setattr(attachments, "MOST_BYTES", room)
    if not works:
        monkeypatch.setattr(storage.storage(), "save", refuse)
    result = ToolResult("text", attachments=tuple(Attachment("audio", "image/png", each) for each in (b"abc", b"def")))

    async def keep() -> ToolResult:
        try:
            return await attachments.Attachments(None).keep(result)
        finally:
            await attachments._threads.release()

    kept = asyncio.run(keep())
    assert words in kept.content and kept.content.startswith("text")
    assert len(kept.attachments) == StoredBytes.objects.count() == (0 if not works else 2 if not words else 1)
    assert all(each.media_type == "text/plain" and each.stored_id for each in kept.attachments)
