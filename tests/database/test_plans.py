"""What every start and claim asks finds its rows by an index, however long a session is."""

from typing import Any

import pytest
from django.db import connection

from agents_app.models.runs import FIRST_IN_SESSION, NEXT_OF_SESSION

INDEX = "run_unfinished_of_session"
_NEXT = (NEXT_OF_SESSION, {"session": "s"})
_FIRST = f"SELECT run.id FROM agents_app_run AS run WHERE run.status = 'queued' AND {FIRST_IN_SESSION}"


@pytest.mark.django_db
@pytest.mark.parametrize(("statement", "parameters"), [_NEXT, (_FIRST, [])], ids=["next run", "claim"])
def test_the_unfinished_runs_of_a_session_have_an_index(statement: str, parameters: Any):
    """Word for word: SQLite uses a partial index only if the statement repeats its condition."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        assert any(INDEX in row[-1] for row in cursor.fetchall())
