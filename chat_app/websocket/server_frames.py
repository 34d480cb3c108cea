"""The frames of the socket itself: they have no number and are not in the log."""

import time
from typing import Annotated, ClassVar, Literal, TypedDict

import msgspec
from msgspec import UNSET, Meta, UnsetType

from agents_app.event_log.vocabulary import Count, Moment
from agents_app.exceptions import AgentError, InvalidMessage, InvalidRequest, RateLimited
from agents_app.models import Run

UnfinishedStatus = Annotated[str, Meta(extra_json_schema={"enum": [status.value for status in Run.UNFINISHED]})]


class SocketData(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a frame. Fields that are UNSET are left out of its JSON."""

    frame_type: ClassVar[str]


class UnfinishedRun(TypedDict):
    """A run that has not ended."""

    id: str
    status: UnfinishedStatus


class Connected(SocketData, frozen=True, kw_only=True):
    """The first frame of every socket."""

    frame_type = "connected"

    session_id: str
    id: Annotated[str | None, Meta(description="Id of the session, never used again; null until the first message.")]
    agent_name: str | None
    message: str
    last_seq: Count
    runs: list[UnfinishedRun]
    heartbeat_interval: float
    protocol: Literal[1]


class Ping(SocketData, frozen=True, kw_only=True):
    """Answer with `pong`."""

    frame_type = "ping"

    timestamp: Moment


class Pong(SocketData, frozen=True, kw_only=True):
    """The answer to the client's `ping`."""

    frame_type = "pong"

    timestamp: Annotated[int | float, Meta(description="Seconds since the epoch.")]


class Error(SocketData, frozen=True, kw_only=True):
    """A client's frame was refused; the socket stays open. `message_id`: that of the refused `chat`."""

    frame_type = "error"

    message: str
    code: str
    field: str | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET
    message_id: str | UnsetType = UNSET


class Notice(SocketData, frozen=True, kw_only=True):
    """A message of an administrator to all sockets."""

    frame_type = "notice"

    message: str


class Reset(SocketData, frozen=True, kw_only=True):
    """The events up to `after` were deleted: the log continues from there."""

    frame_type = "reset"

    after: Count


SOCKET_DATA: dict[str, type[SocketData]] = {data.frame_type: data for data in SocketData.__subclasses__()}
_encode = msgspec.json.Encoder().encode


def encode(data: SocketData) -> str:
    """Return the text of a frame."""
    return _encode({"type": data.frame_type, "data": data}).decode()


def error_frame(error: AgentError, message_id: str | None = None) -> str:
    """Return the frame for an error. `message_id`: that of the `chat` that is refused, if it had one."""
    names_field = isinstance(error, InvalidRequest) and bool(error.param)
    return encode(
        Error(
            message=str(error),
            code=InvalidMessage.code if names_field and not isinstance(error, InvalidMessage) else error.code,
            field=error.param if isinstance(error, InvalidRequest) and error.param else UNSET,
            retry_after=round(error.retry_after, 3) if isinstance(error, RateLimited) else UNSET,
            message_id=UNSET if message_id is None else message_id,
        )
    )


def ping_frame() -> str:
    return encode(Ping(timestamp=time.time()))


def pong_frame(timestamp: float | None) -> str:
    return encode(Pong(timestamp=time.time() if timestamp is None else timestamp))
