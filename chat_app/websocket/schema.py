"""The frames of the socket as JSON Schema, for `/v1/schema/frames`: made from the models of the frames."""

from agents_app.event_log.vocabulary import RECORDS, LogFrame
from chat_app.websocket.client_frames import PAYLOADS
from chat_app.websocket.json_schema import Schema, closed, schema_of
from chat_app.websocket.server_frames import SOCKET_DATA


def _log_frames() -> list[Schema]:
    frames = []
    for kind, record in RECORDS.items():
        frame = schema_of(LogFrame[record])  # type: ignore[valid-type]
        frame["properties"]["type"] = {"const": kind.value}
        frames.append(closed(frame))
    return frames


def _socket_frame(kind: str, data: Schema) -> Schema:
    return {"type": "object", "properties": {"type": {"const": kind}, "data": data}, "required": ["type", "data"]}


def _client_frame(kind: str, payload: Schema) -> Schema:
    return {"type": "object", "properties": {"type": {"const": kind}, "payload": payload}, "required": ["type"]}


SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "/v1/schema/frames",
    "title": "Frames of /ws/chat/{session_id}",
    "oneOf": [{"$ref": "#/$defs/server"}, {"$ref": "#/$defs/client"}],
    "$defs": {
        "server": {"oneOf": [{"$ref": "#/$defs/log"}, {"$ref": "#/$defs/socket"}]},
        "log": {"oneOf": _log_frames()},
        "socket": {"oneOf": [closed(_socket_frame(kind, schema_of(data))) for kind, data in SOCKET_DATA.items()]},
        "client": {"oneOf": [_client_frame(kind, schema_of(payload)) for kind, payload in PAYLOADS.items()]},
    },
}
