"""Owners take turns: who floods the queue does not keep others out."""

import uuid

import pytest

from agents_app.models import Agent, Run, Session
from agents_app.worker import claims

pytestmark = pytest.mark.django_db


@pytest.fixture
def enqueue(django_user_model):
    """Add runs of a user to the queue, each in a session of its own."""
    agent = Agent.objects.create(name="helper")

    def add(name: str, number: int = 1, trigger: str = Run.Trigger.API) -> None:
        owner = django_user_model.objects.get_or_create(username=name)[0]
        for _ in range(number):
            session = Session.objects.create(pk=uuid.uuid4().hex, owner=owner, run_count=1)
            fields = {"agent": agent, "agent_name": "helper", "prompt": "x", "trigger": trigger}
            Run.objects.create(session=session, number=1, **fields)

    return add


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
