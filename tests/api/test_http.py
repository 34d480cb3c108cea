"""The manners of every endpoint: one error shape, JSON only, our origins only."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from rest_framework.test import APIRequestFactory, force_authenticate

from agents_app.access import origins
from agents_app.api.documents import Document
from agents_app.api.views.agents import AgentViewSet
from agents_app.api.views.providers import ProviderViewSet
from agents_app.models import Agent
from agents_app.server import health
from agents_app.server.middleware import OriginMiddleware

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("admin_user")]

JSON = "application/json"


def send(client, body, content_type=JSON, **options):
    return client.generic("POST", "/v1/agents", body, content_type=content_type, **options)


def error_of(response, status, code=None):
    assert response.status_code == status, response.content
    body = response.json()
    assert set(body) == {"error"}
    assert {"message", "type", "param", "code"} <= set(body["error"])
    assert code in (None, body["error"]["code"])
    return body["error"]


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"name": NaN}',
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"name": "a",}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"name": "\x00"}',
        b"\xef\xbb\xbf{}",
        b" ",
    ],
)
def test_what_is_not_json_is_a_400(client, body):
    error = error_of(send(client, body), 400, "invalid_json")
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"7", b"null", b"true"])
def test_a_body_that_is_no_object_is_a_400(client, body):
    error_of(send(client, body), 400)


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "a;b"],
)
def test_only_json_is_taken(client, content_type):
    error = error_of(send(client, b'{"name": "helper"}', content_type), 415, "unsupported_media_type")
    assert "application/json" in error["message"]
    assert not Agent.objects.exists()


def test_json_may_name_its_charset(client):
    assert send(client, b'{"name": "helper"}', "Application/JSON; charset=utf-8").status_code == 201


def test_a_body_over_the_limit_is_a_413(client):
    body = json.dumps({"name": "helper", "description": "d" * 1024 * 1024}).encode()
    error_of(send(client, body), 413, "request_too_large")
    error_of(send(client, body, CONTENT_LENGTH="12"), 400)


def test_a_body_just_under_the_limit_is_taken(client):
    body = json.dumps({"name": "helper", "description": "d" * (1024 * 1024 - 100)}).encode()
    assert send(client, body).status_code == 201


def test_a_chunked_body_is_read():
    def post(body):
        headers = [
            (b"host", b"testserver"),
            (b"content-type", b"application/json"),
            (b"transfer-encoding", b"chunked"),
        ]
        scope = {"type": "http", "method": "POST", "path": "/v1/agents", "headers": headers}
        answer = OriginMiddleware(AgentViewSet.as_view({"post": "create"}, basename="agent"))
        return answer(ASGIRequest(scope, BytesIO(body)))

    assert post(b'{"name": "helper"}').status_code == 201
    assert post(b" " * (1024 * 1024 + 1)).status_code == 413


# Methods, paths and headers


def test_a_trailing_slash_is_accepted(client):
    assert client.post("/v1/agents/", {"name": "helper"}, content_type=JSON).status_code == 201
    assert client.get("/v1/agents/helper/").status_code == 200
    assert client.get("/v1/agents/helper//").json() == client.get("/v1/agents/helper").json()


def test_head_has_no_body_but_its_length(client):
    middleware = OriginMiddleware(lambda request: HttpResponse(b"x" * 100_000))
    response = middleware(RequestFactory().head("/v1/schema"))
    assert (response.content, response.headers["Content-Length"]) == (b"", "100000")
    assert client.head("/v1/agents").headers["Content-Length"] == str(len(client.get("/v1/agents").content))


def test_a_wrong_method_is_a_405(client):
    response = client.put("/v1/agents", {}, content_type=JSON)
    error_of(response, 405, "method_not_allowed")
    assert "GET" in response.headers["Allow"]
    error_of(client.delete("/v1/info"), 405)
    error_of(client.options("/v1/agents"), 405)


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1", "/v1/", "/nothing", "/v1/agents/a/b/c", "/v1/%ff", "/%00"])
def test_an_unknown_path_is_a_404_in_our_shape(client, path):
    error_of(client.get(path), 404, "not_found")


def test_people_get_pages(client):
    response = client.get("/nothing", headers={"Accept": "text/html"})
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


def test_whatever_is_accepted_the_answer_is_json(client):
    for accept in ("text/html", "application/xml", "nonsense", "image/*;q=0.1"):
        response = client.get("/v1/agents", headers={"Accept": accept})
        assert (response.status_code, response.headers["Content-Type"]) == (200, JSON)
        assert client.get("/v1/schema", headers={"Accept": accept}).status_code == 200


def test_every_answer_has_a_request_id(client):
    values = client.get("/v1/agents", headers={"X-Request-Id": "mine-7"})
    assert values.headers["x-request-id"] == "mine-7"
    made = {client.get("/v1/nothing", headers={"X-Request-Id": "a\tb"}).headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2
    assert client.get("/healthz").headers["x-request-id"]


# Origins and hosts


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://testserver.evil.example", "file://"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "BREW"])
def test_a_foreign_page_may_change_nothing(client, origin, method):
    response = client.generic(method, "/v1/agents", b"{}", content_type=JSON, headers={"Origin": origin})
    assert error_of(response, 403, "foreign_origin")["type"] == "permission_error"


@pytest.mark.parametrize("origin", ["http://testserver", "https://testserver", "HTTP://TestServer"])
def test_our_own_pages_may(client, origin):
    headers = {"Origin": origin}
    assert client.post("/v1/agents", {"name": "a"}, content_type=JSON, headers=headers).status_code == 201


def test_pages_that_the_operator_named_may(client, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example"]
    headers = {"Origin": "https://app.example"}
    response = client.post("/v1/agents", {"name": "a"}, content_type=JSON, headers=headers)
    assert response.status_code == 201
    assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Origin" in response.headers["Vary"]


def test_a_browser_that_asks_first_learns_who_may(client, settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example"]
    asking = {"Access-Control-Request-Method": "POST"}
    ours = client.options("/v1/agents", headers=asking | {"Origin": "https://app.example"})
    assert ours.status_code == 204
    assert "POST" in ours.headers["Access-Control-Allow-Methods"]
    foreign = client.options("/v1/agents", headers=asking | {"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in foreign.headers


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "a b", "", "[::1", "127.0.0.1@evil"])
def test_a_foreign_host_is_refused(client, host):
    error_of(client.get("/v1/agents", headers={"Host": host}), 400, "host_not_allowed")


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "localhost", True),
        ("http://localhost:8000", "localhost:8000", True),
        ("http://localhost", "localhost:8000", False),
        ("https://localhost", "localhost:443", True),
        ("http://localhost", "localhost:443", False),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("ws://localhost", "localhost", False),
        ("http://localhost/", "localhost", False),
        ("http://a, http://localhost", "localhost", False),
        ("http://", "", False),
        ("null", "localhost", False),
    ],
)
def test_whose_origin_is_ours(origin, host, allowed):
    assert origins.origin_allowed(origin, host) is allowed


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:1", True),
        ("127.0.0.1:8000", True),
        ("[::1]:80", True),
        ("evil", False),
        ("", False),
    ],
)
def test_whose_host_is_ours(host, allowed):
    assert origins.host_allowed(host) is allowed


# Who is calling


def test_without_an_administrator_the_open_mode_says_what_to_do(client, admin_user):
    admin_user.delete()
    error = error_of(client.get("/v1/agents"), 500, "no_administrator")
    assert "createsuperuser" in error["message"]


def test_with_sign_in_nobody_is_known_yet(client, settings):
    settings.AUTH_REQUIRED = True
    response = client.get("/v1/agents")
    assert error_of(response, 401)["type"] == "authentication_error"
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert client.get("/").status_code == client.get("/v1/info").status_code == 200


def test_providers_are_for_administrators(client, admin_user):
    admin_user.is_superuser = False
    request = APIRequestFactory().get("/v1/providers")
    force_authenticate(request, user=admin_user)
    response = ProviderViewSet.as_view({"get": "list"})(request)
    assert (response.status_code, response.data["error"]["type"]) == (403, "permission_error")


# Failures


def test_a_database_that_refuses_is_a_503_without_details(client, caplog):
    def refuse(execute, sql, params, many, context):
        if "agents_app_agent" in sql:
            raise OperationalError("database or disk is full: /secret/path")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        response = client.get("/v1/agents")
    error = error_of(response, 503)
    assert error["type"] == "overloaded_error"
    assert response.headers["Retry-After"] == "1"
    assert b"secret" not in response.content
    assert "disk is full" in caplog.text


def test_a_bug_is_a_500_without_details(admin_user):
    def break_(execute, sql, params, many, context):
        if "agents_app_agent" in sql:
            raise ZeroDivisionError("secret")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(break_):
        response = Client(raise_request_exception=False).get("/v1/agents")
    assert error_of(response, 500)["type"] == "server_error"
    assert b"secret" not in response.content


# The server about itself


def test_the_root_tells_programs_what_there_is(client, settings):
    root = client.get("/").json()
    assert root["name"] == "AInTandem Agent MCP Scheduler"
    assert (root["version"], root["status"]) == (settings.VERSION, "running")
    assert root["endpoints"]["chat_completions"] == "/v1/chat/completions"
    assert root["endpoints"]["agents"] == "/v1/agents"
    assert root["endpoints"]["tasks"] == "/v1/tasks"
    assert root["endpoints"]["websocket"] == "/ws/chat/{session_id}"


def test_the_root_leads_browsers_to_the_chat(client):
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
    response = client.get("/", headers={"Accept": browser})
    assert (response.status_code, response.headers["Location"]) == (302, "/chat/")
    assert client.get("/", headers={"Accept": "*/*"}).status_code == 200
    assert client.get("/", headers={"Accept": "application/json, text/html"}).status_code == 200


def test_info_says_what_this_version_can_do(client):
    info = client.get("/v1/info").json()
    assert info["protocol"] == 1
    assert info["capabilities"]["chat"] is True


@pytest.mark.parametrize("path", ["/healthz", "/health", "/health/"])
def test_being_alive_asks_for_nothing(path, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = Client(raise_request_exception=False).get(path, headers={"Host": "10.0.0.7:8000"})
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_readiness_has_a_line_for_each_check(client):
    response = client.get("/readyz", headers={"Host": "10.0.0.7"})
    checks = response.json()["checks"]
    assert set(checks) == {
        "database", "migrations", "channel_layer", "worker", "disk", "configuration", "draining"
    }  # fmt: skip
    assert checks["database"] == checks["migrations"] == checks["channel_layer"] == checks["draining"] == "ok"
    assert checks["worker"].startswith("No worker")
    assert (response.status_code, response.json()["status"]) == (503, "unavailable")


def test_readiness_says_that_the_database_is_gone(client):
    def refuse(execute, sql, params, many, context):
        raise OperationalError("gone")

    with connection.execute_wrapper(refuse):
        response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["database"] == "The database does not answer."


def test_probes_answer_on_the_event_loop_too():
    async def ask():
        return [(await AsyncClient().get(path)).status_code for path in health.PROBES]

    assert async_to_sync(ask)() == [200, 200, 503]


# OpenAPI


def test_the_api_describes_itself(client):
    schema = client.get("/v1/schema").json()
    assert schema["openapi"] == "3.1.0"
    validate_schema(schema)
    assert {
        "/v1/agents",
        "/v1/agents/{name}/runs",
        "/v1/runs/{id}/cancel",
        "/v1/sessions/{id}/events",
    } <= set(schema["paths"])


def test_each_operation_says_what_it_alone_does(client):
    operations = [
        (operation["summary"], f"{verb} {path}")
        for path, verbs in client.get("/v1/schema").json()["paths"].items()
        for verb, operation in verbs.items()
    ]
    summaries = [summary for summary, _ in operations]
    assert [each for each in operations if not each[0] or summaries.count(each[0]) > 1] == []
    assert {("List actions.", "get /v1/actions"), ("Change an agent.", "patch /v1/agents/{name}")} <= set(operations)


def test_a_description_is_made_once_however_many_ask():
    together, made = threading.Barrier(8), []
    document = Document(lambda: made.append(1) or SchemaGenerator().get_schema(request=None, public=True), JSON)

    def ask(_: int) -> HttpResponse:
        together.wait()
        return document.response(RequestFactory().get("/v1/schema"))

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    assert len(made) == 1
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize("path", ["/v1/schema", "/v1/schema/frames"])
def test_a_client_that_has_a_description_does_not_get_it_again(client, path, monkeypatch):
    first = client.get(path)
    monkeypatch.setattr(SchemaGenerator, "get_schema", None)  # it would cost a tenth of a second of computing each time
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert client.get(path, headers={"If-None-Match": '"another"'}).content == first.content


def test_nothing_in_the_description_had_to_be_guessed(capsys):
    SchemaGenerator().get_schema(request=None, public=True)
    assert capsys.readouterr().err == ""
