"""A session's log over HTTP: pages of JSON, or a stream of server-sent events."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import TypeVar

import orjson
from asgiref.sync import sync_to_async
from django.http import HttpResponse, HttpResponseBase
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from agents_app import event_log
from agents_app.access import callers, open_connections, revocation
from agents_app.access.callers import Caller
from agents_app.api import sse
from agents_app.api.pagination import LARGEST_SEQ, limit_of, whole_number
from agents_app.api.sse import PING
from agents_app.api.streams import PING_INTERVAL, batches, give_thread_back, stream
from agents_app.event_log import Row
from agents_app.exceptions import AuthenticationExpired, InvalidRequest, SessionNotFound
from agents_app.models import Run, Session

T = TypeVar("T")

_PAGE = 500
_PAGE_CHARACTERS = 8 * 1024 * 1024  # of a page's frames; one row may have more


def session_events(request: Request, session: Session) -> HttpResponseBase:
    """Return the session's events after the cursor: one page, or a stream without an end."""
    after = _cursor(request)
    if wants_stream(request):
        place = open_connections.take(request.user)
        start = min(max(after, event_log.pruned_seq(session)), session.last_seq)
        return stream(_of_session(session, after, start, callers.of_drf_request(request)), place)
    limit = limit_of(request)
    return _page(request, _rows(session.pk, after, limit), event_log.pruned_seq(session))


def run_events(request: Request, run: Run) -> HttpResponseBase:
    """Return the events of one run after the cursor. A stream ends after the run's last frame."""
    after = max(_cursor(request), event_log.before_run(run))
    if wants_stream(request):
        caller = callers.of_drf_request(request)
        events = _of_finished_run(run, after) if run.is_finished else _of_run(run, after, caller)
        return stream(events, open_connections.take(request.user))
    limit = limit_of(request)
    return _page(request, _rows(run.session_id, after, limit, run_id=run.pk), run.session.pruned_seq)


def wants_stream(request: Request) -> bool:
    """Return whether the client asks for server-sent events."""
    preferred = request.get_preferred_type(["application/json", "text/event-stream"])
    return request.method == "GET" and preferred == "text/event-stream"


def _cursor(request: Request) -> int:
    """Return the last event that the client has, from `Last-Event-ID` (a browser that reconnects) or `after`."""
    last = request.headers.get("Last-Event-ID", "")
    if last and wants_stream(request):
        if not (last.isascii() and last.isdecimal() and len(last) < 19):
            raise InvalidRequest("'Last-Event-ID' must be the id of an event.", param="Last-Event-ID")
        return int(last)
    return whole_number(request, "after", 0, least=0, most=LARGEST_SEQ)


def _rows(session_id: str, after: int, limit: int, *, run_id: uuid.UUID | None = None) -> tuple[list[Row], bool]:
    """Return a page of rows, which ends by their number or their size, and whether more follow."""
    rows = event_log.read(session_id, after, limit + 1, run_id=run_id, most=_PAGE_CHARACTERS)
    if len(rows) > limit:
        return rows[:limit], True
    if sum(len(row.frame) for row in rows) <= _PAGE_CHARACTERS:
        return rows, False
    return rows, bool(event_log.read(session_id, rows[-1].seq, 1, run_id=run_id))


def _page(request: Request, page: tuple[list[Row], bool], pruned_seq: int) -> HttpResponse:
    """Return a page of rows. Frames are JSON text already and are not parsed again."""
    rows, has_more = page
    url = None
    if has_more:
        url = replace_query_param(request.build_absolute_uri(), "after", rows[-1].seq)
    body = {
        "object": "list",
        "data": [orjson.Fragment(row.frame) for row in rows],
        "has_more": has_more,
        "next": url,
        "pruned_seq": pruned_seq,
    }
    return HttpResponse(orjson.dumps(body), content_type="application/json")


# Streams


async def _of_session(session: Session, after: int, start: int, caller: Caller) -> AsyncIterator[bytes]:
    """Yield all events after `start` until the client disconnects. `after`: the cursor of the client."""
    yield PING  # so that the client sees at once that the stream is open
    if start != after:
        yield _reset(start)
    async for frames in _batches(event_log.follow(session.pk, start), caller, session.pk):
        yield b"".join(_event(frame.seq, frame.text) for frame in frames) or PING


async def _of_run(run: Run, after: int, caller: Caller) -> AsyncIterator[bytes]:
    """Yield the events of an unfinished run, up to its last."""
    yield PING
    async for events in _batches(event_log.follow_run(run, after), caller, run.session_id):
        yield b"".join(_event(event.seq, event.frame.text) for event in events) or PING


async def _of_finished_run(run: Run, after: int) -> AsyncIterator[bytes]:
    """Yield what the log has of an ended run. Its end may have been pruned, so do not wait for it."""
    if after < run.session.pruned_seq:
        yield _reset(run.session.pruned_seq)
    while rows := await sync_to_async(event_log.read)(
        run.session_id, after, _PAGE, run_id=run.pk, most=_PAGE_CHARACTERS
    ):
        yield b"".join(_event(row.seq, row.frame) for row in rows)
        after = rows[-1].seq


async def _batches(followed: AsyncIterator[list[T]], caller: Caller, session_id: str) -> AsyncIterator[list[T]]:
    """Yield what is followed while the session exists and the caller may read it; empty lists as pings."""
    await give_thread_back()
    with (
        revocation.watch(caller, session_id) as revoked,
        contextlib.suppress(SessionNotFound, AuthenticationExpired),
    ):
        async with contextlib.aclosing(batches(followed, revoked, pause=PING_INTERVAL)) as read:  # type: ignore[type-var]
            async for items in read:
                yield items


def _event(seq: int, frame: str) -> bytes:
    return sse.event(frame.encode(), name=orjson.loads(frame)["type"], event_id=seq)


def _reset(after: int) -> bytes:
    """Return the event that says after which number the log continues, if earlier events were pruned."""
    return sse.event(orjson.dumps({"type": "reset", "data": {"after": after}}), name="reset")
