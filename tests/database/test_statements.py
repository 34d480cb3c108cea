"""How many statements a start and a claim take: on PostgreSQL each is a round trip, and CPU on both sides."""

import math
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents_app import runs
from agents_app.models import Agent, budgets, running_limits
from agents_app.worker import claims

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
IS_POSTGRESQL = connection.vendor == "postgresql"


@pytest.fixture
def start(admin_user, monkeypatch):
    budgets.rules()
    running_limits.running_limits()
    for cache in (budgets._cache, running_limits._cache):
        monkeypatch.setattr(cache, "valid_until", math.inf)  # which the machine may be too busy to keep to
    Agent.objects.create(name="helper", model="m")

    def start(session_id):
        return runs.start(
            runs.NewRun(user=admin_user, session_id=session_id, message="go", agent_name="helper", trigger="api")
        ).run

    return start


def test_a_start_and_a_claim_take_few_statements(start):
    claims.claim("one", 1, only=[start("first").pk])  # which compiles them, and reads the agent's version
    with CaptureQueriesContext(connection) as of_start:
        run = start("second")
    with CaptureQueriesContext(connection) as of_claim:
        assert claims.claim("one", 1, only=[run.pk])
    assert len(of_start) <= (11 if IS_POSTGRESQL else 10), [query["sql"] for query in of_start]
    assert len(of_claim) <= (9 if IS_POSTGRESQL else 8), [query["sql"] for query in of_claim]
    if IS_POSTGRESQL:
        assert jobs([run, start("third"), start("third")]) == [("second", -8), ("third", -24), ("third", -40)]


def jobs(rows):
    """Return the session and the turn of each run's jobs. A second job for a run finds nothing to do."""
    statement = """
        SELECT session.name, job.priority FROM procrastinate_jobs AS job
        JOIN agents_app_run AS run ON run.id::text = job.lock AND run.id::text = job.args ->> 'run_id'
        JOIN agents_app_session AS session ON session.id = run.session_id AND to_jsonb(owner_id) = job.args -> 'owner'
        WHERE run.id = ANY(%s) AND job.queue_name = 'runs' AND job.status = 'todo' ORDER BY job.id
    """
    with connection.cursor() as cursor:
        cursor.execute(statement, [[run.pk for run in rows]])
        return cursor.fetchall()


def test_a_claim_has_one_text_however_many_runs_are_in_progress(start):
    """Each other text would be rewritten for the driver, and compiled by SQLite."""
    texts = set()

    def note(execute, sql, params, many, context):
        if "SET status = 'running'" in sql:
            texts.add(sql)
        return execute(sql, params, many, context)

    run = start("s")
    with connection.execute_wrapper(note):
        for count in (0, 1, 5):
            others = [uuid.uuid4() for _ in range(count)]
            assert claims.claim("one", 1, [run.pk, *others]) == []
        assert [claim.run.pk for claim in claims.claim("one", 1)] == [run.pk]
    assert len(texts) == 1
