"""What is being worked on, for logs and traces: it follows a task, and is carried from thread to thread by hand."""

import contextvars
import dataclasses
import re
import secrets
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of what is being worked on; empty where there is none. `traceparent`: the span, as W3C writes it."""

    request_id: str = ""
    session_id: str = ""
    run_id: str = ""
    traceparent: str = ""


_NONE = Ids()
_current: contextvars.ContextVar[Ids] = contextvars.ContextVar("ids", default=_NONE)


def current() -> Ids:
    """What this task or thread is about."""
    return _current.get()


def bind(**ids: str) -> None:
    """Say what this task is about from now on."""
    _current.set(dataclasses.replace(_current.get(), **ids))


def clean_context() -> contextvars.Context:
    """A context with nothing in it but the ids: for a thread, which must not inherit transactions and such."""
    clean = contextvars.Context()
    if (ids := _current.get()) is not _NONE:
        clean.run(_current.set, ids)
    return clean


def traceparent(told: str) -> str:
    """The client's span, where its header names one."""
    return told if _TRACEPARENT.fullmatch(told) else ""


def request_id(asked: str) -> str:
    """The id of a request: the client's own, where it is one, else a new one."""
    return asked if _REQUEST_ID.fullmatch(asked) else f"req_{secrets.token_hex(12)}"
