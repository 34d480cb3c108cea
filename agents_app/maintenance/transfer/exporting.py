"""Write sessions as lines of JSON."""

import base64
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import orjson
from django.conf import settings
from django.db.models import Max, Q
from django.utils import timezone

from agents_app import exact_json
from agents_app.files.storage import open_bytes
from agents_app.maintenance.transfer.columns import FORMAT, VERSION, to_dict, to_json
from agents_app.models import Approval, Event, File, Run, Session, SteeredMessage, Step
from agents_app.runs import paths

_IN_MEMORY = 16 * 1024**2  # bytes of one session
_ATTEMPTS = 5
_ROWS_AT_ONCE = 200
_PARTS: tuple[tuple[str, Any], ...] = (("step", Step), ("approval", Approval), ("steered", SteeredMessage))


class _Busy(Exception):
    """The session has a run that has not ended."""


def export(session_ids: Iterable[str], out: IO[bytes]) -> tuple[int, list[str]]:
    """Write the sessions to `out`. Returns their number, and those left out because a run has not ended.

    Each one is a snapshot, taken without a lock: a session that changes meanwhile is read again. Before a fork comes
    what it shares with sessions that are not written themselves.
    """
    lines = sessions = 0
    busy = []
    lines += _write(out, [{"format": FORMAT, "version": VERSION} | _origin()])
    ids = dict.fromkeys(session_ids)
    for session_id in list(ids):
        try:
            for parent in _parents(session_id):
                if parent.pk not in ids:
                    ids[parent.pk] = None
                    lines += _write(out, _shared_lines(parent, session_id))
                    sessions += 1
            lines += _export(session_id, out)
            sessions += 1
        except _Busy:
            busy.append(session_id)
        except Session.DoesNotExist:
            pass  # deleted in the meantime
    _write(out, [{"end": {"sessions": sessions, "lines": lines}}])
    return sessions, busy


def _origin() -> dict[str, Any]:
    return {"product": settings.VERSION, "exported_at": timezone.now()}


def _export(session_id: str, out: IO[bytes]) -> int:
    for _ in range(_ATTEMPTS):
        before = _state(session_id)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(settings.VAR_DIR)) as spool:
            lines = _write(spool, _lines(session_id))
            if _state(session_id) == before:
                spool.seek(0)
                shutil.copyfileobj(spool, out)
                return lines
    raise _Busy(session_id)


def _parents(session_id: str) -> list[Session]:
    """Return the sessions that this one was forked from, the first one first."""
    session = Session.objects.get(pk=session_id)
    return list(paths.lineage(session))[:0:-1] if session.parent_id else []


def _shared_lines(session: Session, fork_id: str) -> Iterator[dict[str, Any]]:
    """Yield what forks share of the session. The owner of this fork gets its files; nobody sees the session itself."""
    upto = session.forks.aggregate(last=Max("parent_seq"))["last"]
    owner = Session.objects.select_related("owner").get(pk=fork_id).owner
    session.last_seq, session.name = upto, session.pk
    session.deleted_at = session.deleted_at or timezone.now()
    yield {
        "session": to_dict("session", session)
        | {"owner": owner.get_username() if owner else None, "agent": None, "parent": session.parent_id}
    }
    yield from _contents(session, upto, owner.pk if owner else None)


def _state(session_id: str) -> tuple[Any, ...]:
    """Return values that change whenever the session does.

    Raises:
        _Busy: a run has not ended.
        Session.DoesNotExist: it was deleted.
    """
    session = Session.objects.get(pk=session_id)
    if session.runs.unfinished().exists():
        raise _Busy(session_id)
    return session.last_seq, session.pruned_seq, session.run_count, session.updated_at, session.runs.count()


def _lines(session_id: str) -> Iterator[dict[str, Any]]:
    session = Session.objects.select_related("owner", "agent").get(pk=session_id)
    owner = session.owner.get_username() if session.owner else None
    agent = session.agent.name if session.agent else None
    yield {"session": to_dict("session", session) | {"owner": owner, "agent": agent, "parent": session.parent_id}}
    yield from _contents(session, session.last_seq, session.owner_id)


def _contents(session: Session, upto: int, owner_id: int | None) -> Iterator[dict[str, Any]]:
    uploads: set[str] = set()
    for run in Run.objects.filter(session=session, last_seq__lte=upto).order_by("number").iterator(_ROWS_AT_ONCE):
        yield {"run": to_dict("run", run) | {"parent": run.parent_id}}
        for kind, model in _PARTS:
            for row in model.objects.filter(run=run).order_by("pk").iterator(_ROWS_AT_ONCE):
                yield {kind: to_dict(kind, row) | {"run": run.pk}}
        yield from _files(run, uploads, owner_id)
    for event in Event.objects.filter(session=session, seq__lte=upto).order_by("seq").iterator(_ROWS_AT_ONCE):
        yield {"event": to_dict("event", event) | {"data": orjson.Fragment(event.data)}}


def _files(run: Run, uploads: set[str], owner_id: int | None) -> Iterator[dict[str, Any]]:
    """Yield the files that the run's tools returned, and those of its message that are not among `uploads` yet."""
    sent = {part["file_id"] for part in run.parts or () if part["type"] == "file"} - uploads
    uploads |= sent
    files = File.objects.filter(Q(run=run) | Q(pk__in=sent, run=None, owner=owner_id))
    for file in files.order_by("pk").select_related("stored").iterator(_ROWS_AT_ONCE):
        try:
            with open_bytes(file.stored.key) as source:
                data = base64.b64encode(source.read()).decode()
        except FileNotFoundError:
            continue  # the doctor names those
        yield {"file": to_dict("file", file) | {"run": file.run_id, "data": data}}


def _write(out: IO[bytes], lines: Iterable[dict[str, Any]]) -> int:
    count = 0
    for line in lines:
        out.write(exact_json.dumps(line, default=to_json) + b"\n")
        count += 1
    return count
