"""Forks: sessions that begin as another one, up to one of its runs. Nothing is copied: see `event_log.lineage`."""

import uuid
from typing import Any

from django.db import transaction
from django.db.models import Max
from django.db.models.signals import post_delete
from django.utils import timezone

from agents_app import event_log, live
from agents_app.database.errors import storage_errors
from agents_app.event_log.vocabulary import Forked
from agents_app.exceptions import Conflict
from agents_app.models import Event, Run, ScheduledTask, Session
from agents_app.models.sessions import make_session_id
from agents_app.runs import branches, paths
from agents_app.runs.sessions import lock_session


def fork(session: Session, *, user: Any, run_id: uuid.UUID | None = None, title: str | None = None) -> Session:
    """Create a session of `user` that begins as this one, up to and with a run: the last one of its path that ended.

    Raises:
        NotFound: the session has no such run.
        Conflict: the run has not ended, or no run has.
        SessionNotFound: the session was deleted meanwhile.
    """
    with storage_errors(), transaction.atomic():
        session = lock_session(user, session.pk)
        run = _fork_point(user, session, run_id)
        parent = Session.objects.select_for_update(of=("self",)).get(pk=run.session_id)
        upto = _upto(run)
        pk = make_session_id()
        created = Session(
            pk=pk,
            name=pk,
            owner=user,
            agent_id=session.agent_id,
            title=session.title if title is None else title,
            metadata=session.metadata,
            last_seq=upto,
            run_count=parent.run_count,
            chosen=run.number,
            parent=parent,
            parent_run=run.pk,
            parent_seq=upto,
            parent_count=parent.run_count,
        )
        created.save(force_insert=True)
        address = session.address_for(user)
        data = Forked(session_id=address, run_id=str(run.pk), head=run.number, newest=parent.run_count)
        created.last_seq = event_log.record(pk, None, [data])[-1]
        return created


def _fork_point(user: Any, session: Session, run_id: uuid.UUID | None) -> Run:
    if run_id is not None:
        run = branches.find(user, run_id, session.pk).run
        if not run.is_finished:
            raise Conflict("The run has not ended: fork the session after an earlier run, or later.")
        return run
    unfinished = {run.number: run.followed for run in session.runs.unfinished().only("number", "follows")}
    end = session.head
    while end in unfinished:
        end = unfinished[end]
    newest = next(paths.path(session, end), None)
    if newest is None:
        raise Conflict("No run of the session has ended: there is nothing to fork.")
    return Run.objects.get(pk=newest.pk)


def _upto(run: Run) -> int:
    """Return the number of the last event that the fork shares.

    Raises:
        Conflict: a run before this one has not ended.
    """
    before = Run.objects.filter(session=run.session_id, number__lte=run.number)
    if before.unfinished().exists():
        raise Conflict("A run before this one has not ended: fork the session after an earlier run, or later.")
    return before.aggregate(last=Max("last_seq"))["last"]


def delete_session(session: Session) -> None:
    """Delete the session. If it has forks, keep what they share, invisible, until the last of them is deleted."""
    with transaction.atomic():
        session = Session.objects.select_for_update(of=("self",)).get(pk=session.pk)
        upto = session.forks.aggregate(last=Max("parent_seq"))["last"]
        if upto is None:
            session.delete()
            return
        session.runs.exclude(last_seq__lte=upto).delete()
        Event.objects.filter(session=session, seq__gt=upto).delete()
        ScheduledTask.objects.filter(kept_session=session).update(kept_session=None)
        kept = {"name": session.pk, "owner": None, "last_seq": upto, "deleted_at": timezone.now()}
        Session.objects.filter(pk=session.pk).update(**kept)
        transaction.on_commit(lambda: live.end_soon([session.pk]))


def _delete_kept(sender: Any, instance: Session, **_: Any) -> None:
    """Delete what was kept for this fork alone. A signal, because a session is also deleted with its owner."""
    if instance.parent_id is None:
        return
    parent = Session.objects.select_for_update(of=("self",)).filter(pk=instance.parent_id).first()
    if parent is not None and parent.deleted_at is not None and not parent.forks.exists():
        parent.delete()


def connect() -> None:
    """Hear of deletions from now on."""
    post_delete.connect(_delete_kept, sender=Session, dispatch_uid="delete what forks kept")
