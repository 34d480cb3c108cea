"""A slow or dead receiver of webhooks delays its own messages, and nobody else's."""

import collections
import threading
import time

import pytest

from agents_app import clock
from agents_app.models import Agent, Delivery, Run, ScheduledTask, Session
from agents_app.scheduler import deliveries, receivers
from agents_app.scheduler.receivers import Breaker, Receiver, Waiting, take_turns
from agents_app.scheduler.settling import settle
from tests.harness.fakes.site import Site
from tests.harness.people import shell
from tests.harness.product import Product

BOUND = 10.0  # seconds; one attempt at a receiver that answers nothing takes 15
SECRET = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
_BACKLOG = """
from django.contrib.auth import get_user_model
from agents_app import clock
from agents_app.models import Agent, Delivery, Run, ScheduledTask, Session
agent = Agent.objects.get_or_create(name="hooked")[0]
for name, urls, count in plan:
    owner = get_user_model().objects.get_or_create(username=name)[0]
    session = Session.objects.create(pk=name, owner=owner, run_count=count * len(urls))
    for n, url in enumerate(urls):
        task = ScheduledTask.objects.create(owner=owner, name=name, agent=agent, task_prompt="x", enabled=False,
            schedule_type="interval", schedule_value="60", webhook_url=url, webhook_secret=SECRET)
        for m in range(count):
            run = Run.objects.create(session=session, number=n * count + m + 1, agent=agent, agent_name="hooked",
                prompt="x", status="completed", task=task, settled=True, finished_at=clock.now())
            Delivery.objects.create(task=task, run=run, next_attempt_at=clock.now())
"""


@pytest.mark.slow
def test_a_tarpit_with_a_backlog_holds_up_nobody_else(tmp_path):
    """Mallory's three tasks post to receivers that answer nothing, 20 messages each, before Ann's single one."""
    at_once: collections.Counter[str] = collections.Counter()
    most: collections.Counter[str] = collections.Counter()
    lock, arrived = threading.Lock(), threading.Event()

    with Site() as site, Product(tmp_path / "var", FETCH_ALLOW_PRIVATE="true") as product:

        def tarpit(handler) -> None:
            host = handler.headers["Host"]
            with lock:
                at_once[host] += 1
                most[host] = max(most[host], at_once[host])
                most["all"] = max(most["all"], sum(at_once.values()))
            site.closing.wait(14)
            with lock:
                at_once[host] -= 1

        def accept(handler) -> None:
            handler.send_response(200)
            handler.end_headers()
            arrived.set()

        site.serve("/tarpit", tarpit)
        site.serve("/hook", accept)
        hosts = [f"127.0.0.{n}:{site.port}" for n in (1, 1, 1)]
        hosts[1] = f"localhost:{site.port}"
        pits = [f"http://{host}/tarpit" for host in hosts]
        backlog(product, ("mallory", pits, 20))
        while not site.requests:
            time.sleep(0.02)
        started = time.monotonic()
        backlog(product, ("ann", [f"{site.url}/hook"], 1))
        assert arrived.wait(60)
        took = time.monotonic() - started
        print(f"Ann's webhook arrived {took:.1f} s after it was due; Mallory's attempts at once: {dict(most)}")
        assert took < BOUND
        assert most["all"] <= receivers.AT_ONCE_PER_OWNER
        assert max(count for host, count in most.items() if host != "all") <= receivers.AT_ONCE_PER_RECEIVER


def backlog(product: Product, *plan: tuple[str, list[str], int]) -> None:
    shell(product, f"plan, SECRET = {plan!r}, {SECRET!r}\n{_BACKLOG}")


# Without a server


def waiting(*rows: tuple[str, str, str, int]) -> list[Waiting]:
    return [Waiting(task, Receiver(owner, host), count) for task, owner, host, count in rows]


def test_owners_take_turns_and_nobody_has_more_than_a_share():
    rows = waiting(("m1", "m", "pit", 50), ("m2", "m", "pit", 50), ("m3", "m", "other", 50), ("a", "ann", "hook", 1))
    assert take_turns(rows, []) == {"m1": 2, "m3": 2, "a": 1}
    full = [Receiver("m", "pit")] * 2 + [Receiver("m", "other")] * 2
    assert take_turns(rows, full) == {"a": 1}


def test_the_last_place_goes_to_whoever_has_the_fewest_attempts():
    busy = [Receiver(owner, f"pit{n}") for owner in "abcde" for n in range(4)][: receivers.AT_ONCE - 1]
    rows = waiting(*((owner, owner, "new", 5) for owner in "abcde"), ("late", "late", "hook", 5))
    assert take_turns(rows, busy) == {"late": 1}


def test_a_shared_host_counts_for_each_owner():
    assert take_turns(waiting(("a", "a", "hub", 9), ("b", "b", "hub", 9)), []) == {"a": 2, "b": 2}
    assert Receiver.of(1, "http://User@Hub.example:80/x") != Receiver.of(2, "http://User@Hub.example:80/x")


def test_a_receiver_that_keeps_failing_gets_one_attempt_per_pause(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(receivers.time, "monotonic", lambda: now[0])
    breaker, dead, alive = Breaker(), Receiver(1, "dead"), Receiver(1, "alive")
    for _ in range(receivers.FAILURES):
        assert breaker.admits(dead)
        breaker.record(dead, ok=False)
    assert not breaker.admits(dead)
    assert breaker.admits(alive)
    now[0] += receivers.PAUSE
    assert [breaker.admits(dead) for _ in range(3)] == [True, False, False]
    breaker.record(dead, ok=True)
    assert breaker.admits(dead)


@pytest.fixture
def task(admin_user):
    agent = Agent.objects.create(name="a")
    return ScheduledTask.objects.create(
        owner=admin_user, name="t", agent=agent, task_prompt="x", schedule_type="interval", schedule_value="60",
        webhook_url="https://hook.example/", webhook_secret=SECRET,
    )  # fmt: skip


def ended_runs(task: ScheduledTask, count: int) -> None:
    session = Session.objects.create(pk="s", owner=task.owner, run_count=count)
    for number in range(1, count + 1):
        Run.objects.create(
            session=session, number=number, agent=task.agent, agent_name="a", prompt="x", status="completed", task=task
        )


def test_what_waits_for_one_webhook_has_a_bound(task, monkeypatch):
    monkeypatch.setattr(deliveries, "MOST_PENDING", 3)
    ended_runs(task, 5)
    settle(10)
    assert sorted(Delivery.objects.values_list("status", flat=True)) == ["failed"] * 2 + ["pending"] * 3
    assert "3 messages of this task wait" in Delivery.objects.filter(status="failed").first().error


def test_a_message_is_claimed_once_and_its_retries_end(task):
    ended_runs(task, 3)
    settle(10)
    first = deliveries.claim([])
    assert len(first) == receivers.AT_ONCE_PER_RECEIVER
    own = [Receiver.of(task.owner_id, task.webhook_url)] * 2
    assert deliveries.claim(own) == []
    delivery = first[0]
    for attempt in range(1, len(deliveries.DELAYS) + 2):
        assert (delivery.attempts, deliveries.is_last_attempt(delivery)) == (attempt, attempt > len(deliveries.DELAYS))
        deliveries.finish(delivery, "Status 500.", False)
        Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=clock.now())
        Delivery.objects.exclude(pk=delivery.pk).update(status="delivered")
        claimed = deliveries.claim([])
        if claimed:
            (delivery,) = claimed
    assert Delivery.objects.get(pk=delivery.pk).status == "failed"
