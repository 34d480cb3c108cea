"""Many processes fire the same tasks: each moment once, whoever dies and whatever their clocks say."""

import os
import random
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import clocked_manage
from tests.harness.clocked import account, add_task, get, runs_of
from tests.harness.cluster import Cluster
from tests.harness.daemon import Daemon
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.wait import until
from tests.harness.watchers import FaultyCluster, unfinished

pytestmark = pytest.mark.slow

SKEW = 5.0  # seconds between the true time and a process's clock, at most
# Ten thousand moments take some minutes: `TEN_THOUSAND=1 pytest tests/cluster/test_tasks.py -k moments`.
TICKERS, TASKS, SECONDS, KILLS, CALM = (8, 100, 100, 10, 10) if os.environ.get("TEN_THOUSAND") else (3, 10, 8, 3, 3)


class Ticker(Daemon):
    """One of several, with a clock of its own."""

    def __init__(self, cluster: Cluster, number: int, ahead: float) -> None:
        self.name = f"ticker-{number}"
        super().__init__(log=cluster.folder / f"{self.name}.log")
        self.cluster = cluster
        self.clock = Path(self.folder) / "clock"
        self.clock.write_text(str(ahead))

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.harness.ticking"]

    def environment(self) -> dict[str, str]:
        return self.cluster.environment | {clocked_manage.FILE: str(self.clock)}

    def is_ready(self) -> bool:
        return "ready" in self.output()


@pytest.fixture
def without_workers() -> Iterator[Cluster]:
    with Cluster(web=1, workers=0) as cluster:
        yield cluster


def test_many_moments_are_fired_once_each(without_workers: Cluster, name: str):
    """By processes whose clocks differ by seconds, while they are killed at random."""
    cluster = without_workers
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    print(f"\nCHAOS_SEED={seed}")
    dice = random.Random(seed)
    cluster.add_agent(name, "http://127.0.0.1:9/v1")
    for _ in range(TASKS):
        add_task(cluster, name, overlap="allow", misfire_grace=86_400)
    tickers = [Ticker(cluster, n, SECONDS + dice.uniform(-SKEW, SKEW)) for n in range(TICKERS)]
    try:
        for ticker in tickers:
            ticker.spawn()
        tickers[0].wait_until_ready()
        kills, began = 0, time.monotonic()
        while fired(cluster) < TASKS * SECONDS or kills < KILLS:
            assert time.monotonic() < began + 600
            victim = dice.choice(tickers)
            victim.kill()
            victim.spawn()
            kills += 1
            time.sleep(dice.uniform(1, CALM))
        print(f"{fired(cluster)} moments in {time.monotonic() - began:.0f} s, {kills} processes killed")
    finally:
        for ticker in tickers:
            ticker.close()
    check_accounts(cluster)
    for ticker in tickers:
        assert strange_errors(ticker.log.read_text()) == []


def strange_errors(log: str) -> list[str]:
    """What was raised there, but for a database that has no time, which is tried again."""
    raised = re.findall(r"^(?:\w+\.)+\w*(?:Error|Timeout|Shutdown|Exception)\b.*", log, re.MULTILINE)
    return [line for line in raised if not re.search(r"OperationalError|PoolTimeout|IdleInTransaction|Admin", line)]


def fired(cluster: Cluster) -> int:
    with cluster.postgres.connect() as connection:
        row = connection.execute("SELECT count(*) FROM agents_app_run WHERE task_id IS NOT NULL").fetchone()
    assert row is not None
    return row[0]


def check_accounts(cluster: Cluster) -> None:
    """Each task's moments follow each other by a second, without a gap and without a double."""
    statement = """
        SELECT task_id, count(*), count(DISTINCT scheduled_for),
            extract(epoch FROM max(scheduled_for) - min(scheduled_for))::int + 1,
            min(scheduled_for) - (SELECT anchor FROM agents_app_scheduledtask WHERE id = task_id)
        FROM agents_app_run WHERE task_id IS NOT NULL GROUP BY task_id
    """
    with cluster.postgres.connect() as connection:
        rows = connection.execute(statement).fetchall()
        skips = connection.execute("SELECT count(*) FROM agents_app_skip").fetchone()
    assert len(rows) == TASKS
    for task, runs, distinct, seconds, first in rows:
        assert runs == distinct == seconds, task
        assert first.total_seconds() == 1
    assert skips == (0,)


def test_workers_that_die_fire_nothing_twice_and_lose_nothing(whole: FaultyCluster, model: FakeModel, name: str):
    model.script(name, [[{"text": "Done."}]])
    whole.add_agent(name, model.base_url)
    tasks = [add_task(whole, name, overlap="allow", misfire="all", misfire_limit=100) for _ in range(4)]
    for victim in ("worker-1", "worker-2", "worker-1"):
        before = get(whole, f"/v1/tasks/{tasks[0]['id']}")["total_runs"]
        until(lambda before=before: get(whole, f"/v1/tasks/{tasks[0]['id']}")["total_runs"] >= before + 3, 90)
        whole.kill(victim)
        whole.start(victim)
    for task in tasks:
        assert whole.request("POST", f"/v1/tasks/{task['id']}/disable")[0] == 200
    until(lambda: unfinished(whole) == [], 240)
    assert {run["status"] for task in tasks for run in runs_of(whole, task)} == {"completed"}
    for task in tasks:
        ran, skipped = account(whole, task, 1)
        assert ran >= 9
        assert skipped == 0


def test_a_change_on_one_instance_is_seen_on_all_within_a_second(whole: FaultyCluster, model: FakeModel, name: str):
    model.script(name, [[{"text": "Done."}]])
    whole.add_agent(name, model.base_url)
    task = add_task(whole, name, overlap="allow")
    until(lambda: len(runs_of(whole, task)) >= 2)
    status, response = whole.webs[0].request("POST", f"/v1/tasks/{task['id']}/disable")
    assert (status, response["next_run_at"]) == (200, None)
    count = len(runs_of(whole, task))
    soon = {"schedule_value": "2", "enabled": True}
    whole.webs[1].request("PATCH", f"/v1/tasks/{task['id']}", soon)
    until(lambda: len(runs_of(whole, task)) > count)
    moments = [run["scheduled_for"] for run in runs_of(whole, task)]
    assert len(moments) == len(set(moments))
    whole.request("POST", f"/v1/tasks/{task['id']}/disable")
