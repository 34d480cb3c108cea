"""/v1/providers: where models are, and their keys."""

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from agents_app.models import Agent, Provider

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("admin_user")]

JSON = "application/json"
LAB = {
    "name": "lab",
    "base_url": "http://lab:8080/v1",
    "api_key": "sk-very-secret",
    "headers": {"X-Team": "a"},
}


def create(client, **body):
    return client.post("/v1/providers", body, content_type=JSON)


@pytest.mark.both
def test_a_key_is_written_and_never_read(client):
    response = create(client, **LAB)
    assert response.status_code == 201
    assert response.json()["has_api_key"] is True
    answers = [
        response,
        client.get("/v1/providers/lab"),
        client.get("/v1/providers"),
        client.patch("/v1/providers/lab", {"api_key": "sk-other-secret"}, content_type=JSON),
    ]
    for answer in answers:
        assert answer.status_code in (200, 201)
        assert b"secret" not in answer.content
        assert b'"api_key"' not in answer.content
    assert Provider.objects.get().api_key == "sk-other-secret"


@pytest.mark.both
def test_a_key_is_kept_until_it_is_removed(client):
    create(client, **LAB)
    without = {key: value for key, value in LAB.items() if key != "api_key"}
    assert client.put("/v1/providers/lab", without, content_type=JSON).json()["has_api_key"] is True
    assert client.patch("/v1/providers/lab", {"api_key": ""}, content_type=JSON).json()["has_api_key"] is False


def test_a_key_may_come_from_the_environment(client, monkeypatch):
    monkeypatch.setenv("LAB_KEY", "sk-environment")
    create(client, name="lab", base_url="http://lab/v1", api_key_env="LAB_KEY")
    assert client.get("/v1/providers/lab").json()["has_api_key"] is True


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "x"}, "base_url"),
        ({"name": "x", "base_url": "no address"}, "base_url"),
        ({"name": "x", "base_url": "ftp://lab/v1"}, "base_url"),
        ({"name": "x", "base_url": "http://user:password@lab/v1"}, "base_url"),
        ({"name": "x", "base_url": "http://[::1"}, "base_url"),
        ({"name": "x", "base_url": "http://lab:99999/v1"}, "base_url"),
        ({"name": "x", "base_url": "http://lab/\nv1"}, "base_url"),
        ({"name": "x", "base_url": "http:///v1"}, "base_url"),
        ({"name": "x", "kind": "local", "base_url": "http://lab/v1"}, "base_url"),
        ({"name": "x", "kind": "telepathy"}, "kind"),
        ({"name": "x", "kind": ["openai"]}, "kind"),
        (LAB | {"headers": {"X-Team": 7}}, "headers.X-Team"),
        (LAB | {"headers": {"X Team": "a"}}, "headers"),
        (LAB | {"headers": {"X-Team": "a\r\nX-Other: b"}}, "headers"),
        (LAB | {"headers": {"X-Team": "ünicode"}}, "headers"),
        (LAB | {"headers": "X-Team: a"}, "headers"),
        (LAB | {"api_key": "line\nbreak"}, "api_key"),
        (LAB | {"api_key": None}, "api_key"),
        (LAB | {"context_tokens": 1}, "context_tokens"),
        (LAB | {"has_api_kye": True}, "has_api_kye"),
    ],
)
def test_a_wrong_field_is_named(client, body, param):
    response = create(client, **body)
    assert response.status_code == 400, response.content
    assert response.json()["error"]["param"] == param
    assert not Provider.objects.exists()


@pytest.mark.parametrize("url", ["http://ollama:11434/v1", "https://api.openai.com/v1", "http://[::1]:8080/v1"])
def test_hosts_of_one_word_and_of_numbers_are_addresses(client, url):
    assert create(client, name="x", base_url=url).status_code == 201


def test_anthropic_needs_no_address(client):
    assert create(client, name="x", kind="anthropic").status_code == 201


@pytest.mark.both
def test_a_provider_that_agents_use_stays(client):
    create(client, **LAB)
    Agent.objects.create(name="helper", provider=Provider.objects.get())
    response = client.delete("/v1/providers/lab")
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "in_use"
    assert "helper" in response.json()["error"]["message"]
    Agent.objects.all().delete()
    assert client.delete("/v1/providers/lab").status_code == 204


class Handler(BaseHTTPRequestHandler):
    """A server of models that answers as its path says."""

    def do_GET(self):
        answers = {
            "/good/models": (200, json.dumps({"data": [{"id": "m-1"}, {"id": "m-2"}]})),
            "/page/models": (200, "<html>Welcome</html>"),
            "/odd/models": (200, '{"data": {"m-1": 1}}'),
            "/locked/models": (401, "{}"),
        }
        status, body = answers.get(self.path, (404, "{}"))
        if self.headers["Authorization"] != "Bearer sk-lab":
            status = 401
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as result:
        threading.Thread(target=result.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{result.server_address[1]}"
        result.shutdown()


def check(client, base_url):
    create(client, name="lab", base_url=base_url, api_key="sk-lab")
    response = client.post("/v1/providers/lab/check")
    assert response.status_code == 200
    return response.json()


def test_a_check_lists_the_models(client, server):
    answer = check(client, f"{server}/good/")
    assert (answer["ok"], answer["models"]) == (True, ["m-1", "m-2"])


@pytest.mark.parametrize(
    ("path", "word"), [("page", "base_url"), ("odd", "base_url"), ("locked", "key"), ("nothing", "404")]
)
def test_a_check_says_what_is_wrong(client, server, path, word):
    answer = check(client, f"{server}/{path}")
    assert answer["ok"] is False
    assert word in answer["message"]
    assert "sk-lab" not in str(answer)


def test_a_check_of_a_server_that_is_not_there_is_an_answer(client):
    answer = check(client, "http://127.0.0.1:9/v1")
    assert answer["ok"] is False
    assert "cannot be reached" in answer["message"]


def test_a_check_of_the_local_provider_looks_for_its_file(client, tmp_path, monkeypatch):
    create(client, name="local", kind="local")
    monkeypatch.setenv("LOCAL_MODEL_PATH", str(tmp_path / "tiny.gguf"))
    assert client.post("/v1/providers/local/check").json()["ok"] is False
    (tmp_path / "tiny.gguf").touch()
    assert client.post("/v1/providers/local/check").json()["models"] == ["tiny"]
