"""A server that tests crash, at a named point or at any moment, and the checks of its data afterwards."""

import json
import sys
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed

from tests.harness import faulty_serve
from tests.harness.chat import Chat, Fold
from tests.harness.product import Product
from tests.harness.wait import until


class Crashable(Product):
    """`manage.py serve` with tools whose effects can be counted, and points where it can be made to crash."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.crash_file, self.effects_file, self.grace_file = folder / "crash", folder / "effects", folder / "grace"
        files = {
            faulty_serve.CRASH: str(self.crash_file),
            faulty_serve.EFFECTS: str(self.effects_file),
            faulty_serve.GRACE: str(self.grace_file),
        }
        super().__init__(folder / "var", **files, **environment)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.harness.faulty_serve", *arguments]

    def crash_at(self, point: str, text: str = "") -> None:
        """Crash at this point, as soon as something that contains `text` passes it."""
        assert point in faulty_serve.POINTS
        self.crash_file.write_text(json.dumps({"point": point, "text": text}))

    def give_grace(self, seconds: float = 60) -> None:
        """Let it wait so long for its runs when it stops: for tests that do something meanwhile."""
        self.grace_file.write_text(str(seconds))

    def wait_for_crash(self, timeout: float = 60) -> None:
        assert self.process is not None
        assert self.process.wait(timeout) == -9

    def start(self, timeout: float = 180) -> None:
        for file in (self.crash_file, self.grace_file):
            file.unlink(missing_ok=True)
        super().start(timeout)

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def effects(self, text: str) -> list[str]:
        """What tools have done, of the lines that have `text` in them."""
        lines = self.effects_file.read_text().splitlines() if self.effects_file.exists() else []
        return [line for line in lines if text in line]

    def wait_for_effect(self, text: str, timeout: float = 60) -> None:
        until(lambda: self.effects(text), timeout)

    def get(self, path: str) -> Any:
        status, answer = self.request("GET", path)
        assert status == 200, answer
        return answer

    def runs(self, session: str) -> list[dict[str, Any]]:
        return self.get(f"/v1/sessions/{session}/runs?limit=200")["data"]

    def steps(self, run_id: str) -> list[dict[str, Any]]:
        return self.get(f"/v1/runs/{run_id}/steps?limit=200&ordering=index")["data"]

    def log_of(self, session: str) -> Fold:
        """The session's log from the beginning, folded from REST's pages."""
        fold = Fold()
        page = {"has_more": True}
        while page["has_more"]:
            page = self.get(f"/v1/sessions/{session}/events?after={fold.cursor}&limit=200")
            for frame in page["data"]:
                assert fold.take(frame), "REST told a frame twice"
        return fold


def read_to_the_end(chat: Chat) -> None:
    """Take everything that the server said before it died."""
    try:
        while True:
            chat.next()
    except ConnectionClosed:
        chat.close()


def back_again(chat: Chat, product: Product, session: str) -> Chat:
    """The same watcher on a new socket: it comes with its cursor and knows what it has folded."""
    read_to_the_end(chat)
    again = Chat(product.socket_url(session, after=chat.fold.cursor))
    again.fold = chat.fold
    return again


def check_whole(product: Crashable, session: str, *watchers: Chat) -> Fold:
    """Every run has one beginning and one end, and all who watch have read the same, without a gap."""
    log = product.log_of(session)
    fresh = Chat(product.socket_url(session, after=0))
    try:
        assert fresh.connected["data"]["last_seq"] == log.cursor
        while fresh.fold.cursor < log.cursor:
            fresh.next()
        for watcher in watchers:
            while watcher.fold.cursor < log.cursor:
                watcher.next()
    finally:
        fresh.close()
    for fold in (fresh.fold, *(watcher.fold for watcher in watchers)):
        assert fold.steps == log.steps
        _check_ends(fold)
    for run in product.runs(session):
        frames = [frame for frame in log.frames if frame["run_id"] == run["id"]]
        assert [frame["type"] for frame in frames].count("reasoning_start") == 1
        assert frames[0]["type"] == "reasoning_start"
        assert [frame["type"] for frame in frames].count("reasoning_complete") == 1
        assert frames[-1]["type"] == "reasoning_complete"
        assert frames[-1]["data"]["status"] == run["status"]
    assert all(step["done"] for step in log.steps.values()), log.steps
    return log


def _check_ends(fold: Fold) -> None:
    for kind in ("reasoning_start", "reasoning_complete"):
        runs = [frame["run_id"] for frame in fold.of_type(kind)]
        assert len(runs) == len(set(runs)), f"{kind} was told twice of a run"


def tools(*names: str) -> dict[str, list[str]]:
    """Return the fields of an agent that has these tools."""
    return {"builtin_tools": list(names)}


def call(tool: str, line: object, **more: object) -> dict[str, dict[str, object]]:
    """Return a part of a model's turn that calls a tool with a line."""
    return {"tool_call": {"name": tool, "arguments": {"line": line}, **more}}
