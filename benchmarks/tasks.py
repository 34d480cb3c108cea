"""How late tasks fire, with thousands of them; what a look at the clock costs; how fast a restart catches up.

    python -m benchmarks.tasks [--tasks 10000] [--rate 3] [--seconds 20]

Embedded, on SQLite, with the scripted model. The last line is JSON.
"""

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.harness.clocked import Clocked
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.paths import ROOT

AGENT = "timely"
START = 15  # seconds in which the server starts, before the first task is due
NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"

# Through the ORM and in bulk: ten thousand requests would take longer than what is measured.
FILL = """
import datetime, random
from django.contrib.auth import get_user_model
from django.utils import timezone
from agents_app.models import Agent, ScheduledTask
count, period = {count}, {period}
agent, owner = Agent.objects.get(name="{agent}"), get_user_model().objects.first()
start = timezone.now().replace(microsecond=0) + datetime.timedelta(seconds={ahead})
rows = []
for n in range(count):
    task = ScheduledTask(owner=owner, name=f"task {{n}}", agent=agent, task_prompt="Go.", schedule_type="interval",
        schedule_value=str(period), anchor=start + datetime.timedelta(seconds=n * period / count - period))
    task.set_next(task.anchor + datetime.timedelta(seconds=period))
    rows.append(task)
ScheduledTask.objects.bulk_create(rows, batch_size=1000)
"""
LOOK = """
import time
from agents_app import clock, scheduler
def look():
    began = time.perf_counter()
    scheduler.due_work(clock.now())
    return time.perf_counter() - began
look()
print(sorted(look() for _ in range(200))[100] * 1000)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=3, help="How many of them are due in a second.")
    parser.add_argument("--seconds", type=float, default=20, help="How long they are watched.")
    options = parser.parse_args()
    with FakeModel() as model, tempfile.TemporaryDirectory() as folder:
        model.script(AGENT, [[{"text": "Done."}]])
        print(json.dumps(measure(model, Path(folder), options)))


def measure(model: FakeModel, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    server = Clocked(folder)
    with server:
        server.add_agent(AGENT, model.base_url)
    shell(server, FILL.format(count=options.tasks, ahead=START, period=int(options.tasks / options.rate), agent=AGENT))
    look = float(shell(server, LOOK))
    print(f"A look at {options.tasks} tasks: {look:.2f} ms")
    with server:
        time.sleep(START + options.seconds)
        late = lateness(server)
    print(f"{len(late)} runs, late by ms: p50 {late[len(late) // 2]:.0f}, p99 {percentile(late, 99):.0f}")
    made_up = catch_up(server, options.tasks, "skip", options.tasks)
    print(f"After three days, {options.tasks} tasks of 'skip' were taken up in {made_up:.1f} s")
    started = catch_up(server, options.tasks, "once", 500)
    print(f"After three days, 500 tasks of 'once' were started in {started:.1f} s")
    return {
        "tasks": options.tasks,
        "look_ms": round(look, 3),
        "runs": len(late),
        "late_p50_ms": round(statistics.median(late), 1),
        "late_p99_ms": round(percentile(late, 99), 1),
        "late_most_ms": round(late[-1], 1),
        "skip_catch_up_s": round(made_up, 2),
        "once_500_catch_up_s": round(started, 2),
    }


def shell(server: Clocked, code: str) -> str:
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=server.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(server: Clocked, statement: str) -> list[tuple[float, ...]]:
    with sqlite3.connect(server.var_dir / "db.sqlite3", timeout=20) as database:
        return database.execute(statement).fetchall()


def lateness(server: Clocked) -> list[float]:
    """Milliseconds from the moment to the row of the run, in order."""
    difference = "(julianday(created_at) - julianday(scheduled_for)) * 86400000"
    return sorted(late for (late,) in rows(server, f"SELECT {difference} FROM agents_app_run WHERE task_id NOT NULL"))


def percentile(ordered: list[float], n: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * n // 100)]


def catch_up(server: Clocked, tasks: int, policy: str, missed: int) -> float:
    """Seconds from the end of a start after three days to the moment at which nothing is overdue any more."""
    far = "'2099-01-01 00:00:00'"
    with sqlite3.connect(server.var_dir / "db.sqlite3") as database:
        database.execute(f"UPDATE agents_app_scheduledtask SET misfire = '{policy}', overlap = 'allow'")
        database.execute(
            "UPDATE agents_app_scheduledtask SET next_due = "
            f"CASE WHEN rowid % {tasks} < {missed} THEN {NOW} ELSE {far} END"
        )
        database.execute("UPDATE agents_app_scheduledtask SET next_run_at = next_due")
    server.put_forward(3 * 86_400)
    with server:
        began = time.monotonic()
        overdue = (
            f"SELECT count(*) FROM agents_app_scheduledtask WHERE next_run_at <= '{server.now():%Y-%m-%d %H:%M:%S}'"
        )
        while rows(server, overdue) != [(0,)]:
            assert time.monotonic() < began + 120
            time.sleep(0.1)
        return time.monotonic() - began


if __name__ == "__main__":
    main()
