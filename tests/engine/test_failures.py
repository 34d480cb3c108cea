"""What servers say of a failure, in all their forms: its reason, its code, and whether to ask again."""

import json

import pytest

from agents_app.engine.providers import failures
from agents_app.exceptions import ModelUnavailable

TOO_LONG = [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    "Please reduce the length of the messages or completion.",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "the request exceeds the available context size, try increasing it",
    "Trying to keep the first 4096 tokens when context the overflows. However, the model is loaded with context length",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
    "input length exceeds maximum context length",
    "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
    "Input is too long for requested model.",
    "too many tokens: the limit is 4096",
]
FORMS = {
    "OpenAI": lambda text: {"error": {"message": text, "type": "invalid_request_error", "code": None}},
    "vLLM": lambda text: {"object": "error", "message": text, "type": "BadRequestError", "code": 400},
    "Gemini": lambda text: [{"error": {"code": 400, "message": text, "status": "INVALID_ARGUMENT"}}],
    "text": lambda text: {"error": text},
    "FastAPI": lambda text: {"detail": text},
    "FastAPI, a list": lambda text: {"detail": [{"loc": ["body"], "msg": text, "type": "value_error"}]},
    "message": lambda text: {"message": text},
    "msg": lambda text: {"code": 400, "msg": text},
    "nested": lambda text: {"error": {"error": {"message": text}, "code": 400}},
    "JSON in a text": lambda text: {"error": {"message": json.dumps({"error": {"message": text}}), "code": 400}},
    "a list of errors": lambda text: {"errors": [{"message": text}]},
    "OpenRouter": lambda text: {
        "error": {
            "code": 400,
            "message": "Provider returned error",
            "metadata": {"raw": json.dumps({"error": {"message": text}})},
        }
    },
    "a bare text": lambda text: text,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", ["No such thing.", TOO_LONG[0]])
def test_the_reason_is_read_in_any_form_and_place(form, text):
    body = FORMS[form](text)
    for error in (failures.of_status(400, body), failures.of_status(400, json.dumps(body)), failures.in_stream(body)):
        assert text in str(error)
        assert (error.code == "context_length_exceeded") == (text == TOO_LONG[0])


@pytest.mark.parametrize("text", TOO_LONG)
def test_too_long_is_understood_in_any_wording(text):
    for status in (400, 422, 500):
        assert failures.of_status(status, {"error": {"message": text}}).code == "context_length_exceeded"
    assert failures.in_stream({"error": {"message": text}}).code == "context_length_exceeded"


@pytest.mark.parametrize(
    "text", ["max_tokens is too large: 100000. This model supports at most 16384 completion tokens.", "Bad context."]
)
def test_other_limits_are_not_the_contexts(text):
    assert failures.of_status(400, {"error": {"message": text}}).code == "model_refused"


@pytest.mark.parametrize(
    ("status", "body", "code", "is_retried"),
    [
        (401, {"error": {"message": "No such key"}}, "model_key_refused", False),
        (402, {"error": {"message": "Pay."}}, "model_refused", False),
        (403, {"error": {"message": "Not in your country"}}, "model_key_refused", False),
        (404, {"error": {"message": "No such model"}}, "model_refused", False),
        (408, {}, "model_unavailable", True),
        (413, "<html><title>413 Request Entity Too Large</title></html>", "context_length_exceeded", False),
        (429, {"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}, "model_rate_limited", True),
        (429, {"error": {"message": "Tokens per minute: too many tokens"}}, "model_rate_limited", True),
        (429, {"error": {"message": "Pay!", "code": "insufficient_quota"}}, "model_refused", False),
        (500, {}, "model_unavailable", True),
        (501, {"message": "Not implemented"}, "model_refused", False),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Full"}}, "model_unavailable", True),
    ],
)
def test_a_request_that_cannot_succeed_is_not_repeated(status, body, code, is_retried):
    error = failures.of_status(status, body)
    assert (error.code, isinstance(error, ModelUnavailable)) == (code, is_retried)


@pytest.mark.parametrize(
    ("error", "code", "is_retried"),
    [
        ({"type": "overloaded_error", "message": "Full"}, "model_unavailable", True),
        ({"type": "rate_limit_error", "message": "Slow"}, "model_rate_limited", True),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Slow"}, "model_rate_limited", True),
        ({"code": "503", "message": "Full"}, "model_unavailable", True),
        ({"type": "authentication_error", "message": "Key"}, "model_key_refused", False),
        ({"type": "not_found_error", "message": "Gone"}, "model_error", False),
        ({"code": 404, "message": "Gone"}, "model_error", False),
    ],
)
def test_an_error_in_the_stream_is_read_as_one_of_http(error, code, is_retried):
    failure = failures.in_stream({"error": error})
    assert (failure.code, isinstance(failure, ModelUnavailable)) == (code, is_retried)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "21s"}]}, 21),
        ({"details": [{"retryDelay": {"seconds": 3}}]}, 3),
        ({"retry_after": 2.5}, 2.5),
        ({"message": "Please try again in 6.5s. Visit us."}, 6.5),
        ({"message": "Please retry in 250ms."}, 0.25),
        ({"message": "Please try again in 6m0s."}, 360),
        ({"message": "Please try again later."}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": float("inf")}, None),
    ],
)
def test_the_wait_is_read_from_the_body(error, seconds):
    for failure in (failures.of_status(429, {"error": error}), failures.in_stream({"error": error | {"code": 429}})):
        assert isinstance(failure, ModelUnavailable)
        assert failure.retry_after == seconds
    failure = failures.of_status(429, {"error": error}, 1.0)
    assert isinstance(failure, ModelUnavailable)
    assert failure.retry_after == 1.0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<html><head><title>502 Bad &amp; Gateway</title></head></html>", "502 Bad & Gateway"),
        ("<!DOCTYPE html><p>x</p>", "no reason stated"),
        ("", "no reason stated"),
        (None, "no reason stated"),
        ([7], "no reason stated"),
        ({"error": {"message": ["odd"], "type": 7}}, "no reason stated"),
        ({"detail": [{"loc": ["body", "stop", 0], "msg": "no text"}]}, "stop.0: no text"),
    ],
)
def test_foreign_forms_have_a_reason_too(body, reason):
    assert failures.parse(body).reason == reason


def test_the_reason_of_a_refused_key_may_have_the_key_and_is_left_out():
    body = {"error": {"message": "Incorrect API key provided: sk-pr****wxyz. See us."}}
    assert str(failures.of_status(401, body)) == "The model's server refused the API key."
    assert "Not in your country" in str(failures.of_status(403, {"message": "Not in your country"}))


def test_deep_and_wide_bodies_are_read_in_no_time():
    deep: dict = {}
    for _ in range(500):
        deep = {"error": deep, "message": ""}
    assert failures.parse(deep).reason == "no reason stated"
    assert failures.parse({"error": [{"message": "x" * 100_000}] * 10_000}).reason.startswith("xxx")
