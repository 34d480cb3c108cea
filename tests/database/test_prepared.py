"""A prepared query set returns what the query set returns, in each thread, with the values of each call."""

import datetime
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Q, Value

from agents_app.access import rights
from agents_app.database.prepared import Parameter, Prepared, insert
from agents_app.models import Agent, Provider, Run, Session

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture
def agent():
    provider = Provider.objects.create(name="local", base_url="http://127.0.0.1:9/v1", api_key="secret")
    return Agent.objects.create(name="helper", provider=provider)


@pytest.fixture
def session(admin_user, agent):
    return Session.objects.create(owner=admin_user, agent=agent)


def run(session, number, **fields):
    return Run(session=session, number=number, agent=session.agent, agent_name="helper", prompt=f"{number}", **fields)


def test_rows_come_with_relations_and_annotations(session):
    claimed = Prepared(
        lambda: rights.with_rights(Run.objects.filter(pk=Parameter("pk"))).select_related("session", "agent__provider")
    )
    first, second = run(session, 1), run(session, 2)
    Run.objects.bulk_create([first, second])
    for row in (first, second, first):
        [result] = claimed.all(pk=row.pk)
        assert (result, result.prompt, result.denial_code) == (row, row.prompt, "")
        with transaction.atomic(), connection.execute_wrapper(forbid):
            assert result.session == session and result.agent.provider.api_key == "secret"


def forbid(*_):
    raise AssertionError("This row was to be read with the others.")


def test_values_are_adapted_as_in_other_queries(session):
    since = Prepared(
        lambda: Run.objects.filter(
            Q(status=Parameter("status")) | Q(created_at__gte=Parameter("since")), session=Parameter("session")
        ).order_by("number")[:2]
    )
    rows = [run(session, number) for number in (1, 2, 3)]
    Run.objects.bulk_create(rows)
    before = rows[0].created_at - datetime.timedelta(microseconds=1)
    after = rows[-1].created_at + datetime.timedelta(seconds=1)
    assert since.all(status="failed", since=before, session=session.pk) == rows[:2]
    assert since.all(status="failed", since=after, session=session.pk) == []
    assert since.first(status="queued", since=after, session=session.pk) == rows[0]
    assert since.first(status="queued", since=after, session="another") is None
    with pytest.raises(KeyError, match="since"):
        since.all(status="queued", session=session.pk)


@pytest.mark.django_db(transaction=True)
def test_each_thread_uses_its_own_connection(agent):
    named = Prepared(lambda: Agent.objects.filter(name=Parameter("name")).annotate(one=Value(1)))

    def read(number: int) -> str:
        try:
            return named.all(name="helper" if number % 2 else "nobody").__repr__()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(read, range(20))) == {"[<Agent: helper>]", "[]"}


def test_an_inserted_row_is_the_saved_row(session):
    saved, inserted = run(session, 1), run(session, 2)
    saved.save(force_insert=True)
    assert insert(inserted)
    rows = Run.objects.in_bulk([saved.pk, inserted.pk])
    own = {"id", "number", "prompt", "created_at"}
    names = [field.attname for field in Run._meta.concrete_fields if field.attname not in own]
    assert [getattr(rows[saved.pk], name) for name in names] == [getattr(rows[inserted.pk], name) for name in names]
    assert rows[inserted.pk].created_at == inserted.created_at
    inserted.save()  # it is known to exist
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(run(session, 2))
    assert not insert(run(session, 2), ignore_conflicts=True)
