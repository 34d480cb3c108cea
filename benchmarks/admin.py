"""How fast the admin is with many rows: `python -m benchmarks.admin [--runs N] [--events N] [--database URL]`.

Makes a database with that many runs and events, opens every page of the admin, and prints for each the queries and the
milliseconds of the median of a few visits, with those of the processor, which other programs do not lengthen (of
PostgreSQL they are our part). Exit status 1 where one asks more than 20 queries or takes over 300 ms.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from typing import Any

MOST_QUERIES, MOST_MILLISECONDS = 20, 300
VISITS = 5
DAYS = 90


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=100_000)
    options.add_argument("--events", type=int, default=5_000_000)
    options.add_argument("--database", default=os.environ.get("DATABASE_URL", ""), help="default: SQLite in the folder")
    options.add_argument("--folder", default="", help="default: a new one; in one that was filled, nothing is added")
    arguments = options.parse_args()
    folder = arguments.folder or tempfile.mkdtemp(prefix="admin-benchmark-")
    environment = {"VAR_DIR": folder, "DATABASE_URL": arguments.database or f"sqlite:///{folder}/db.sqlite3"}
    if arguments.database:
        environment |= {"SECRET_KEY": "benchmark" * 4, "REDIS_URL": "redis://127.0.0.1:1"}
    os.environ |= environment | {"DJANGO_SETTINGS_MODULE": "scheduler_project.settings", "LOG_LEVEL": "ERROR"}

    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from agents_app.models import Run
    from benchmarks import admin_rows

    began = time.monotonic()
    if not Run.objects.exists():
        admin_rows.fill(admin_rows.make_cast(), runs=arguments.runs, events=arguments.events, days=DAYS)
    took = time.monotonic() - began
    print(
        f"{arguments.runs:,} runs and {arguments.events:,} events over {DAYS} days: {took:.0f} s, in {folder}",
        flush=True,
    )
    return visit_all()


def visit_all() -> int:
    """Open every page, and print what it cost."""
    from benchmarks import admin_rows

    client = admin_rows.client()
    too_much = 0
    for name, address in admin_rows.pages():
        queries, milliseconds, of_processor, size = _visit(client, address)
        over = queries > MOST_QUERIES or milliseconds > MOST_MILLISECONDS
        too_much += over
        print(
            f"{name:44} {queries:3} queries {milliseconds:6.0f} ms ({of_processor:4.0f}) {size / 1024:5.0f} KiB",
            "TOO MUCH" if over else "",
        )
    return 1 if too_much else 0


def _visit(client: Any, address: str) -> tuple[int, float, float, int]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.status_code)
    queries = len(captured)  # the next request forgets them
    slowest = max(captured.captured_queries, key=lambda query: float(query["time"]), default=None)
    if slowest and float(slowest["time"]) > 0.1:
        print(f"    {slowest['time']} s: {slowest['sql'][:600]}")
    taken, worked = [], []
    for _ in range(VISITS):
        began, began_work = time.perf_counter(), time.process_time()
        client.get(address)
        taken.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - began_work) * 1000)
    return queries, statistics.median(taken), statistics.median(worked), len(answer.content)


if __name__ == "__main__":
    sys.exit(main())
