"""Code that agents run: what it finds, what it makes, and what stops it."""

import asyncio
import contextlib
import io
import os
import time
from types import SimpleNamespace

import httpx2
import pytest

from agents_app.engine.toolset import Call
from agents_app.maintenance import working_folders
from agents_app.models import Session
from agents_app.tools import code_folders, run_code
from tests.files.test_sent_files import upload
from tests.harness.fakes.fake_model_process import tool_results

pytestmark = pytest.mark.slow

FIRST = """
import csv, socket
rows = list(csv.reader(open("sales.csv")))
print("rows", len(rows))
from PIL import Image
Image.new("RGB", (4, 4), "red").save("plot.png")
open(".hidden", "w").write("kept")
try:
    socket.create_connection(("1.1.1.1", 443), 2)
except OSError as error:
    print("no network:", error.strerror)
"""
SECOND = """
import os
print(sorted(os.listdir(".")), open(".hidden").read())
raise SystemExit(3)
"""
DEEP = """
import os, time
for _ in range(20):  # longer than any path that the system takes as a whole
    os.mkdir("d" * 250)
    os.chdir("d" * 250)
open("a", "wb").write(b"x" * 3_000_000)
time.sleep(60)
"""


def use(code: str) -> dict:
    return {"tool_call": {"name": "run_code", "arguments": {"code": code}}}


def test_code_reads_a_chats_file_and_its_plot_is_seen(people, model, name):
    ann = people["ann"]
    model.script(name, [[use(FIRST)], [use(SECOND)], [{"text": "Here is the plot."}]])
    people["boss"].add_agent(name, model.base_url, builtin_tools=["run_code"])
    parts = [{"type": "file", "file_id": upload(ann, b"a,b\n1,2\n", "sales.csv")}]
    with contextlib.closing(ann.chat(name, after=0)) as chat:
        assert chat.ask("plot it", agent_name=name, parts=parts)["data"]["status"] == "completed"
        run = chat.fold.frames[0]["run_id"]
    first, second = tool_results(model.requests(name)[-1])[:2]
    assert "rows 2" in first and "no network: Network is unreachable" in first and "plot.png, image/png" in first
    assert "['.code.py', '.hidden', 'plot.png', 'sales.csv'] kept" in second
    assert "It failed: its process ended with status 3." in second
    (file,) = [row for row in ann.request("GET", f"/v1/runs/{run}/files")[1]["data"] if row["filename"] == "plot.png"]
    content = httpx2.get(f"{ann.product.url}/v1/files/{file['id']}/content", headers=ann.headers).content
    assert content.startswith(b"\x89PNG")


@pytest.fixture
def tool(tmp_path, settings, monkeypatch):
    """The tool, of a session without a chat."""
    settings.VAR_DIR = tmp_path

    def prepare(folder: code_folders.CodeFolder, *_: object) -> code_folders.Snapshot:
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder.snapshot()

    monkeypatch.setattr(code_folders.CodeFolder, "prepare", prepare)
    return run_code.make_tool(SimpleNamespace(session_id="s", session=SimpleNamespace(owner_id=1)))


def as_ordinary_user(scandir):
    def refuse_closed(path):
        if not os.stat(path).st_mode & 0o700:  # noqa: PTH116 — a descriptor too
            raise PermissionError(path)
        return scandir(path)

    return refuse_closed


@pytest.mark.parametrize(
    ("limit", "value", "code", "words"),
    [
        ("TIME_LIMIT", 0.5, "print('begun'); import time; time.sleep(60)", "took longer than 0.5 seconds"),
        (
            "MOST",
            0,
            "open('a', 'wb').write(b'x' * 3_000_000); import time; time.sleep(60)",
            "its new files were deleted",
        ),
        ("MOST", 0, "import os; os.mkdir('d'); os.chmod('d', 0); import time; time.sleep(60)", "files were deleted"),
        ("MOST", 0, DEEP, "files were deleted"),
        ("", 0, "import os; os.symlink('/etc/passwd', 'link'); os.mkfifo('pipe'); print('made')", "made"),
        ("", 0, "print('x' * 100_000)", "[… 60,001 characters left out …]"),
        ("", 0, "x = bytearray(2 * 1024**3)", "MemoryError"),
    ],
)
def test_code_has_limits(tool, monkeypatch, limit, value, code, words):
    if limit == "TIME_LIMIT":
        monkeypatch.setattr(run_code, limit, value)
    elif limit:
        monkeypatch.setattr(code_folders, "MOST_BYTES", 1_000_000)
    if "chmod" in code and os.geteuid() == 0:
        monkeypatch.setattr(os, "scandir", as_ordinary_user(os.scandir))  # root reads every folder
    result = asyncio.run(tool.call({"code": code}, Call("1", lambda _: None)))
    assert words in result.content
    assert result.attachments == ()


def test_cancelling_ends_code_at_once_and_shows_what_it_printed(tool):
    async def story() -> float:
        lines: asyncio.Queue[str] = asyncio.Queue()
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('begun'); time.sleep(60)"
        call = asyncio.create_task(tool.call({"code": code}, Call("1", lines.put_nowait)))
        assert await lines.get() == "begun"
        began = time.monotonic()
        call.cancel()
        await asyncio.wait([call])
        return time.monotonic() - began

    assert asyncio.run(story()) < 0.5


@pytest.mark.django_db
def test_folders_of_what_is_gone_are_deleted(tmp_path, settings, admin_user):
    settings.VAR_DIR = tmp_path
    session = Session.objects.create(owner=admin_user)
    kept = [f"code/{session.pk}", f"mcp/s.session-{session.pk}", f"mcp/s.user-{admin_user.pk}", "mcp/s"]
    gone = ["code/gone", "mcp/s.session-gone", "mcp/s.user-999999"]
    for folder in (*kept, *gone):
        (tmp_path / folder / "files").mkdir(parents=True)
    assert working_folders.delete_unneeded() == len(gone)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")) == sorted(kept)


@pytest.mark.parametrize("left", [".sales.csv.part", "../copy.part"])
def test_a_file_is_copied_although_an_earlier_copy_was_cut_off(tmp_path, settings, monkeypatch, left):
    settings.VAR_DIR = tmp_path
    file = SimpleNamespace(pk="file-1", name="sales.csv", size=4, stored=SimpleNamespace(key="k"))
    monkeypatch.setattr(code_folders, "_files_of_chat", lambda *_: [file])
    monkeypatch.setattr(code_folders, "open_bytes", lambda _key: io.BytesIO(b"a,b\n"))
    folder = code_folders.CodeFolder("s")
    folder.path.mkdir(parents=True)
    (folder.path / left).write_bytes(b"a lot more than the file")
    folder.prepare(1, "s")
    assert (folder.path / "sales.csv").read_bytes() == b"a,b\n"
