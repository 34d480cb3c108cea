"""Who may write: two workers on one run, leases, the order of a session. Against a real database file."""

import asyncio
import contextlib
import datetime
import itertools
import json
import threading

import pytest
from django.db import DataError, IntegrityError, InternalError, OperationalError, connection
from django.utils import timezone

from agents_app import runs
from agents_app.database.threads import DatabaseThreads
from agents_app.engine.events import Delta
from agents_app.engine.spec import Usage
from agents_app.event_log import LogWriter, transaction
from agents_app.event_log.vocabulary import ReasoningStep, Warning
from agents_app.exceptions import Fenced, RunFailed, StorageUnavailable
from agents_app.models import Agent, Event, Provider, Run, Session, Step
from agents_app.runs.frames import complete_data
from agents_app.worker import claims
from agents_app.worker.execution import Execution

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


@pytest.fixture(autouse=True)
def agent(admin_user):
    provider = Provider.objects.create(name="p", base_url="http://127.0.0.1:9/v1")
    return Agent.objects.create(name="somebody", provider=provider, model="m", is_default=True)


@pytest.fixture
def start(admin_user):
    def start(session="s", message="hi", **more):
        return runs.start(runs.NewRun(user=admin_user, session_id=session, message=message, trigger="api", **more)).run

    return start


def claimed(worker, limit=10):
    return [claim.run.pk for claim in claims.claim(worker, limit)]


def expire(run):
    """As if its worker had not been heard of for a while."""
    Run.objects.filter(pk=run.pk).update(lease_until=timezone.now() - datetime.timedelta(seconds=1))


