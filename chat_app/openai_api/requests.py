"""The requests that these endpoints take. `/v1/schema` publishes the JSON schema of the same models.

Other fields of OpenAI's API are accepted and ignored. Null is the same as a field that is left out.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import orjson
from django.conf import settings
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)

from agents_app.files.parts import MOST_PARTS
from agents_app.models import Agent
from agents_app.runs.messages import is_too_long, too_long
from chat_app.openai_api.validation import TOO_LONG, failure, one_of

EFFORTS = tuple(value for value, _ in Agent._meta.get_field("reasoning_effort").choices or ())
_UNSUPPORTED = "unsupported_value"
_FORMATS = ("text", "json_object", "json_schema")
_CHAT_ROLES = ("developer", "system", "user", "assistant", "tool")
_REPORTS = ("reasoning", "mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response")


class Request(BaseModel):
    """JSON types are taken as they are: "1" is not a number. `built` builds the validators."""

    model_config = ConfigDict(strict=True, frozen=True, defer_build=True)


def _without_nul(text: str) -> str:
    """PostgreSQL has no NUL characters in its texts."""
    if "\x00" in text:
        raise failure("must not contain NUL characters.")
    return text


def _storable(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        text = orjson.dumps(schema)
    except orjson.JSONEncodeError:
        raise failure("is nested too deeply.") from None
    if b"\\u0000" in text:
        raise failure("must not contain NUL characters.")
    if len(text) > settings.MAX_BODY_BYTES:
        raise failure(f"is larger than {settings.MAX_BODY_BYTES:,} bytes.")
    return schema


def _tagged(choose: Callable[[Any], str]) -> Discriminator:
    """Return what picks the member of a union by looking, so that an error is about the member that was meant."""
    return Discriminator(lambda value: f"<{choose(value)}>")


def _type_of(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else None


def _role_of(value: Any) -> Any:
    return value.get("role") if isinstance(value, dict) else None


def _as_short_as_a_message(text: str) -> str:
    if is_too_long(text):
        raise failure(too_long(), TOO_LONG)
    return text


_NO_NUL = AfterValidator(_without_nul)
Text = Annotated[str, _NO_NUL]
_ShortText = Annotated[
    str,
    AfterValidator(_as_short_as_a_message),
    Field(json_schema_extra={"maxLength": settings.MAX_MESSAGE_CHARACTERS}),
    _NO_NUL,
]
_Id = Annotated[str, Field(min_length=1, max_length=128), _NO_NUL]


def _absent_if_unlimited(value: Any) -> Any:
    """Some clients write "no limit" as -1."""
    return None if isinstance(value, int) and value == -1 else value


_Limit = Annotated[Annotated[int, Field(ge=1, le=2**31 - 1)] | None, BeforeValidator(_absent_if_unlimited)]
_Effort = Annotated[
    str,
    one_of(EFFORTS),
    WithJsonSchema({"enum": list(EFFORTS), "description": "How much a model that can reason reasons."}),
]


# Content


class ImageUrl(Request):
    """A picture, as chat completions send it."""

    url: Annotated[Text, Field(description="A data: URL in base64, or an https: URL.")]


class FileFields(Request):
    """A file: an upload by its id, or its bytes."""

    file_id: Text | None = None
    file_data: Annotated[Text, Field(description="Base64, or a data: URL.")] | None = None
    file_url: Annotated[Text, Field(description="An https: URL.")] | None = None
    filename: Annotated[Text, Field(max_length=1000)] | None = None


class InputAudio(Request):
    """Speech."""

    data: Annotated[Text, Field(description="Base64.")]
    format: Text | None = None


class ContentPart(FileFields):
    """A part of a message: text (`text`, `input_text`, `output_text`), or a file.

    `image_url`, `file` and `input_audio` are those of chat completions, `input_image` and `input_file` of responses.
    """

    type: Text
    text: Text | None = None
    refusal: Text | None = None
    image_url: (
        Annotated[
            Annotated[Text, Tag("<text>")] | Annotated[ImageUrl, Tag("<object>")],
            _tagged(lambda value: "text" if isinstance(value, str) else "object"),
        ]
        | None
    ) = None
    file: FileFields | None = None
    input_audio: InputAudio | None = None


Content = Annotated[
    Annotated[Text, Tag("<text>")]
    | Annotated[list[ContentPart], Field(max_length=MOST_PARTS), Field(fail_fast=True), Tag("<parts>")],
    _tagged(lambda value: "parts" if isinstance(value, list) else "text"),
]


# The format of the answer


def _require_one_answer(value: Any) -> Any:
    if isinstance(value, bool) or value not in (None, 1):
        raise failure("must be 1: an agent gives one answer.", _UNSUPPORTED)
    return value


def _absent_if_empty(value: Any) -> Any:
    return None if value == {} else value


class PlainFormat(Request):
    """Any text, or a JSON object."""

    type: Annotated[Literal["text", "json_object"], one_of(_FORMATS, code=_UNSUPPORTED)]


class JSONSchema(Request):
    """A JSON schema under a name."""

    name: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$"), _NO_NUL]
    description: Annotated[str, Field(max_length=1024), _NO_NUL] | None = None
    schema_: Annotated[dict[str, Any], AfterValidator(_storable)] | None = Field(None, alias="schema")
    strict: bool | None = None


class ChatJSONSchemaFormat(Request):
    """JSON that a schema describes, as chat completions ask for it."""

    type: Literal["json_schema"]
    json_schema: JSONSchema


class ResponseJSONSchemaFormat(JSONSchema):
    """JSON that a schema describes, as the Responses API asks for it."""

    type: Literal["json_schema"]


_format_type = _tagged(lambda value: "schema" if _type_of(value) == "json_schema" else "plain")
_PlainFormat = Annotated[PlainFormat, Tag("<plain>")]
ChatFormat = Annotated[_PlainFormat | Annotated[ChatJSONSchemaFormat, Tag("<schema>")], _format_type]
ResponseFormat = Annotated[_PlainFormat | Annotated[ResponseJSONSchemaFormat, Tag("<schema>")], _format_type]


# What both requests have


_Stop = Annotated[str, Field(min_length=1, max_length=1000), _NO_NUL]


class AgentRequest(Request):
    """What chat completions and responses have in common."""

    model: Annotated[str, Field(min_length=1, max_length=1000, description="The name of an agent."), _NO_NUL]
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stop: (
        Annotated[
            Annotated[_Stop, Tag("<text>")]
            | Annotated[list[_Stop], Field(max_length=4), Field(fail_fast=True), Tag("<texts>")],
            _tagged(lambda value: "texts" if isinstance(value, list) else "text"),
        ]
        | None
    ) = None
    tools: list[Any] | None = Field(None, description="Functions that the client executes: see docs/openai.md.")
    functions: list[Any] | None = Field(None, description="Rejected unless `function_call` is `none`.")
    tool_choice: Any = Field(None, description="`auto`, `none`, `required` or a function: for the next model turn.")
    parallel_tool_calls: bool | None = None
    function_call: Any = None


# Chat completions


class ToolCallFunction(Request):
    """The function of a call."""

    name: _Id
    arguments: Text


class ChatToolCall(Request):
    """A call that the assistant made."""

    id: _Id
    function: ToolCallFunction


class ChatMessage(Request):
    """A message of the user, or an instruction."""

    role: Annotated[Literal["developer", "system", "user"], one_of(_CHAT_ROLES)]
    content: Content


class ChatAssistantMessage(Request):
    """An answer of the assistant, with the calls that it made."""

    role: Literal["assistant"]
    content: Content | None = None
    tool_calls: Annotated[list[ChatToolCall], Field(fail_fast=True)] | None = None


class ChatToolMessage(Request):
    """The result of a call."""

    role: Literal["tool"]
    tool_call_id: Annotated[str, Field(max_length=128), _NO_NUL]
    content: Content


AnyChatMessage = Annotated[
    Annotated[ChatMessage, Tag("<message>")]
    | Annotated[ChatAssistantMessage, Tag("<assistant>")]
    | Annotated[ChatToolMessage, Tag("<tool>")],
    _tagged(lambda value: role if (role := _role_of(value)) in ("assistant", "tool") else "message"),
]


class StreamOptions(Request):
    """Options of a stream."""

    include_usage: bool | None = None


class ChatMetadata(Request):
    """Metadata of a chat completion."""

    session_id: Annotated[str, Field(max_length=1024), _NO_NUL] | None = Field(
        None, description="Names a session, as `X-Session-Id` does."
    )


class ChatCompletionRequest(AgentRequest):
    """Other fields of the API are accepted and ignored."""

    messages: Annotated[
        list[AnyChatMessage],
        Field(fail_fast=True),
        Field(
            min_length=1,
            description="Texts, or parts with files. The last is the user's, or the result of a call.",
        ),
    ]
    metadata: ChatMetadata | None = None
    max_tokens: _Limit = None
    max_completion_tokens: _Limit = None
    n: Annotated[Literal[1], BeforeValidator(_require_one_answer)] | None = None
    reasoning_effort: _Effort | None = None
    response_format: Annotated[
        ChatFormat | None,
        BeforeValidator(_absent_if_empty),
        Field(description="The format of the model's answers."),
    ] = None
    stream_options: StreamOptions | None = None


# Responses


_MOST_ENTRIES = 16


def _limit_entries(metadata: Any) -> Any:
    """Checked first: each of a hundred thousand wrong entries would be an error of its own."""
    if isinstance(metadata, dict) and len(metadata) > _MOST_ENTRIES:
        raise failure(f"has more than {_MOST_ENTRIES} entries.")
    return metadata


class MessageItem(Request):
    """A message."""

    type: Literal["message"] | None = None
    role: Annotated[Literal["developer", "system", "user", "assistant"], one_of(_CHAT_ROLES[:-1])]
    content: Content


class FunctionCallItem(Request):
    """A call that the assistant made."""

    type: Literal["function_call"]
    call_id: _Id
    name: _Id
    arguments: Text


class FunctionCallOutputItem(Request):
    """The result of a call."""

    type: Literal["function_call_output"]
    call_id: Annotated[str, Field(max_length=128), _NO_NUL]
    output: Content


def _require_report(kind: Any) -> Any:
    if kind not in _REPORTS:
        raise failure(f"{str(kind)[:50]!r} is not supported here.", _UNSUPPORTED)
    return kind


class ReportItem(Request):
    """An output item that reports what the server did: ignored in an input."""

    type: Annotated[
        Literal["reasoning", "mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response"],
        BeforeValidator(_require_report),
    ]


class CompactionItem(Request):
    """An output item of an earlier response: it stands for all items before it, except the user's last message."""

    type: Literal["compaction"]
    encrypted_content: Text


