"""Forks as rows: nothing is copied, and what they share survives deletion, retention and a way through a file."""

import datetime
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents_app import event_log, runs
from agents_app.maintenance import retention, transfer
from agents_app.models import Agent, Event, Run, Session
from agents_app.runs import branches, forks, paths

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def say(admin_user):
    """A function that starts a run, which ends at once, and returns it."""
    Agent.objects.create(name="helper")

    def start(message: str, session: str = "s") -> Run:
        run = runs.start(runs.NewRun(user=admin_user, message=message, session_id=session, trigger="api")).run
        runs.cancel(run, by="ann")
        return Run.objects.select_related("session").get(pk=run.pk)

    return start


def log(session: Session) -> list[str]:
    """The frames of the whole log, read in small pages."""
    frames: list[str] = []
    after = event_log.pruned_seq(Session.objects.get(pk=session.pk))
    while rows := event_log.read(session.pk, after, 2):
        assert rows[0].first <= after + 1
        frames += [row.frame for row in rows]
        after = rows[-1].seq
    return frames


def path(session: Session) -> list[str]:
    session = Session.objects.get(pk=session.pk)
    prompts = dict(Run.objects.values_list("pk", "prompt"))
    return [prompts[node.pk] for node in paths.path(session, session.head)][::-1]


def test_a_fork_of_a_long_session_costs_the_same_as_of_a_short_one(say, admin_user):
    run = say("One")
    session = run.session
    forks.fork(session, user=admin_user)  # statements of the first time
    with CaptureQueriesContext(connection) as of_short:
        forks.fork(session, user=admin_user)
    rows = [
        Event(session=session, seq=seq, first=seq, run_id=run.pk, type="warning", data="{}", created_at=timezone.now())
        for seq in range(run.last_seq + 1, run.last_seq + 5001)
    ]
    Event.objects.bulk_create(rows, 1000)
    Session.objects.filter(pk=session.pk).update(last_seq=rows[-1].seq)
    Run.objects.filter(pk=run.pk).update(last_seq=rows[-1].seq)
    before = Event.objects.count()
    with CaptureQueriesContext(connection) as of_long:
        fork = forks.fork(session, user=admin_user)
    assert len(of_long) == len(of_short)
    assert Event.objects.count() == before + 1, "it has one event of its own"
    assert len(event_log.read(fork.pk, 0, 10_000)) == run.last_seq + 5001


def test_forks_of_forks_keep_what_they_share_until_the_last_is_deleted(say, admin_user):
    one, two = say("One"), say("Two")
    session = one.session
    fork = forks.fork(session, user=admin_user, run_id=two.pk)
    say("Three", fork.name)
    of_fork = forks.fork(fork, user=admin_user)
    of_shared = forks.fork(fork, user=admin_user, run_id=one.pk)
    assert of_shared.parent == session, "it refers to where the run is"
    frames = log(of_fork)
    late = say("Four")
    for deleted in (session, fork):
        forks.delete_session(deleted)
    assert not Run.objects.filter(pk=late.pk).exists(), "nobody needs it"
    assert log(of_fork) == frames
    assert path(of_fork) == ["One", "Two", "Three"]
    assert path(of_shared) == ["One"]
    assert Session.objects.visible_to(admin_user).count() == 2
    branches.select(branches.find(admin_user, one.pk, of_fork.pk), user=admin_user)
    forks.delete_session(of_fork)
    assert Session.objects.count() == 2, "the fork was needed by that one alone"
    forks.delete_session(of_shared)
    assert not Session.objects.exists()
    assert not Event.objects.exists()


def test_a_fork_says_what_was_pruned_of_its_parent(say, admin_user):
    one, two = say("One"), say("Two")
    fork = forks.fork(one.session, user=admin_user, run_id=two.pk)
    later = timezone.now() + datetime.timedelta(days=1)
    retention.apply(retention.Rule("events", later, keep=1, session_id=one.session_id))
    assert event_log.pruned_seq(fork) == one.last_seq
    assert len(log(fork)) == 4, "the second run's three, and its own"
    Session.objects.filter(pk=one.session_id).delete()  # as with its owner
    fork.refresh_from_db()
    assert event_log.pruned_seq(fork) == fork.parent_seq
    assert len(log(fork)) == 1
    assert path(fork) == []


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_fork_comes_back_from_a_file_with_its_beginning(say, admin_user, is_alone):
    one, two = say("One"), say("Two")
    edited = branches.regenerate(branches.find(admin_user, two.pk), user=admin_user, trigger="api", message="Zwei").run
    runs.cancel(edited, by="ann")
    fork = forks.fork(one.session, user=admin_user)
    say("Drei", fork.name)
    last = say("Four")
    branches.select(branches.find(admin_user, two.pk), user=admin_user)
    frames, way = log(fork), path(fork)
    assert way == ["One", "Zwei", "Drei"]
    assert path(one.session) == ["One", "Two"]
    file = io.BytesIO()
    transfer.export([fork.pk] if is_alone else [fork.pk, one.session_id], file)
    Session.objects.all().delete()
    for _ in range(2):  # the second time, everything exists
        file.seek(0)
        transfer.import_sessions(file)
    assert log(fork) == frames
    assert path(fork) == way
    assert Session.objects.visible_to(admin_user).count() == (1 if is_alone else 2)
    assert Run.objects.filter(pk=last.pk).exists() is not is_alone
    if not is_alone:
        assert path(one.session) == ["One", "Two"]
    branches.select(branches.find(admin_user, two.pk, fork.pk), user=admin_user)
    assert path(fork) == ["One", "Two"]
