"""What is old goes: by age, by number, a few rows at a time; and nothing goes that is still needed."""

import datetime
import io
import uuid
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from agents_app import event_log
from agents_app.database.batches import BatchSize
from agents_app.files import saving, storage
from agents_app.maintenance import retention
from agents_app.models import (
    Agent,
    AgentVersion,
    Approval,
    Delivery,
    Event,
    File,
    Run,
    ScheduledTask,
    Session,
    Skip,
    Step,
    StoredBytes,
    TokenUse,
)

pytestmark = [pytest.mark.django_db, pytest.mark.both]

NOW = timezone.now()
EVENTS = 3  # of each run


def days_ago(days: float) -> datetime.datetime:
    return NOW - datetime.timedelta(days=days)


def add_session(name: str, *ages: float | None, **fields: Any) -> Session:
    """With a run for each age in days; None is one that goes on."""
    session = Session.objects.create(pk=name, run_count=len(ages), last_seq=EVENTS * len(ages), **fields)
    for number, age in enumerate(ages, 1):
        run = Run.objects.create(
            session=session,
            number=number,
            agent_name="a",
            prompt=f"{number}",
            status="running" if age is None else "completed",
            finished_at=None if age is None else days_ago(age),
            first_seq=EVENTS * (number - 1) + 1,
            last_seq=None if age is None else EVENTS * number,
        )
        Step.objects.create(run=run, index=0, iteration=1, kind="final_answer", started_at=NOW)
        for seq in range(EVENTS * (number - 1) + 1, EVENTS * number + 1):
            Event.objects.create(
                session=session, seq=seq, first=seq, run_id=run.pk, type="x", data="{}", created_at=NOW
            )
    Session.objects.filter(pk=name).update(updated_at=days_ago(min(age or 0 for age in ages)))
    return session


def numbers(session: Session) -> list[int]:
    return list(session.runs.order_by("number").values_list("number", flat=True))


def first_event(session: Session) -> int:
    session.refresh_from_db()
    first = session.events.order_by("seq").values_list("seq", flat=True).first() or session.last_seq + 1
    assert first == session.pruned_seq + 1, "whoever asks for earlier ones is told so"
    return first


def prune(*arguments: str, **options: Any) -> str:
    text = io.StringIO()
    call_command("prune", *arguments, stdout=text, **options)
    return text.getvalue()


def test_old_runs_go_with_all_that_belongs_to_them_and_young_ones_stay():
    mixed, old = add_session("mixed", 40, 35, 5, 50), add_session("old", 90)
    first, *_ = mixed.runs.order_by("number")
    saving.save(None, [b"1"], run=first)
    Approval.objects.create(run=first, step=1, tool_call_id="c", tool_name="t", status="approved", expires_at=NOW)
    assert "runs" in prune("runs", "--days", "30")
    assert numbers(mixed) == [3, 4], "what follows a young one stays, however old"
    assert first_event(mixed) == 2 * EVENTS + 1
    assert Step.objects.count() == 2
    assert not File.objects.exists() and not Approval.objects.exists()
    assert not Session.objects.filter(pk=old.pk).exists(), "nothing is left of it"


def test_events_go_and_runs_stay():
    session = add_session("s", 40, 35, 5)
    assert prune("--days", "30") == f"{2 * EVENTS} events deleted.\n"
    assert numbers(session) == [1, 2, 3]
    assert first_event(session) == 2 * EVENTS + 1
    assert prune("--days", "30") == "0 events deleted.\n"


def test_the_newest_runs_of_a_session_can_be_kept_however_old():
    long, short = add_session("long", 90, 80, 70, 60), add_session("short", 90)
    prune("runs", "--days", "30", "--keep", "2")
    assert (numbers(long), numbers(short)) == ([3, 4], [1])
    prune("runs", "--keep", "1")
    assert (numbers(long), first_event(long)) == ([4], 3 * EVENTS + 1)


def test_one_session_alone():
    mine, other = add_session("mine", 90, 80), add_session("other", 90)
    prune("runs", "--days", "30", "--session", "mine")
    assert numbers(mine) == []
    assert Session.objects.filter(pk="mine").exists()
    assert numbers(other) == [1]


def test_what_is_still_needed_stays(admin_user):
    agent = Agent.objects.create(name="a")
    task = ScheduledTask.objects.create(
        name="t", agent=agent, owner=admin_user, task_prompt="x", schedule_type="interval", schedule_value="60"
    )
    going_on = add_session("going-on", 90, None)
    kept = add_session("kept", 90)
    ScheduledTask.objects.filter(pk=task.pk).update(kept_session=kept)
    unsettled, owing = add_session("unsettled", 90), add_session("owing", 90)
    unsettled.runs.update(task=task)
    Delivery.objects.create(task=task, run=owing.runs.get(), next_attempt_at=NOW)
    prune("runs", "--days", "30")
    assert numbers(going_on) == [2]
    assert Session.objects.filter(pk="kept").exists()
    assert (numbers(unsettled), numbers(owing)) == ([1], [1])


def test_what_one_agent_asked_of_another_goes_in_its_own_time():
    parent, child = add_session("parent", 90), add_session("child", 90, 1)
    child.runs.filter(number=2).update(parent=parent.runs.get())
    prune("runs", "--days", "30")
    assert numbers(child) == [2]
    assert child.runs.get().parent is None


