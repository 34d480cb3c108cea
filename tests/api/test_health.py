"""/readyz tells the truth: each test breaks one thing, and mends it. The distributed ones are in tests/cluster."""

import contextlib
import datetime
import sqlite3
import threading

import psutil
import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from agents_app.server import health
from tests.harness.wait import until

FINAL = [{"text": "Done."}]


def checks(product):
    """The status, and what is not ok."""
    status, body = product.request("GET", "/readyz")
    return status, {name: response for name, response in body["checks"].items() if response != "ok"} | body.get(
        "warnings", {}
    )


def whole_again(product):
    until(lambda: checks(product) == (200, {}))
    assert product.request("GET", "/healthz")[0] == 200


def only(product, name):
    """The same where this alone is not ok; a server that is busy may be late with others."""
    status, wrong = checks(product)
    return (status, wrong) if set(wrong) == {name} else None


@contextlib.contextmanager
def full_disk(product):
    """No file of the process may grow, as on a full disk: what it writes is refused."""
    process = psutil.Process(product.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_a_full_disk_and_a_lost_file_are_reported_and_so_is_their_end(own_product):
    whole_again(own_product)

    with full_disk(own_product):
        status, wrong = until(lambda: only(own_product, "disk"))
        assert status == 503
        assert wrong["disk"].startswith("VAR_DIR cannot be written")
        assert own_product.request("GET", "/healthz")[0] == 200
    whole_again(own_product)

    database = own_product.var_dir / "db.sqlite3"
    database.rename(database.with_suffix(".gone"))
    status, wrong = checks(own_product)
    database.with_suffix(".gone").rename(database)
    assert (status, wrong["database"]) == (503, "The database does not answer.")
    whole_again(own_product)


def test_a_scheduler_that_is_stuck_is_reported(product, agent, name):
    body = {"name": name, "agent_name": agent(FINAL), "task_prompt": "Go.", "schedule_type": "interval",
            "schedule_value": "3600", "misfire": "skip"}  # fmt: skip
    status, task = product.request("POST", "/v1/tasks", body)
    assert status == 201, task
    past = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)).strftime("%Y-%m-%d %H:%M:%S")
    due = "UPDATE agents_app_scheduledtask SET next_run_at = ? WHERE id = ?"

    def stuck():
        """Make the task due, then take the only writer's place before the ticker does: it may be quicker."""
        with contextlib.closing(
            sqlite3.connect(product.var_dir / "db.sqlite3", isolation_level=None, timeout=60)
        ) as lock:
            lock.execute(due, [past, task["id"].replace("-", "")])
            lock.execute("BEGIN IMMEDIATE")
            status, wrong = checks(product)
            return (status, wrong) if set(wrong) == {"scheduler"} else None

    status, wrong = until(stuck)
    assert status == 200
    assert wrong["scheduler"].startswith("Tasks do not fire: one has been overdue for 3")
    whole_again(product)
    product.request("DELETE", f"/v1/tasks/{task['id']}")


@pytest.mark.django_db
def test_missing_migrations_are_reported(monkeypatch):
    monkeypatch.setattr(health, "_is_migrated", threading.Event())
    ((app, newest),) = MigrationLoader(connection).graph.leaf_nodes("agents_app")
    MigrationRecorder(connection).record_unapplied(app, newest)
    response = Client().get("/readyz").json()["checks"]
    assert response["migrations"].startswith("1 migrations are not applied")
