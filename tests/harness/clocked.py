"""A server whose schedules and counters go by a clock that the test sets."""

import datetime
import itertools
import sys
from pathlib import Path
from typing import Any

from tests.harness import clocked_manage
from tests.harness.product import Product


class Clocked(Product):
    """`manage.py serve` with a clock that can be put forward, also while it does not run."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._clock_file = folder / "clock"
        super().__init__(folder / "var", **{clocked_manage.FILE: str(self._clock_file)}, **environment)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.harness.clocked_manage", *arguments]

    def put_forward(self, seconds: float) -> None:
        ahead = clocked_manage.ahead(self._clock_file).total_seconds() + seconds
        new = self._clock_file.with_suffix(".new")
        new.write_text(str(ahead))
        new.replace(self._clock_file)

    def begin_window(self, seconds: int = 60) -> None:
        """Put the clock forward to where a minute begins, or whatever time the server counts by."""
        self.put_forward(seconds - self.now().timestamp() % seconds + 1)

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + clocked_manage.ahead(self._clock_file)


# Whatever serves: asking about tasks over HTTP


def add_task(server: Any, agent: str, **fields: Any) -> dict[str, Any]:
    """Make a task that is due every second, unless the fields say otherwise."""
    task = {"name": agent, "agent_name": agent, "task_prompt": "Do it.", "schedule_type": "interval"}
    status, answer = server.request("POST", "/v1/tasks", task | {"schedule_value": "1"} | fields)
    assert status == 201, answer
    return answer


def get(server: Any, path: str) -> Any:
    status, answer = server.request("GET", path)
    assert status == 200, answer
    return answer


def whole_list(server: Any, path: str) -> list[dict[str, Any]]:
    """All pages of a list."""
    url = f"{path}{'&' if '?' in path else '?'}limit=200"
    rows: list[dict[str, Any]] = []
    while url:
        page = get(server, url)
        rows += page["data"]
        url = page["next"] and "/v1/" + page["next"].split("/v1/", 1)[1]
    return rows


def runs_of(server: Any, task: dict[str, Any]) -> list[dict[str, Any]]:
    """Oldest first."""
    return whole_list(server, f"/v1/tasks/{task['id']}/runs?ordering=created_at")


def skips_of(server: Any, task: dict[str, Any]) -> list[dict[str, Any]]:
    return whole_list(server, f"/v1/tasks/{task['id']}/skips?ordering=scheduled_for")


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def account(server: Any, task: dict[str, Any], step: int) -> tuple[int, int]:
    """Hold that each moment of an interval was run once, or skipped with a reason; how many were run and skipped."""
    ran = [moment(run["scheduled_for"]) for run in runs_of(server, task)]
    assert len(ran) == len(set(ran)), "a moment was run twice"
    covered, skipped = set(ran), 0
    for skip in skips_of(server, task):
        at, until = moment(skip["scheduled_for"]), moment(skip["until"])
        assert skip["reason"]
        while at <= until:
            assert at not in covered, f"{at} was taken up twice"
            covered.add(at)
            skipped += 1
            at += datetime.timedelta(seconds=step)
    ordered = sorted(covered)
    gaps = {later - earlier for earlier, later in itertools.pairwise(ordered)}
    assert gaps <= {datetime.timedelta(seconds=step)}, f"a moment was lost: {gaps}"
    return len(ran), skipped
