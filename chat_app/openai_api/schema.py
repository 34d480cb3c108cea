"""Describe these endpoints in our OpenAPI: what they read and what they answer. OpenAI's own schema has the rest."""

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from agents_app.api.schema import EVENT, errors
from chat_app.openai_api.requests import ChatCompletionRequest, ResponseRequest
from chat_app.openai_api.validation import built

JSON = dict[str, Any]

_TEXT, _NUMBER, _WHOLE, _FLAG = ({"type": kind} for kind in ("string", "number", "integer", "boolean"))
_STRINGS = {"type": "array", "items": _TEXT}
_OBJECT = {"type": "object", "additionalProperties": True}
_OBJECTS = {"type": "array", "items": _OBJECT}


def _or_null(schema: JSON) -> JSON:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(required: list[str], description: str = "", /, **properties: JSON) -> JSON:
    described = {"description": description} if description else {}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": True} | described


_ANSWERS = {
    "ChatCompletion": _object(
        ["id", "object", "created", "model", "choices", "usage"],
        id=_TEXT,
        object={"const": "chat.completion"},
        created=_WHOLE,
        model=_TEXT,
        choices=_OBJECTS,
        usage=_OBJECT,
        system_fingerprint={"type": "null"},
    ),
    "Response": _object(
        ["id", "object", "created_at", "status", "model", "output", "error", "usage"],
        id=_TEXT,
        object={"const": "response"},
        created_at=_WHOLE,
        status={"enum": ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]},
        model=_TEXT,
        output=_OBJECTS,
        error=_or_null(_object(["code", "message"], code=_TEXT, message=_TEXT)),
        usage=_or_null(_OBJECT),
    ),
    "Model": _object(
        ["id", "object", "created", "owned_by"],
        id=_TEXT | {"description": "The name of an agent."},
        object={"const": "model"},
        created=_WHOLE,
        owned_by=_TEXT,
    ),
    "ModelList": _object(
        ["object", "data"],
        object={"const": "list"},
        data={"type": "array", "items": {"$ref": "#/components/schemas/Model"}},
    ),
}


_REQUESTS: list[type[BaseModel]] = [ChatCompletionRequest, ResponseRequest]


class _WithoutTitles(GenerateJsonSchema):
    """Leave titles out: pydantic only repeats the names of fields in them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _requests() -> JSON:
    """Return the schemas of the models that parse requests, with what they consist of."""
    models: list[tuple[type[BaseModel], Literal["validation"]]] = [(built(model), "validation") for model in _REQUESTS]
    template = "#/components/schemas/{model}"
    _, schemas = models_json_schema(models, ref_template=template, schema_generator=_WithoutTitles)
    return schemas["$defs"]


_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
NO_MODEL = {"content": _ERROR, "description": "The model does not exist: the caller may use no agent of that name."}
RUN_FAILED = {"content": _ERROR, "description": "The run failed. `x-should-retry: false` if a retry cannot help."}


def _parameter(name: str, where: str, schema: JSON, description: str) -> JSON:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "schema": schema,
        "description": description,
    }


_SESSION = _parameter(
    "X-Session-Id",
    "header",
    _TEXT | {"pattern": r"^(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,128}$"},
    "The session that keeps the conversation. Only the last message of the user is new.",
)
_KEY = _parameter("Idempotency-Key", "header", _TEXT | {"maxLength": 255}, "The same key returns the same run.")
_ID = _parameter("identifier", "path", _TEXT, "The id of the response.")


def _operation(name: str, description: str, answer: str, *, body: str = "", streams: bool = False, **more: Any) -> JSON:
    content: JSON = {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}}
    if streams:
        content["text/event-stream"] = {"schema": EVENT}
    operation: JSON = {
        "operationId": name,
        "description": description,
        "tags": ["openai"],
        "security": [{"token": []}, {"session": []}],
        "responses": {"200": {"content": content, "description": ""}},
        **more,
    }
    if body:
        schema = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}}}
        operation["requestBody"] = {"content": schema, "required": True}
    return operation


PATHS: JSON = {
    "/v1/chat/completions": {
        "post": _operation(
            "chat_completions_create",
            "Run an agent as a model. Return the answer, or its chunks and `[DONE]` if `stream` is set.",
            "ChatCompletion",
            body="ChatCompletionRequest",
            streams=True,
            parameters=[_SESSION, _KEY],
        )
    },
    "/v1/models": {"get": _operation("models_list", "List the enabled agents as models.", "ModelList")},
    "/v1/models/{name}": {
        "get": _operation(
            "models_retrieve",
            "Return one model.",
            "Model",
            parameters=[_parameter("name", "path", _TEXT, "The name of an agent.")],
        )
    },
    "/v1/responses": {
        "post": _operation(
            "responses_create",
            "Run an agent as a model, with the Responses API.",
            "Response",
            body="ResponseRequest",
            streams=True,
            parameters=[_SESSION, _KEY],
        )
    },
    "/v1/responses/{identifier}": {
        "get": _operation(
            "responses_retrieve",
            "Return a response as it is now, or its events if `stream=true`, from the start or after a number.",
            "Response",
            streams=True,
            parameters=[
                _ID,
                _parameter("stream", "query", {"type": "string", "enum": ["true", "false"]}, "Return a stream."),
                _parameter(
                    "starting_after",
                    "query",
                    _WHOLE | {"minimum": 0},
                    "The `sequence_number` of the last event that the client has.",
                ),
            ],
        )
    },
    "/v1/responses/{identifier}/cancel": {
        "post": _operation(
            "responses_cancel", "Cancel a response. One that has ended stays as it is.", "Response", parameters=[_ID]
        )
    },
}


def _with_errors(path: str, operations: JSON) -> JSON:
    with_errors = {}
    for method, operation in operations.items():
        takes_body = "requestBody" in operation
        failures = {"404": NO_MODEL, "500": RUN_FAILED} if takes_body else {}
        possible = errors(method, path, body=takes_body) | failures
        with_errors[method] = operation | {"responses": operation["responses"] | possible}
    return with_errors


def add_openai(result: JSON, generator: Any, request: Any, public: bool) -> JSON:
    """Add these endpoints: a hook of drf-spectacular, which finds only views of DRF."""
    ours = {path: _with_errors(path, operations) for path, operations in PATHS.items()}
    result["paths"] = dict(sorted((result["paths"] | ours).items()))
    schemas = result["components"]["schemas"]
    result["components"]["schemas"] = dict(sorted((schemas | _requests() | _ANSWERS).items()))
    return result