def _item_tag(value: Any) -> str:
    kind = _type_of(value) or "message"
    return kind if kind in ("message", "function_call", "function_call_output", "compaction") else "report"


InputItem = Annotated[
    Annotated[MessageItem, Tag("<message>")]
    | Annotated[FunctionCallItem, Tag("<function_call>")]
    | Annotated[FunctionCallOutputItem, Tag("<function_call_output>")]
    | Annotated[CompactionItem, Tag("<compaction>")]
    | Annotated[ReportItem, Tag("<report>")],
    _tagged(_item_tag),
]


class ConversationReference(Request):
    """A conversation by its id."""

    id: Text | None = None


class Reasoning(Request):
    """How the model reasons."""

    effort: _Effort | None = None


class TextOptions(Request):
    """Options of the answer's text."""

    format: Annotated[
        ResponseFormat | None,
        BeforeValidator(_absent_if_empty),
        Field(description="The format of the model's answers."),
    ] = None


class ContextManagement(Request):
    """When to summarize the conversation: from so many tokens on, if not earlier."""

    type: Literal["compaction"]
    compact_threshold: Annotated[int, Field(ge=1000, le=2**31 - 1)] | None = None


class ResponseRequest(AgentRequest):
    """Other fields of the API are accepted and ignored."""

    input: Annotated[
        Annotated[Text, Tag("<text>")] | Annotated[list[InputItem], Field(fail_fast=True), Tag("<items>")],
        _tagged(lambda value: "items" if isinstance(value, list) else "text"),
        Field(description="A message of the user, or items that end with one, or with results of calls."),
    ]
    instructions: _ShortText | None = None
    previous_response_id: Annotated[str, Field(max_length=1024), _NO_NUL] | None = None
    conversation: (
        Annotated[
            Annotated[Text, Tag("<id>")] | Annotated[ConversationReference, Tag("<object>")],
            _tagged(lambda value: "object" if isinstance(value, dict) else "id"),
        ]
        | None
    ) = None
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64), _NO_NUL], Annotated[str, Field(max_length=512), _NO_NUL]],
            Field(max_length=_MOST_ENTRIES, description="`session_id` names a session, as `X-Session-Id` does."),
            BeforeValidator(_limit_entries),
        ]
        | None
    ) = None
    max_output_tokens: _Limit = None
    reasoning: Reasoning | None = None
    text: TextOptions | None = None
    context_management: Annotated[list[ContextManagement], Field(max_length=1)] | None = None
    background: bool | None = None
    store: bool | None = None
