"""Frames of the event log, and how several become fewer."""

import time
from typing import Any, NamedTuple

import orjson

LARGEST_MERGED_FRAME = 32 * 1024  # characters


class Frame(NamedTuple):
    """A frame of the log as watchers get it. `is_delta`: it may be merged with its neighbors."""

    first: int
    seq: int
    is_delta: bool
    text: str


def merge(frames: list[Frame]) -> list[Frame]:
    """Return the same events in fewer frames: adjacent deltas of one step become one frame."""
    if len(frames) < 2 or sum(frame.is_delta for frame in frames) < 2:
        return frames
    result: list[Frame] = []
    group: list[Frame] = []
    for frame in frames:
        if frame.is_delta:
            group.append(frame)
            continue
        result += _merge_deltas(group)
        group = []
        result.append(frame)
    return result + _merge_deltas(group)


def _merge_deltas(frames: list[Frame]) -> list[Frame]:
    if len(frames) < 2:
        return frames
    result: list[Frame] = []
    step: tuple[Any, ...] | None = None
    body: dict[str, Any] = {}
    pieces: list[str] = []
    size = first = seq = 0

    def close() -> None:
        if step is not None:
            body["seq"], body["first"], body["data"]["content"] = seq, first, "".join(pieces)
            result.append(Frame(first, seq, True, orjson.dumps(body).decode()))

    for frame in frames:
        parsed = orjson.loads(frame.text)
        data = parsed["data"]
        identity = (parsed["run_id"], data["step"], data["type"])
        if identity != step or size > LARGEST_MERGED_FRAME:
            close()
            step, body, pieces, first, size = identity, parsed, [], frame.first, 0
        pieces.append(data["content"])
        size += len(data["content"])
        seq = frame.seq
        body["timestamp"] = parsed["timestamp"]
    close()
    return result


def now() -> float:
    """Return seconds since the epoch, rounded to milliseconds, so that a frame and its row have the same time."""
    return round(time.time(), 3)
