"""What streams feel of the deletion of old rows: `python -m benchmarks.prune [--events 300000] [--streams 20]`

The same streams twice in a row, first alone, then while `manage.py prune runs` deletes old runs with their events.
"""

import argparse
import contextlib
import os
import sqlite3
import subprocess
import time
import uuid
from pathlib import Path

from benchmarks.stream import Bench, bench, streams
from tests.harness.paths import ROOT

SESSIONS, RUNS = 50, 100  # runs of each session
OLD = "2026-01-01 00:00:00"
DATA = '{"step": 0, "type": "thought", "iteration": 1, "offset": 0, "content": "' + "word " * 30 + '"}'


def fill(database: Path, events: int) -> None:
    """Old sessions, with so many events in all."""
    each = events // (SESSIONS * RUNS)
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        run_columns = _columns(connection, "agents_app_run")
        for number in range(SESSIONS):
            name = f"old-{number}"
            _insert(connection, "agents_app_session", {
                "id": name, "name": name, "title": "", "last_seq": each * RUNS, "pruned_seq": 0, "run_count": RUNS,
                "created_at": OLD, "updated_at": OLD,
            })  # fmt: skip
            for place in range(RUNS):
                run = uuid.uuid4().hex
                existing = {
                    "id": run, "session_id": name, "number": place + 1, "status": "completed", "usage": "{}",
                    "first_seq": place * each + 1, "last_seq": (place + 1) * each, "created_at": OLD,
                    "finished_at": OLD, "settled": 1,
                }  # fmt: skip
                _insert(connection, "agents_app_run", run_columns | existing)
                rows = [
                    (name, seq, seq, run, "reasoning_delta", DATA, OLD)
                    for seq in range(place * each + 1, (place + 1) * each + 1)
                ]
                connection.executemany(
                    "INSERT INTO agents_app_event (session_id, seq, first, run_id, type, data, created_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    rows,
                )


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, object]:
    """A value for each column that wants one."""
    match = connection.execute(f"SELECT name, type FROM pragma_table_info('{table}') WHERE \"notnull\"")
    return {name: "" if kind.startswith(("varchar", "text")) else 0 for name, kind in match}


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    places = ", ".join("?" * len(row))
    names = ", ".join(row)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", list(row.values()))


def measure(b: Bench, events: int, count: int, seconds: float) -> None:
    fill(b.product.var_dir / "db.sqlite3", events)
    streams(b, 1, 2)  # warms up
    _tell("alone", streams(b, count, seconds))
    began = time.monotonic()
    command = b.product.command("prune", "runs", "--days", "30")
    with subprocess.Popen(command, cwd=ROOT, env=b.product.environment, stdout=subprocess.PIPE, text=True) as pruning:
        _tell("while pruning", streams(b, count, seconds))
        is_over = pruning.poll() is not None
        output = pruning.communicate()[0].strip()
    print(
        f"pruned in {time.monotonic() - began:.1f} s: {output}" + (" It ended before the streams." if is_over else "")
    )


def _tell(when: str, result: dict) -> None:
    age, data = result["age_ms"], f"{result['deltas']} of {result['expected']} tokens, {result['gaps']} gaps"
    print(f"{when}: age of a token p50 {age['p50']} ms, p99 {age['p99']} ms, most {age['max']} ms; {data}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=15)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with bench() as b:
        measure(b, options.events, options.streams, options.seconds)


if __name__ == "__main__":
    main()
