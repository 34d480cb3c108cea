"""The parameters of a request that replace the agent's own."""

from typing import Any

from chat_app.openai_api.requests import (
    AgentRequest,
    ChatCompletionRequest,
    ChatJSONSchemaFormat,
    JSONSchema,
    PlainFormat,
    ResponseJSONSchemaFormat,
    ResponseRequest,
)

Parameters = dict[str, Any]


def of_chat(request: ChatCompletionRequest) -> Parameters:
    """Return the parameters of a chat completion."""
    answer = request.response_format
    return _parameters(
        request,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        reasoning_effort=request.reasoning_effort,
        response_format=_schema(answer.json_schema) if isinstance(answer, ChatJSONSchemaFormat) else _plain(answer),
    )


def of_response(request: ResponseRequest) -> Parameters:
    """Return the parameters of a response."""
    answer = request.text.format if request.text else None
    return _parameters(
        request,
        max_tokens=request.max_output_tokens,
        reasoning_effort=request.reasoning.effort if request.reasoning else None,
        response_format=_schema(answer) if isinstance(answer, ResponseJSONSchemaFormat) else _plain(answer),
    )


def _parameters(request: AgentRequest, **more: Any) -> Parameters:
    stop = [request.stop] if isinstance(request.stop, str) else request.stop
    parameters = {"temperature": request.temperature, "top_p": request.top_p, "stop": stop or None, **more}
    return {name: value for name, value in parameters.items() if value is not None}


def _plain(answer: PlainFormat | None) -> Parameters | None:
    return None if answer is None or answer.type == "text" else {"type": answer.type}


def _schema(schema: JSONSchema) -> Parameters:
    """Return the format as chat completions write it."""
    options = {
        "name": schema.name,
        "description": schema.description or None,
        "schema": schema.schema_,
        "strict": schema.strict,
    }
    return {"type": "json_schema", "json_schema": {name: v for name, v in options.items() if v is not None}}
