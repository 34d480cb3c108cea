"""The typed models of requests: what they accept, and how they reject."""

import time

import pytest
from pydantic.json_schema import models_json_schema

from agents_app.exceptions import InvalidRequest
from chat_app.openai_api.requests import ChatCompletionRequest, ResponseRequest
from chat_app.openai_api.validation import built, parse

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = {"model": "writer", "messages": HELLO}
RESPONSE = {"model": "writer", "input": "Hello"}
MODELS = [(ChatCompletionRequest, CHAT), (ResponseRequest, RESPONSE)]


@pytest.mark.parametrize(("model", "body"), MODELS)
def test_unknown_fields_are_accepted_and_null_is_the_same_as_nothing(model, body):
    optional = dict.fromkeys(model.model_fields.keys() - body.keys())

    assert parse(model, body | optional | {"logit_bias": {}, "seed": 7, "service_tier": "flex"}) == parse(model, body)


@pytest.mark.parametrize(
    ("model", "body", "message"),
    [
        (ChatCompletionRequest, [], "'body' must be an object."),
        (ChatCompletionRequest, CHAT | {"model": ""}, "'model' must not be empty."),
        (ChatCompletionRequest, CHAT | {"top_p": 1.5}, "'top_p' must be 1 or less."),
        (ChatCompletionRequest, CHAT | {"max_tokens": 0}, "'max_tokens' must be 1 or more."),
        (ChatCompletionRequest, CHAT | {"max_tokens": -2}, "'max_tokens' must be 1 or more."),
        (ChatCompletionRequest, CHAT | {"max_tokens": True}, "'max_tokens' must be a whole number."),
        (ChatCompletionRequest, CHAT | {"max_tokens": 2**40}, "'max_tokens' must be 2,147,483,647 or less."),
        (ChatCompletionRequest, CHAT | {"messages": [None]}, "'messages[0]' must be an object."),
        (ResponseRequest, RESPONSE | {"metadata": {"k" * 65: "v"}}, "'metadata' is longer than 64 characters."),
        (
            ResponseRequest,
            RESPONSE | {"metadata": {"k": "v" * 513}},
            "'metadata.k' is longer than 512 characters.",
        ),
    ],
)
def test_a_rejection_is_one_sentence_about_one_field(model, body, message):
    with pytest.raises(InvalidRequest) as caught:
        parse(model, body)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("model", "body", "field"),
    [
        (ChatCompletionRequest, CHAT, "max_tokens"),
        (ChatCompletionRequest, CHAT, "max_completion_tokens"),
        (ResponseRequest, RESPONSE, "max_output_tokens"),
    ],
)
def test_a_limit_of_minus_one_is_none(model, body, field):
    assert parse(model, body | {field: -1}) == parse(model, body)


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (ChatCompletionRequest, CHAT | {"messages": [1] * 500_000}),
        (ChatCompletionRequest, CHAT | {"stop": [1] * 500_000}),
        (ResponseRequest, RESPONSE | {"input": [1] * 500_000}),
        (ResponseRequest, RESPONSE | {"metadata": dict.fromkeys(map(str, range(100_000)), 1)}),
    ],
)
def test_a_long_body_of_errors_costs_no_more_than_its_first(model, body):
    begin = time.thread_time()
    with pytest.raises(InvalidRequest):
        parse(model, body)

    assert time.thread_time() - begin < 0.5, "all of them take seconds"


def test_the_schemas_of_all_parts_are_published():
    _, schemas = models_json_schema([(built(model), "validation") for model, _ in MODELS])

    assert {"ChatMessage", "ChatToolMessage", "ContentPart", "FunctionCallOutputItem"} <= schemas["$defs"].keys()
