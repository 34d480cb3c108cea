"""What every start and claim asks finds its rows by an index, however long a session is."""

import pytest
from django.db import connection

from agents_app.models.runs import FIRST_IN_SESSION
from agents_app.runs.queueing import _HEAD

INDEX = "run_unfinished_of_session"
_FIRST = f"SELECT run.id FROM agents_app_run AS run WHERE run.status = 'queued' AND {FIRST_IN_SESSION}"


@pytest.mark.django_db
@pytest.mark.parametrize(("statement", "parameters"), [(_HEAD, ["s"]), (_FIRST, [])], ids=["next run", "claim"])
def test_the_unfinished_runs_of_a_session_have_an_index(statement: str, parameters: list[str]):
    """Word for word: SQLite uses a partial index only if the statement repeats its condition."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        assert any(INDEX in row[-1] for row in cursor.fetchall())
