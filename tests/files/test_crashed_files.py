"""kill -9 at each point between an upload and an answer: nothing is lost, nothing is half kept."""

import contextlib
import os
import sqlite3

import httpx2
import pytest

from tests.harness import zygote
from tests.harness.crashable import Crashable, back_again, check_whole
from tests.harness.documents import picture
from tests.harness.fakes.fake_model_process import tool_results

pytestmark = pytest.mark.slow

ACCEPTS = {"accepts": ["text", "image"]}


@pytest.fixture
def product(running: Crashable) -> Crashable:
    """The server that dies in these tests, alive."""
    return running


def upload(product: Crashable, data: bytes) -> str:
    answer = httpx2.post(f"{product.url}/v1/files", files={"file": ("a.png", data)}, timeout=60)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def content(product: Crashable, file: str) -> bytes:
    return httpx2.get(f"{product.url}/v1/files/{file}/content").content


def listed(product: Crashable) -> list[str]:
    return [file["id"] for file in product.get("/v1/files?limit=100")["data"]]


def stored(product: Crashable) -> set[str]:
    """What is in the storage once all leftovers are old enough and the daily pruning has been. It restarts."""
    product.kill()
    product.crash_file.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(product.var_dir / "db.sqlite3")) as database, database:
        database.execute("UPDATE agents_app_storedbytes SET used_at = '2020-01-01 00:00:00'")
    done = zygote.run(product.command("prune", "files", "--days", "1000"), env=os.environ | product.environment)
    assert done.returncode == 0, done.stderr
    with contextlib.closing(sqlite3.connect(product.var_dir / "db.sqlite3")) as database:
        keys = {key for (key,) in database.execute("SELECT key FROM agents_app_storedbytes")}
    folder = product.var_dir / "files"  # which the first upload makes
    assert {path.name for path in (folder.iterdir() if folder.exists() else ())} == keys
    product.start()
    return keys


def test_killed_in_an_upload_or_a_deletion(product):
    data = picture() + b"its own bytes"
    before, files = stored(product), listed(product)  # of other tests
    for point in ("upload-begun", "bytes-written", "file-written"):
        product.crash_at(point)
        with pytest.raises(httpx2.TransportError):
            upload(product, data)
        product.wait_for_crash()
        product.start()
        assert listed(product) == files
    file = upload(product, data)  # the client's next try
    gone = upload(product, data + b"other")
    product.crash_at("bytes-deleting")
    with pytest.raises(httpx2.TransportError):
        httpx2.delete(f"{product.url}/v1/files/{gone}")
    product.wait_for_crash()
    assert len(stored(product) - before) == 1
    assert set(listed(product)) == {*files, file}
    assert content(product, file) == data


@pytest.mark.parametrize("point", ["run-accepted", "files-rendered"])
def test_killed_between_a_message_with_a_file_and_its_answer(agent, open_chat, product, model, name, point):
    who = agent([{"text": "I see."}], parameters=ACCEPTS)
    part = {"type": "file", "file_id": upload(product, picture())}
    chat = open_chat(name)
    product.crash_at(point, name)
    chat.send("chat", message=f"Look, {name}.", parts=[part], agent_name=who, message_id="one")
    product.wait_for_crash()
    product.start()
    chat = back_again(chat, product, name)
    chat.send("chat", message=f"Look, {name}.", parts=[part], agent_name=who, message_id="one")
    if not chat.fold.of_type("reasoning_complete"):
        chat.until("reasoning_complete")
    check_whole(product, name, chat)
    (run,) = product.runs(name)
    assert (run["status"], run["result"]) == ("completed", "I see.")
    (request,) = model.requests(name)
    assert [each["type"] for each in request["messages"][-1]["content"]] == ["text", "image_url"]


def test_killed_when_a_tools_file_is_stored_and_has_no_row_yet(agent, open_chat, product, model, name):
    give = {"tool_call": {"name": "give_file", "arguments": {"name": "a.csv", "content": name}}}
    who = agent([give], [{"text": "Here it is."}], builtin_tools=["give_file"])
    chat = open_chat(name)
    product.crash_at("attachments-stored", name)
    chat.say("Make a file.", agent_name=who)
    product.wait_for_crash()
    product.start()
    chat = back_again(chat, product, name)
    if not chat.fold.of_type("reasoning_complete"):
        chat.until("reasoning_complete")
    check_whole(product, name, chat)
    (run,) = product.runs(name)
    (file,) = product.get(f"/v1/runs/{run['id']}/files")["data"]
    assert content(product, file["id"]) == name.encode()
    (result,) = tool_results(model.requests(name)[-1])
    assert file["id"] in result