def step(run, index=0, content="x"):
    now = timezone.now()
    return Step(
        run=run, index=index, iteration=1, kind="thought", content=content, started_at=now, finished_at=now,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def writer():
    """A log writer of its own, as another process has one."""
    one = LogWriter()
    one.start()
    try:
        yield one
    finally:
        await one.stop()


# Claims


def test_a_run_is_claimed_by_one_of_two_workers(start):
    run = start()
    assert claimed("one") == [run.pk]
    assert claimed("two") == []


def test_two_workers_that_claim_at_the_same_moment_never_get_the_same_run(start):
    names = {start(session=f"s{number}").pk for number in range(40)}
    got = {"one": [], "two": []}
    both = threading.Barrier(2)

    def take(worker):
        both.wait(timeout=60)
        for _ in range(30):
            got[worker] += claimed(worker, 2)
        connection.close()

    threads = [threading.Thread(target=take, args=[worker]) for worker in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=180)
    assert not set(got["one"]) & set(got["two"])
    assert sorted(got["one"] + got["two"]) == sorted(names)


def test_a_run_with_a_live_lease_is_not_taken_over(start):
    run = start()
    claims.claim("one", 1)
    assert claimed("two") == []
    claims.renew("one", [run.pk])
    assert claimed("two") == []
    expire(run)
    assert claimed("two") == [run.pk]
    run.refresh_from_db()
    assert (run.worker, run.fence, run.attempt) == ("two", 2, 2)


def test_a_zombie_does_not_renew_the_lease_of_its_successor(start):
    run = start()
    claims.claim("one", 1)
    expire(run)
    claims.claim("two", 1)
    expire(run)
    claims.renew("one", [run.pk])
    assert claimed("three") == [run.pk]


def test_a_worker_does_not_take_over_what_it_executes_itself(start):
    """After the machine has slept, all leases are over."""
    run = start()
    claims.claim("one", 1)
    expire(run)
    assert claims.claim("one", 10, busy=[run.pk]) == []
    claims.renew("one", [run.pk])
    assert claimed("two") == []


def test_a_run_that_stalls_three_workers_in_a_row_is_abandoned(start):
    run, other = start(), start(session="other")
    for worker in ("one", "two", "three"):
        assert claimed(worker) == [run.pk, other.pk]
        expire(run)
        Run.objects.filter(pk=other.pk).update(status="queued", worker="")  # handed back
    claims_of_four = claims.claim("four", 2)

    async def execute():
        database = DatabaseThreads("test", 1)
        async with writer() as log_writer:
            log = log_writer.open(run.pk, run.session_id, claims_of_four[0].run.fence)
            await Execution(claims_of_four[0], log, database, None).task

    assert [claim.run.takeovers for claim in claims_of_four] == [3, 0]
    asyncio.run(execute())
    run.refresh_from_db()
    assert (run.status, run.error_code) == ("failed", "too_many_attempts")
    assert run.error == "The run was abandoned: its workers stopped too many times."


def test_a_process_that_ends_is_no_takeover(start):
    run = start()
    for worker in ("one", "two", "three", "four"):
        claims.release_orphans()
        assert claimed(worker) == [run.pk]
    run.refresh_from_db()
    assert (run.attempt, run.takeovers) == (4, 0)


def test_a_run_begins_once_however_many_workers_take_it(start):
    run = start()
    for worker in ("one", "two", "three"):
        assert claimed(worker) == [run.pk]
        expire(run)
    assert Event.objects.filter(run_id=run.pk, type="reasoning_start").count() == 1


def test_runs_of_a_session_go_in_order(start):
    first, second, third = (start(message=word) for word in ("one", "two", "three"))
    other = start(session="other")
    assert claimed("one") == [first.pk, other.pk]
    assert claimed("one") == []
    Run.objects.filter(pk=first.pk).update(status=Run.Status.QUEUED)
    assert claimed("two") == [first.pk], "handed back, it is still the first"
    Run.objects.filter(pk=first.pk).update(status=Run.Status.COMPLETED)
    assert claimed("two") == [second.pk]
    expire(second)
    assert claimed("two") == [second.pk]
    runs.cancel(Run.objects.get(pk=third.pk), by="admin")
    Run.objects.filter(pk=second.pk).update(status=Run.Status.FAILED)
    assert claimed("two") == []


def test_a_session_waits_for_a_run_that_waits(start):
    first, second = start(), start()
    claims.claim("one", 1)
    Run.objects.filter(pk=first.pk).update(status=Run.Status.WAITING)
    assert claimed("one") == []
    Run.objects.filter(pk=first.pk).update(status=Run.Status.COMPLETED)
    assert claimed("one") == [second.pk]


def test_the_database_refuses_two_running_runs_in_one_session(start):
    first, second = start(), start()
    claims.claim("one", 1)
    with pytest.raises(IntegrityError):
        Run.objects.filter(pk=second.pk).update(status=Run.Status.RUNNING)
    first.refresh_from_db()
    assert first.status == Run.Status.RUNNING


def test_a_run_that_cannot_be_read_does_not_keep_others_from_being_claimed(start):
    broken, sound = start(session="a"), start(session="b")
    claims.claim("one", 10)
    Step.objects.bulk_create([step(broken)])
    Step.objects.filter(run=broken).update(usage=["what is this?"])
    expire(broken)
    expire(sound)
    taken = {claim.run.pk: claim for claim in claims.claim("two", 10)}
    assert taken[broken.pk].is_broken
    assert not taken[sound.pk].is_broken


# Writes


def zombie_and_successor(run):
    """Two claims of the same run, each by a worker that believes it is the only one."""
    (zombie,) = claims.claim("zombie", 1)
    expire(run)
    (successor,) = claims.claim("successor", 1)
    assert (zombie.run.fence, successor.run.fence) == (1, 2)
    return zombie.run, successor.run


def say(log, run, word):
    log.delta(Delta(0, "thought", 1, 0, word))
    log.step(step(run, content=word))
    data = ReasoningStep(step=0, type="thought", content=word, iteration=1, timestamp=0.0)
    log.add(data, replaces=(0,))


def check_only_the_successor_wrote(run):
    contents = [event.data for event in Event.objects.filter(run_id=run.pk).order_by("seq")]
    assert not any("zombie" in data for data in contents)
    assert "successor" in contents[-1]
    assert [row.content for row in run.steps.all()] == ["successor"]
    session = Session.objects.get(pk=run.session_id)
    firsts = list(Event.objects.filter(session=session).order_by("seq").values_list("first", "seq"))
    assert [first for first, _ in firsts] == [1, *(seq + 1 for _, seq in firsts[:-1])]
    assert firsts[-1][1] == session.last_seq
    run.refresh_from_db()
    assert (run.status, run.worker, run.result) == (Run.Status.RUNNING, "successor", "")


@pytest.mark.parametrize("zombie_first", [True, False])
def test_a_zombie_writes_nothing_and_gets_an_error(start, zombie_first):
    run = start()
    old, new = zombie_and_successor(run)

    async def both():
        async with writer() as one, writer() as two:
            zombie = one.open(old.pk, old.session_id, old.fence)
            successor = two.open(new.pk, new.session_id, new.fence)

            async def zombie_tries():
                say(zombie, old, "zombie")
                with pytest.raises(Fenced):
                    await zombie.commit(status="completed", result="zombie")

            if zombie_first:
                await zombie_tries()
            say(successor, new, "successor")
            await successor.commit()
            if not zombie_first:
                await zombie_tries()
            with pytest.raises(Fenced):
                await zombie.commit()

    asyncio.run(both())
    check_only_the_successor_wrote(run)


def test_a_zombie_and_its_successor_in_one_transaction(start):
    """The same process may have both: it slept, and found its own run with a lease that was over."""
    run = start()
    old, new = zombie_and_successor(run)

    async def both():
        async with writer() as one:
            zombie = one.open(old.pk, old.session_id, old.fence)
            successor = one.open(new.pk, new.session_id, new.fence)
            say(zombie, old, "zombie")
            say(successor, new, "successor")
            answers = await asyncio.gather(
                zombie.commit(status="completed", result="zombie"), successor.commit(), return_exceptions=True
            )
            assert isinstance(answers[0], Fenced)
            assert answers[1] is None

    asyncio.run(both())
    check_only_the_successor_wrote(run)


def test_a_finished_run_takes_no_more_words(start):
    run = start()
    (claim,) = claims.claim("one", 1)

    async def speak():
        async with writer() as one:
            log = one.open(run.pk, run.session_id, claim.run.fence)
            log.add(complete_data(run, "completed", Usage(), 1))
            await log.commit(status="completed", finished_at=timezone.now())
            log.add(complete_data(run, "cancelled", Usage(), 1))
            with pytest.raises(Fenced):
                await log.commit(status="cancelled")

    asyncio.run(speak())
    run.refresh_from_db()
    assert run.status == Run.Status.COMPLETED
    assert Event.objects.filter(run_id=run.pk, type="reasoning_complete").count() == 1


def test_a_zombie_that_streams_without_waiting_is_slowed_down_and_gets_an_error(start):
    run = start()
    old, _ = zombie_and_successor(run)

    async def stream():
        async with asyncio.timeout(120), writer() as one:
            zombie = one.open(old.pk, old.session_id, old.fence)
            with pytest.raises(Fenced):
                for number in itertools.count():
                    zombie.delta(Delta(0, "thought", 1, number, "x"))
                    if zombie.is_full:
                        await zombie.room()
                    await asyncio.sleep(0)

    asyncio.run(stream())
    assert not Event.objects.filter(run_id=run.pk, type="reasoning_delta").exists()


def test_the_words_of_others_are_written_though_one_is_a_zombie(start):
    mine, other = start(session="a"), start(session="b")
    claims.claim("zombie", 1)
    expire(mine)
    taken = {claim.run.pk: claim.run for claim in claims.claim("successor", 10)}

    async def speak():
        async with writer() as one:
            zombie = one.open(mine.pk, mine.session_id, 1)
            sound = one.open(other.pk, other.session_id, taken[other.pk].fence)
            say(zombie, mine, "zombie")
            say(sound, other, "successor")
            answers = await asyncio.gather(zombie.commit(), sound.commit(), return_exceptions=True)
            assert isinstance(answers[0], Fenced)
            assert answers[1] is None

    asyncio.run(speak())
    check_only_the_successor_wrote(other)
    assert not mine.steps.exists()


def test_a_commit_whose_answer_is_lost_is_not_written_again(start, monkeypatch):
    run = start()
    (claim,) = claims.claim("one", 1)
    atomic, lost = transaction.atomic, []

    @contextlib.contextmanager
    def losing_the_answer():
        with atomic():
            yield
        if len(lost) < 2:
            lost.append(True)
            raise OperationalError("server closed the connection unexpectedly")

    async def say():
        async with writer() as one:
            log = one.open(run.pk, run.session_id, claim.run.fence)
            log.delta(Delta(0, "final_answer", 1, 0, "once"))
            log.step(step(run))
            await log.commit()
            log.add(complete_data(run, "completed", Usage(), 1))
            await log.commit(status="completed")

    monkeypatch.setattr(transaction, "atomic", losing_the_answer)
    asyncio.run(say())
    assert len(lost) == 2
    kinds = Event.objects.filter(session__name="s").order_by("seq").values_list("type", flat=True)
    assert list(kinds) == ["reasoning_start", "reasoning_delta", "reasoning_complete"]


def refusing(monkeypatch, error, times=1):
    """The next transactions of the log are refused with this error, at their end."""
    atomic, left = transaction.atomic, [error] * times

    @contextlib.contextmanager
    def refuse():
        with atomic():
            yield
            if left:
                raise left.pop()

    monkeypatch.setattr(transaction, "atomic", refuse)
    return left


def frames_of(run):
    events = Event.objects.filter(run_id=run.pk, type="reasoning_delta").order_by("seq")
    return [(json.loads(event.data)["offset"], json.loads(event.data)["content"]) for event in events]


def test_after_a_part_that_could_not_be_written_nothing_is(start, monkeypatch):
    """A worker that goes on for a moment must not say the rest: it would be an answer with a hole."""
    run = start()
    (claim,) = claims.claim("one", 1)
    left = refusing(monkeypatch, DataError("not in this encoding"))

    async def speak():
        async with writer() as one:
            log = one.open(run.pk, run.session_id, claim.run.fence)
            log.delta(Delta(0, "final_answer", 1, 0, "One, "))
            while left or not log.is_full:
                await asyncio.sleep(0.01)
            log.delta(Delta(0, "final_answer", 1, 5, "two, "))
            log.step(step(run))
            log.add(Warning(message="", code="none"))
            with pytest.raises(StorageUnavailable):
                await log.commit()

    asyncio.run(speak())
    assert frames_of(run) == []
    assert not run.steps.exists()
    assert not Event.objects.filter(run_id=run.pk, type="warning").exists()


def test_a_run_whose_data_the_database_refuses_ends_with_its_third_attempt(start, monkeypatch):
    run = start()
    for attempt in (1, 2, 3):
        (claim,) = claims.claim("one", 1)
        assert claim.run.attempt == attempt
        left = refusing(monkeypatch, DataError("not in this encoding"))

        async def execute(claim=claim):
            database = DatabaseThreads("test", 1)
            async with writer() as one:
                log = one.open(run.pk, run.session_id, claim.run.fence)
                await Execution(claim, log, database, None).task
            await database.close()

        # Fails before it asks a model: its end is what is refused.
        claim.denial = RunFailed("a\ud83d\x00b", code="denied")
        asyncio.run(execute())
        assert not left
        run.refresh_from_db()
        assert run.is_finished == (attempt == 3)
        expire(run)
    assert (run.status, run.error_code) == ("failed", "unwritable")
    assert run.error == "The server could not save what the run produced."


def test_foreign_text_is_cleaned_where_a_run_is_written(start):
    run = start()
    (claim,) = claims.claim("one", 1)
    odd = "a\ud83d\ude00\ud83d\x00b"

    async def write():
        async with writer() as one:
            log = one.open(run.pk, run.session_id, claim.run.fence)
            log.delta(Delta(7, "final_answer", 1, 0, odd))
            log.add(Warning(message=odd, code="odd"))
            row = step(run, content=odd)
            row.tool_name, row.arguments, row.provider_data = odd, {odd: [odd]}, {"x": odd}
            log.step(row)
            await log.commit(error=odd)

    asyncio.run(write())
    clean = "a😀\ufffdb"
    run.refresh_from_db()
    (row,) = run.steps.all()
    assert (run.error, row.content, row.tool_name, row.arguments, row.provider_data) == (
        clean, clean, clean, {clean: [clean]}, {"x": clean},
    )  # fmt: skip
    assert json.loads(Event.objects.get(run_id=run.pk, type="warning").data)["message"].replace("\x00", "") == clean
    assert frames_of(run)[0][1].replace("\x00", "") == clean


def test_a_transaction_that_the_database_ended_is_written_again(start, monkeypatch):
    """PostgreSQL ends it where a process was frozen in it, and psycopg calls that an internal error."""
    run = start()
    (claim,) = claims.claim("one", 1)
    refusing(monkeypatch, InternalError("terminating connection due to idle-in-transaction timeout"))

    async def speak():
        async with writer() as one:
            log = one.open(run.pk, run.session_id, claim.run.fence)
            log.delta(Delta(0, "final_answer", 1, 0, "One"))
            await log.commit()

    asyncio.run(speak())
    assert frames_of(run) == [(0, "One")]
