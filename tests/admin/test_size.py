"""The admin with many rows: no page asks more queries than with few, and none looks through all there is."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents_app.admin import base, usage
from agents_app.admin.base import CappedPaginator
from agents_app.models import Event, Run
from benchmarks import admin_rows

pytestmark = pytest.mark.django_db

MOST = 20
FEW, MANY = 100, 1000  # the twentieth page of fifty is full


@pytest.fixture
def cast():
    return admin_rows.make_cast()


def query_counts() -> dict[str, int]:
    """How many queries each page asks."""
    client, names = admin_rows.client(), {}
    for name, address in admin_rows.pages():
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(address)
            assert answer.status_code in (200, 302), (name, answer.status_code)
        names[name] = len(queries)
    return names


@pytest.mark.slow
def test_no_page_asks_more_for_many_rows_than_for_few(cast):
    admin_rows.fill(cast, runs=FEW, events=10 * FEW, days=14)
    few = query_counts()
    admin_rows.fill(cast, runs=MANY, events=2 * MANY, days=14, first=FEW)
    many = query_counts()
    assert max(many.values()) < MOST, many
    # A page of the list that few rows do not fill is no page: it leads to the first.
    assert {name for name in many if many[name] > few[name]} <= {"run list: page 20"}


def test_lists_count_and_look_through_no_more_than_the_newest(cast, admin_client, monkeypatch):
    admin_rows.fill(cast, runs=100, events=1000, days=1)
    monkeypatch.setattr(base, "MOST_COUNTED", 60)
    monkeypatch.setattr(base, "NEWEST", 40)
    assert CappedPaginator(Run.objects.all(), 50).count == 60
    events = reverse("admin:agents_app_event_changelist")
    assert admin_client.get(events).context["cl"].result_count == 40
    session = Run.objects.order_by("created_at")[0].session_id
    assert admin_client.get(f"{events}?q={session}").context["cl"].result_count == 50
    run = Run.objects.order_by("created_at")[0]
    assert admin_client.get(f"{events}?q={run.pk}").context["cl"].result_count == 10
    oldest = Event.objects.order_by("pk")[0]
    assert admin_client.get(reverse("admin:agents_app_event_change", args=[oldest.pk])).status_code == 200


def test_sums_over_all_runs_read_one_index_and_not_the_runs(cast):
    """An index that has all that is added up: the rows with their prompts and answers are far larger."""
    admin_rows.fill(cast, runs=100, events=100, days=14)
    with CaptureQueriesContext(connection) as queries:
        assert usage.by_day_and_agent(usage.since_days(14))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # which would read a table as small as this one whole
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
            cursor.execute(f"EXPLAIN {queries[0]['sql']}")
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {queries[0]['sql']}")
        plan = str(cursor.fetchall())
    words = {"sqlite": "USING COVERING INDEX run_finished", "postgresql": "Index Only Scan using run_finished"}
    assert words[connection.vendor] in plan