def test_a_run_that_was_cancelled_in_the_queue_does_not_take_the_one_before_along():
    session = add_session("s", 90, 80)
    first, second = session.runs.order_by("number")
    Run.objects.filter(pk=first.pk).update(last_seq=2 * EVENTS)
    Run.objects.filter(pk=second.pk).update(first_seq=EVENTS, last_seq=EVENTS)
    assert event_log.prune(days_ago(30)) == 2 * EVENTS
    assert first_event(session) == 2 * EVENTS + 1


def test_files_go_before_their_runs_and_bytes_with_their_last_file(django_capture_on_commit_callbacks):
    session = add_session("s", 40, 5)
    old, young, _, other = (saving.save(None, [text]) for text in (b"old", b"young", b"upload", b"young"))
    for file, run in zip((old, young), session.runs.order_by("number"), strict=True):
        File.objects.filter(pk=file.pk).update(run=run)
    File.objects.exclude(pk=other.pk).update(created_at=days_ago(40))
    File.objects.filter(pk=other.pk).update(expires_at=days_ago(1))
    StoredBytes.objects.update(used_at=days_ago(1))
    StoredBytes.objects.create(key="broken-off", used_at=days_ago(1))
    in_progress = StoredBytes.objects.create(key="in-progress")
    with django_capture_on_commit_callbacks(execute=True):
        lines = prune("files", "--days", "30").splitlines()
    assert lines == ["2 files deleted.", "1 expired files, 3 unused contents of files deleted."]
    assert File.objects.get() == young
    assert set(StoredBytes.objects.all()) == {young.stored, in_progress}
    assert not storage.storage().exists(old.stored.key)
    assert numbers(session) == [1, 2]


def test_versions_of_deleted_agents_go_with_their_last_run():
    for name, ages in (("used", (40, 5)), ("old", (90, 80)), ("present", ()), ("idle", ())):
        agent = Agent.objects.create(name=name)
        if ages:
            add_session(name, *ages).runs.update(agent=agent, agent_version=agent.current_version)
    Agent.objects.exclude(name="present").delete()
    assert "2 versions of deleted agents deleted" in prune("runs", "--days", "30")
    assert Run.objects.get().agent_version.agent is None
    assert sorted(str(version.agent) for version in AgentVersion.objects.all()) == ["None", "present"]


def test_history_of_tasks_and_of_users(admin_user):
    agent = Agent.objects.create(name="a")
    task = ScheduledTask.objects.create(
        name="t", agent=agent, owner=admin_user, task_prompt="x", schedule_type="interval", schedule_value="60"
    )
    for age in (40, 5):
        Skip.objects.create(task=task, scheduled_for=days_ago(age), until=days_ago(age), reason="overlap")
        TokenUse.objects.create(user=admin_user, day=days_ago(age).date(), tokens=1)
    for status, session in (("delivered", add_session("one", 1)), ("pending", add_session("two", 1))):
        Delivery.objects.create(task=task, run=session.runs.get(), status=status, next_attempt_at=NOW)
    Delivery.objects.update(created_at=days_ago(40))
    prune("history", "--days", "30")
    assert (Skip.objects.count(), TokenUse.objects.count()) == (1, 1)
    assert Delivery.objects.get().status == "pending"


def test_the_settings_say_what_goes(settings):
    settings.EVENT_RETENTION_DAYS, settings.RUN_RETENTION_DAYS, settings.KEEP_RUNS_PER_SESSION = 10, 50, 1
    session = add_session("s", 90, 40, 5)
    prune()
    assert numbers(session) == [2, 3]
    assert first_event(session) == 2 * EVENTS + 1


def test_where_the_database_is_slow_each_transaction_deletes_fewer_rows():
    rests: list[float] = []
    size = BatchSize(1000, rests.append)
    for _ in range(5):
        size.adapt(0.001)
    assert size.rows == 1000
    for _ in range(10):
        size.adapt(3)
    assert size.rows == 10
    assert rests[0] > 0.001 and rests[-1] < 1, "never none, and never for long"


def test_each_transaction_deletes_a_few_rows_and_others_get_a_turn(django_assert_max_num_queries):
    add_session("s", *[90] * 40)
    turns: list[float] = []
    assert event_log.prune(days_ago(30), size=BatchSize(10, turns.append)) == 40 * EVENTS
    assert len(turns) == 40 * EVENTS / 10
    # Asked again, it does not look at what has gone long ago.
    with django_assert_max_num_queries(2):
        assert event_log.prune(days_ago(30)) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--days"),
        (["runs"], "--days"),
        (["--days", "-1"], "--days"),
        (["everything", "--days", "1"], "events, files, runs, history"),
        (["--days", "1", "--session", "nobody"], "no session 'nobody'"),
    ],
)
def test_what_is_not_clear_deletes_nothing(arguments, words):
    session = add_session("s", 90)
    with pytest.raises(CommandError, match=words):
        prune(*arguments)
    assert numbers(session) == [1]


def test_an_id_in_no_session_is_no_reason_to_fail():
    assert retention.apply(retention.Rule("events", NOW, session_id=str(uuid.uuid4()))) == {"events": 0}
