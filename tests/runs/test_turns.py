"""Owners take turns: who floods the queue does not keep others out."""

import datetime
import os
import uuid

import pytest
from django.db import connection
from django.utils import timezone

from agents_app.models import Agent, Run, Session, UserLimits
from agents_app.models.running_limits import forget_limits
from agents_app.queue import run_queue
from agents_app.worker import claims
from tests.harness.wait import until

pytestmark = pytest.mark.django_db
CROWD = int(os.environ.get("RUNS_OF_A_CROWD", "30"))


@pytest.fixture
def enqueue(django_user_model):
    """Add runs of a user to the queue, each in a session of its own."""
    agent = Agent.objects.create(name="helper")
    forget_limits()

    def add(name: str, number: int = 1, trigger: str = Run.Trigger.API, **more: object) -> None:
        owner = django_user_model.objects.get_or_create(username=name)[0]
        for _ in range(number):
            session = Session.objects.create(pk=uuid.uuid4().hex, owner=owner, run_count=1)
            fields = {"agent": agent, "agent_name": "helper", "prompt": "x", "trigger": trigger, **more}
            Run.objects.create(session=session, number=1, **fields)
            run_queue.enqueue_next(session.pk)

    yield add
    forget_limits()


def owners(claimed: list[claims.Claim]) -> list[str]:
    return sorted(claim.run.session.owner.username for claim in claimed)


@pytest.mark.parametrize("trigger", Run.Trigger.values)
def test_the_run_of_another_user_is_the_next_to_start(enqueue, trigger):
    """Bound: whatever waits before it, a user's first run starts at the next free place."""
    enqueue("flood", 30, trigger)
    assert owners(claims.claim("w", 4)) == ["flood"] * 4
    enqueue("ann")
    assert owners(claims.claim("w", 1)) == ["ann"]


def test_owners_take_turns_one_place_at_a_time(enqueue):
    enqueue("flood", 10)
    enqueue("ann", 2)
    enqueue("bob")
    order = [owners(claims.claim("w", 1)) for _ in range(6)]
    assert order == [["flood"], ["ann"], ["bob"], ["flood"], ["ann"], ["flood"]]


def test_a_users_own_runs_go_by_age_and_nobody_waits_if_there_is_room(enqueue):
    enqueue("flood", 3)
    expected = list(Run.objects.order_by("created_at").values_list("pk", flat=True))
    assert [claim.run.pk for claim in claims.claim("w", 1)] == expected[:1]
    assert [claim.run.pk for claim in claims.claim("w", 10)] == expected[1:]


# Priorities and limits, on both engines


def next_run() -> Run | None:
    """Return the run that the next free place gets: on PostgreSQL as a worker that fetches jobs, one by one."""
    if connection.vendor == "sqlite":
        claimed = claims.claim("w", 1)
        return claimed[0].run if claimed else None
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT (job).id, (job).lock FROM procrastinate_fetch_job_v2(ARRAY['runs'], NULL) AS job")
            job, lock = cursor.fetchone()
            if job is None:
                return None
            claimed = claims.claim("w", 1, only=[uuid.UUID(lock)])
            cursor.execute("DELETE FROM procrastinate_jobs WHERE id = %s", [job])
            if claimed:
                return claimed[0].run


def end(run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(status=Run.Status.COMPLETED, lease_until=None)
    run_queue.fill_places()


@pytest.mark.both
def test_an_owners_runs_go_by_priority_then_by_age(enqueue):
    for priority in (0, -5, 0, 5, -5, 1):
        enqueue("ann", priority=priority)
    by_rank = list(Run.objects.order_by("-priority", "created_at").values_list("pk", flat=True))
    assert [next_run().pk for _ in by_rank] == by_rank
    assert next_run() is None


@pytest.mark.both
@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("priorities", [(0, 0), (5, -5)])
def test_one_run_waits_for_one_free_place_of_a_crowd_at_most(enqueue, settings, limit, priorities):
    settings.RUNNING_RUNS_PER_USER = limit or 0
    enqueue("crowd", CROWD, priority=priorities[0])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as autovacuum does, or PostgreSQL plans for empty tables
    running = [next_run() for _ in range(3)]
    enqueue("ann", priority=priorities[1])
    an_hour = timezone.now() + datetime.timedelta(hours=1)  # no worker renews these leases
    Run.objects.filter(pk__in=[run.pk for run in running]).update(lease_until=an_hour)
    if limit:
        assert next_run().session.owner.username == "ann"
        assert next_run() is None, "the crowd has as many as it may have"
        end(running[0])
        assert next_run().session.owner.username == "crowd"
    else:
        assert "ann" in [next_run().session.owner.username for _ in range(2)]


@pytest.mark.both
def test_limits_of_users_and_agents(enqueue, django_user_model):
    enqueue("ann", 4)
    enqueue("bob", 4)
    UserLimits.objects.create(user=django_user_model.objects.get(username="ann"), max_running=1)
    Agent.objects.update(max_running=3)
    forget_limits()
    if connection.vendor == "sqlite":
        assert owners(claims.claim("w", 10)) == ["ann", "bob", "bob"]
    else:
        assert sorted(next_run().session.owner.username for _ in range(3)) == ["ann", "bob", "bob"]
    assert next_run() is None
    parent = Run.objects.filter(status="running", session__owner__username="ann").get()
    enqueue("ann", parent=parent)
    assert next_run().parent_id == parent.pk, "who waits for it has a place already"
    end(parent)
    assert next_run().session.owner.username == "ann"
    assert next_run() is None


@pytest.mark.slow
def test_an_agent_with_a_limit_answers_so_many_at_a_time(agent, product, model, name):
    agent([{"wait": name}, {"text": "Done."}], max_running=2)
    paths = [
        f"/v1/runs/{product.request('POST', f'/v1/agents/{name}/runs', {'message': 'hi'})[1]['run_id']}"
        for _ in range(4)
    ]

    def statuses():
        return sorted(product.request("GET", path)[1]["status"] for path in paths)

    model.wait_for_request(name, 2)
    assert statuses() == ["queued", "queued", "running", "running"]
    assert len(model.requests(name)) == 2
    model.release(name)
    until(lambda: statuses() == ["completed"] * 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "priority", "expected"),
    [("ann", -5, 202), ("ann", 1, 400), ("boss", 5, 202), ("boss", 6, 400), ("boss", "1", 400)],
)
def test_who_may_set_a_priority(people, model, name, who, priority, expected):
    people["boss"].add_agent(name, model.base_url)
    body = {"message": "hi", "priority": priority}
    status, answer = people[who].request("POST", f"/v1/agents/{name}/runs", body)
    assert status == expected
    if expected == 202:
        assert people[who].request("GET", f"/v1/runs/{answer['run_id']}")[1]["priority"] == priority
    else:
        assert answer["error"]["param"] == "priority"
    task = {
        "name": name,
        "agent_name": name,
        "task_prompt": "x",
        "schedule_type": "interval",
        "schedule_value": "86400",
    }
    assert people[who].request("POST", "/v1/tasks", {**task, "priority": priority})[0] == (
        201 if expected == 202 else 400
    )
