"""Clients that join addresses carelessly, replay what they got, or mix up the two APIs."""

import http.client
import json

import pytest

from tests.harness.wait import until

CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "x"}


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/chat/completions/", "/v1//chat/completions", "/v1/chat//completions//",
     "http://HOST/v1/chat/completions"],
)  # fmt: skip
def test_an_address_that_is_clear_is_served(product, agent, path):
    who = agent([{"text": "Hello."}])
    connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=60)
    headers = {"Content-Type": "application/json"}
    body = json.dumps(CHAT | {"model": who})
    connection.request("POST", path.replace("HOST", f"127.0.0.1:{product.port}"), body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status == 200, text
    assert json.loads(text)["choices"][0]["message"]["content"] == "Hello."


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/chat/completions", "/v1/chat/completions"),
        ("/api/v1/responses/", "/v1/responses"),
        ("/v1/completions", "/v1/chat/completions"),
        ("/models", "/v1/models"),
        ("/v1/mcp", "/mcp"),
        ("/v1/embeddings", ""),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_address_is_answered_in_json_that_names_the_right_one(client, settings, debug, path, right, method):
    settings.DEBUG = debug
    answer = client.generic(method, path, "{}", content_type="application/json", headers={"Accept": "*/*"})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "not_found"
    assert error["message"].startswith(f"Not found: {path.rstrip('/') if path.startswith('/v1/') else path}.")
    assert (f" {right}" in error["message"]) if right else error["message"].endswith("/v1/embeddings.")


def test_two_slashes_before_an_address_are_no_other_address(product):
    """A proxy may have rules for /v1/."""
    status, answer = product.request("POST", "//v1/chat/completions", CHAT)
    assert (status, answer["error"]["message"].partition(". ")[2][:24]) == (404, "Use /v1/chat/completions")


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/chat/completions", {"input": "Hello"},
         "'messages' is missing: a request with 'input' belongs to /v1/responses."),
        ("/v1/responses", CHAT, "'input' is missing: a request with 'messages' belongs to /v1/chat/completions."),
    ],
)  # fmt: skip
def test_a_request_of_the_other_api_is_told_where_it_belongs(product, path, body, message):
    status, answer = product.request("POST", path, body | {"model": "x"})
    assert (status, answer["error"]["message"]) == (400, message)


def test_replayed_messages_are_taken_as_they_come(product, agent, model):
    who = agent([{"text": "Again."}])
    messages = [
        {"role": "assistant", "content": "Hello, I am Bob."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "First."}]},
        {"role": "user", "content": "More"},
        {"role": "assistant", "content": [{"type": "reasoning", "text": "Hm."}]},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "Once more"},
    ]
    status, answer = product.request("POST", "/v1/chat/completions", {"model": who, "messages": messages})
    assert status == 200, answer
    sent = [(message["role"], message["content"]) for message in model.requests(who)[0]["messages"]]
    assert [message for message in sent if message[0] != "system"] == [
        ("assistant", "Hello, I am Bob."),
        ("user", "Hi"),
        ("assistant", "First."),
        ("user", "More"),
        ("user", "Once more"),
    ]


def test_a_page_whose_proxy_replaces_host_is_explained_once(product):
    origin = "https://our.example"
    for _ in range(2):
        status, answer = product.request("POST", "/v1/chat/completions", CHAT, Origin=origin)
        assert (status, answer["error"]["code"]) == (403, "foreign_origin")
    until(lambda: origin in product.logged())
    assert product.logged().count(f"Requests from pages of '{origin}' are rejected") == 1
    assert "proxy_set_header Host $http_host" in product.logged()
