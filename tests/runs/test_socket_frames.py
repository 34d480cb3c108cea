"""The frames of the socket and the events of the log, without a server."""

import asyncio
import logging

import jsonschema
import msgspec
import orjson
import pytest

from agents_app.event_log import EventType
from agents_app.event_log.reading import frame_text
from agents_app.event_log.vocabulary import RECORDS, Interrupted, ReasoningDelta, encode, parse
from agents_app.exceptions import InvalidMessage
from agents_app.live import Frame
from chat_app.websocket import client_frames
from chat_app.websocket.schema import SCHEMA
from chat_app.websocket.tasks import SocketTasks

CLIENT = jsonschema.Draft202012Validator(SCHEMA | {"oneOf": [{"$ref": "#/$defs/client"}]})
TOO_LONG = "x" * 200


def test_every_type_of_event_has_a_record():
    assert RECORDS.keys() == set(EventType)


@pytest.mark.parametrize("data", [Interrupted(message="Stopped.", by="ann"), ReasoningDelta(0, "thought", 1, 0, "é")])
def test_an_event_reads_as_it_was_written(data):
    text = frame_text(data.event_type, 7, 7, None, 1.5, encode(data))
    event = parse(Frame(7, 7, False, text))
    assert (event.type, event.seq, event.run_id, event.data) == (data.event_type, 7, None, data)


def test_an_event_of_a_newer_version_has_no_data():
    text = frame_text("of_the_future", 1, 1, None, 0.0, "{}")
    assert parse(Frame(1, 1, False, text)).data is None


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("chat", {"message": "hi"}),
        ("chat", {"message": "hi", "agent_name": None, "message_id": None, "if_busy": "reject", "color": "red"}),
        ("interrupt", {}),
        ("interrupt", {"run_id": "d734c0e8-f82c-4f37-a211-40cbc2b87943"}),
        ("approve", {"tool_call_id": "a", "approved": True, "reason": None}),
        ("resume", {"after": 0}),
        ("ping", {"timestamp": 1.5}),
        ("pong", {}),
    ],
)
def test_parser_and_schema_take_the_same_frames(kind, payload):
    frame = {"type": kind, "payload": payload}
    CLIENT.validate(frame)
    assert isinstance(client_frames.parse(orjson.dumps(frame).decode()), client_frames.PAYLOADS[kind])


@pytest.mark.parametrize(
    ("kind", "payload", "text"),
    [
        ("chat", {"message": "hi", "agent_name": TOO_LONG}, "'agent_name' must be a string of at most 74 characters."),
        (
            "chat",
            {"message": "hi", "if_busy": "wait"},
            "'if_busy' must be 'enqueue', 'interrupt', 'reject' or 'steer'.",
        ),
        ("chat", {"message": "hi", "enable_reasoning": 1}, "'enable_reasoning' must be true or false."),
        ("approve", {"approved": True}, "'tool_call_id' must be a string of 1 to 128 characters."),
        ("resume", {"after": "1"}, "'after' must be a whole number, 0 or more."),
        ("ping", {"timestamp": "now"}, "'timestamp' must be a number."),
    ],
)
def test_parser_and_schema_refuse_the_same_frames(kind, payload, text):
    frame = {"type": kind, "payload": payload}
    assert not CLIENT.is_valid(frame)
    with pytest.raises(InvalidMessage) as refused:
        client_frames.parse(orjson.dumps(frame).decode())
    assert str(refused.value) == text


def test_every_field_of_a_payload_can_be_refused_in_a_sentence():
    for model in client_frames.PAYLOADS.values():
        for field in msgspec.structs.fields(model):
            assert str(client_frames._invalid(model, field.name)).endswith(".")


# Tasks of a socket


def test_a_task_of_a_socket_is_forgotten_when_it_ends(caplog):
    async def fail():
        raise ConnectionError("The client has gone.")

    async def scenario():
        tasks = SocketTasks()
        for _ in range(20):
            tasks.start("notice", asyncio.sleep(0))
        tasks.start("follow", fail())
        tasks.start("heartbeat", asyncio.sleep(3600))
        await asyncio.sleep(0.01)
        left = [*tasks._names.values()]
        await tasks.stop()
        return left, [*tasks._names]

    with caplog.at_level(logging.ERROR, "asyncio"):
        assert asyncio.run(scenario()) == (["heartbeat"], [])
    assert not caplog.records, "asyncio saw an error that nobody retrieved"
