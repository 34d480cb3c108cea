"""/v1/mcp-servers: where tools come from."""

import pytest
from django.db import connection
from rest_framework.test import APIRequestFactory, force_authenticate

from agents_app.api.views.mcp_servers import McpServerViewSet
from agents_app.models import Agent, McpServer
from tests.harness.responses import error_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("admin_user")]

JSON = "application/json"
FILES = {"name": "files", "command": "npx", "args": ["-y", "server-filesystem", "${HOME}"]}
REMOTE = {"name": "remote", "transport": "streamable_http", "url": "https://mcp.example/mcp"}
SECRETS = {"API_KEY": "sk-very-secret", "TOKEN": "${TOKEN}", "PAIR": "${USER:-me}${TOKEN}", "MIXED": "Bearer ${TOKEN}"}
SHOWN = {"API_KEY": "***", "TOKEN": "${TOKEN}", "PAIR": "${USER:-me}${TOKEN}", "MIXED": "***"}


def create(client, **body):
    return client.post("/v1/mcp-servers", body, content_type=JSON)


def change(client, name, /, **body):
    return client.patch(f"/v1/mcp-servers/{name}", body, content_type=JSON)


def call_with(client, server, tool, **arguments):
    path = f"/v1/mcp-servers/{server}/tools/{tool}/call"
    return client.post(path, {"arguments": arguments}, content_type=JSON)


def test_a_name_and_a_command_are_all_that_a_server_needs(client):
    response = create(client, name="files", command="npx")
    assert response.status_code == 201
    assert response.headers["Location"] == "http://testserver/v1/mcp-servers/files"
    server = response.json()
    assert (server["transport"], server["enabled"], server["timeout"]) == ("stdio", True, 60)
    assert server["args"] == server["allowed_tools"] == server["tool_names"] == []
    assert server["env"] == server["headers"] == server["tool_timeouts"] == {}
    assert server["checked_at"] is server["check_ok"] is None


@pytest.mark.both
@pytest.mark.parametrize(
    "sent",
    [
        FILES
        | {
            "description": "Files of a folder.",
            "env": {"HOME": "${HOME}"},
            "timeout": 30,
            "tool_timeouts": {"search": 120, "read": 0.5},
            "allowed_tools": ["read_*", "search"],
            "denied_tools": ["read_secret"],
            "max_memory_mb": None,
            "max_cpu_seconds": 60,
            "max_processes": 32,
            "max_open_files": 64,
            "enabled": False,
        },
        REMOTE | {"headers": {"Authorization": "${TOKEN}"}},
        REMOTE | {"transport": "sse", "url": "${BASE}/sse?key=${KEY}"},
        REMOTE | {"url": "http://${HOST:-localhost}:${PORT:-3001}/mcp"},
    ],
)
def test_a_server_is_answered_as_it_was_sent(client, sent):
    assert create(client, **sent).status_code == 201
    answered = client.get(f"/v1/mcp-servers/{sent['name']}").json()
    assert {key: answered[key] for key in sent} == sent


@pytest.mark.both
def test_the_list_is_a_list(client):
    create(client, **FILES)
    create(client, **REMOTE)
    assert [row["name"] for row in client.get("/v1/mcp-servers").json()["data"]] == ["files", "remote"]
    turned = client.get("/v1/mcp-servers?ordering=-name").json()["data"]
    assert [row["name"] for row in turned] == ["remote", "files"]


@pytest.mark.parametrize(("field", "base"), [("env", FILES), ("headers", REMOTE)])
def test_a_secret_is_written_and_never_read(client, field, base):
    secrets = {key.replace("_", "-") if field == "headers" else key: value for key, value in SECRETS.items()}
    shown = {key.replace("_", "-") if field == "headers" else key: value for key, value in SHOWN.items()}
    name = base["name"]
    answers = [
        create(client, **base, **{field: secrets}),
        client.get(f"/v1/mcp-servers/{name}"),
        change(client, name, timeout=5),
        client.put(f"/v1/mcp-servers/{name}", base | {field: shown}, content_type=JSON),
    ]
    for answer in answers:
        assert answer.json()[field] == shown
        assert b"secret" not in answer.content
    assert b"secret" not in client.get("/v1/mcp-servers").content
    assert getattr(McpServer.objects.get(), field) == secrets


@pytest.mark.both
def test_secrets_are_encrypted_at_rest(client):
    create(client, **FILES, env={"API_KEY": "sk-very-secret"})
    with connection.cursor() as cursor:
        cursor.execute("SELECT env, headers FROM agents_app_mcpserver")
        [row] = cursor.fetchall()
    assert "secret" not in str(row) and "API_KEY" not in str(row)


def test_env_is_replaced_whole_and_stars_keep_a_value(client):
    create(client, **FILES, env={"KEPT": "one", "CHANGED": "two", "GONE": "three"})
    answer = change(client, "files", env={"KEPT": "***", "CHANGED": "four", "NEW": "five"})
    assert answer.json()["env"] == {"KEPT": "***", "CHANGED": "***", "NEW": "***"}
    assert McpServer.objects.get().env == {"KEPT": "one", "CHANGED": "four", "NEW": "five"}
    assert change(client, "files", env={}).json()["env"] == {}


def test_stars_keep_nothing_where_nothing_is(client):
    error = error_of(create(client, **FILES, env={"NEW": "***"}), 400)
    assert (error["param"], "'NEW'" in error["message"]) == ("env", True)
    create(client, **REMOTE, headers={"X-Key": "a"})
    assert error_of(change(client, "remote", headers={"X-Kye": "***"}), 400)["param"] == "headers"


@pytest.mark.both
def test_put_resets_missing_fields_but_not_the_result_of_a_check(client):
    create(client, **FILES, env={"API_KEY": "a"}, timeout=5, denied_tools=["*"])
    McpServer.objects.get().record_check(ok=True, message="It answers.", tool_names=["read"])
    server = client.put("/v1/mcp-servers/files", FILES, content_type=JSON).json()
    assert (server["env"], server["timeout"], server["denied_tools"]) == ({}, 60, [])


def test_what_was_read_can_be_sent_back(client):
    create(client, **FILES, env=SECRETS, tool_timeouts={"a": 2})
    McpServer.objects.get().record_check(ok=True, message="It answers.", tool_names=["read"])
    server = client.get("/v1/mcp-servers/files").json()
    again = client.put("/v1/mcp-servers/files", server, content_type=JSON).json()
    assert again | {"updated_at": None} == server | {"updated_at": None}
    assert again["tool_names"] == ["read"]
    assert McpServer.objects.get().env == SECRETS


@pytest.mark.parametrize("changed", [{"command": "uvx"}, {"args": []}, {"env": {"API_KEY": "b"}}])
def test_the_result_of_a_check_is_forgotten_when_the_command_changes(client, changed):
    create(client, **FILES, env={"API_KEY": "a"})
    McpServer.objects.get().record_check(ok=True, message="It answers.", tool_names=["read"])
    assert change(client, "files", timeout=5, env={"API_KEY": "***"}).json()["check_ok"] is True
    server = change(client, "files", **changed).json()
    assert (server["check_ok"], server["checked_at"], server["tool_names"]) == (None, None, [])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": "with space", "command": "npx"}, "name"),
        ({"name": "two__lines", "command": "npx"}, "name"),
        ({"name": "_first", "command": "npx"}, "name"),
        ({"name": "last-", "command": "npx"}, "name"),
        ({"name": "n" * 33, "command": "npx"}, "name"),
        ({"name": "dot.ted", "command": "npx"}, "name"),
        ({"name": "x"}, "command"),
        ({"name": "x", "command": "  "}, "command"),
        ({"name": "x", "command": "npx -y server"}, "command"),
        ({"name": "x", "command": "nul\0"}, "command"),
        ({"name": "x", "transport": "pigeon"}, "transport"),
        (FILES | {"url": "https://mcp.example"}, "url"),
        (FILES | {"headers": {"X-Key": "a"}}, "headers"),
        (FILES | {"args": "-y"}, "args"),
        (FILES | {"args": [7]}, "args.0"),
        (FILES | {"args": ["nul\0"]}, "args.0"),
        (FILES | {"env": {"API_KEY": 7}}, "env.API_KEY"),
        (FILES | {"env": {"API KEY": "a"}}, "env"),
        (FILES | {"env": {"API_KEY": "nul\0"}}, "env.API_KEY"),
        (FILES | {"env": []}, "env"),
        (FILES | {"timeout": 0}, "timeout"),
        (FILES | {"timeout": 86_401}, "timeout"),
        (FILES | {"timeout": "60"}, "timeout"),
        (FILES | {"tool_timeouts": {"a": 0}}, "tool_timeouts"),
        (FILES | {"tool_timeouts": {"a": "1"}}, "tool_timeouts.a"),
        (FILES | {"tool_timeouts": {"nul\0": 1}}, "tool_timeouts"),
        (FILES | {"allowed_tools": "*"}, "allowed_tools"),
        (FILES | {"denied_tools": [""]}, "denied_tools.0"),
        (FILES | {"max_memory_mb": 1}, "max_memory_mb"),
        (FILES | {"max_processes": 0}, "max_processes"),
        (FILES | {"max_memory_mb": 2_000_000}, "max_memory_mb"),
        (FILES | {"max_open_files": 10**30}, "max_open_files"),
        (FILES | {"enabled": "yes"}, "enabled"),
        (FILES | {"comand": "a typo"}, "comand"),
        (REMOTE | {"url": ""}, "url"),
        (REMOTE | {"url": "mcp.example"}, "url"),
        (REMOTE | {"url": "ftp://mcp.example"}, "url"),
        (REMOTE | {"url": "https://user:password@mcp.example"}, "url"),
        (REMOTE | {"url": "https://mcp.example/#part"}, "url"),
        (REMOTE | {"url": "https://mcp.example/?a b"}, "url"),
        (REMOTE | {"headers": {"X-Key": "a\r\nX-Other: b"}}, "headers"),
        (REMOTE | {"headers": {"X Key": "a"}}, "headers"),
        (REMOTE | {"command": "npx"}, "command"),
        (REMOTE | {"args": ["-y"]}, "args"),
        (REMOTE | {"env": {"A": "b"}}, "env"),
    ],
)
def test_a_wrong_field_is_named(client, body, param):
    error = error_of(create(client, **body), 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert not McpServer.objects.exists()


@pytest.mark.both
def test_two_servers_cannot_share_a_name(client):
    create(client, **FILES)
    assert error_of(create(client, **FILES), 400)["param"] == "name"


@pytest.mark.both
def test_a_server_that_agents_use_stays(client):
    create(client, **FILES)
    Agent.objects.create(name="helper").mcp_servers.add(McpServer.objects.get())
    error = error_of(client.delete("/v1/mcp-servers/files"), 409)
    assert (error["code"], "helper" in error["message"]) == ("in_use", True)
    Agent.objects.all().delete()
    assert client.delete("/v1/mcp-servers/files").status_code == 204


def test_names_of_tools_that_a_change_makes_too_long_are_refused(client):
    create(client, **FILES)
    McpServer.objects.get().record_check(ok=True, message="It answers.", tool_names=["t" * 50])
    error = error_of(change(client, "files", name="files-of-everybody"), 400)
    assert (error["param"], "t" * 50 in error["message"]) == ("name", True)
    assert change(client, "files", name="file").status_code == 200


@pytest.mark.both
def test_tools_that_a_change_makes_look_alike_are_refused(client):
    create(client, **FILES, denied_tools=["a.b"])
    McpServer.objects.get().record_check(ok=True, message="It answers.", tool_names=["a.b", "a_b", "c"])
    error = error_of(change(client, "files", denied_tools=[]), 400)
    assert (error["param"], "'a.b' and 'a_b'" in error["message"]) == ("denied_tools", True)
    assert change(client, "files", denied_tools=["a_b"]).status_code == 200


def test_names_that_were_odd_before_do_not_stop_other_changes(client):
    create(client, **FILES)
    McpServer.objects.get().record_check(ok=True, message="It answers.", tool_names=["a.b", "a_b", "t" * 70])
    assert change(client, "files", timeout=5).status_code == 200


def test_a_variable_that_is_not_set_is_named_when_it_is_needed(client, monkeypatch):
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    create(client, **FILES, env={"TOKEN": "${NO_SUCH_TOKEN}"})
    result = client.post("/v1/mcp-servers/files/check").json()
    assert (result["ok"], "NO_SUCH_TOKEN" in result["message"]) == (False, True)
    for response in (client.get("/v1/mcp-servers/files/tools"), call_with(client, "files", "read")):
        error = error_of(response, 503)
        assert (error["code"], "NO_SUCH_TOKEN" in error["message"]) == ("server_unavailable", True)
    server = client.get("/v1/mcp-servers/files").json()
    assert (server["check_ok"], "NO_SUCH_TOKEN" in server["check_message"]) == (False, True)


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"url": "${MCP_URL}"}, "localhost:3001"),
        ({"url": "https://mcp.example/${MCP_URL}"}, "with space"),
        ({"headers": {"X-Key": "${MCP_URL}"}}, "line\nbreak"),
    ],
)
def test_a_variable_that_makes_no_sense_is_a_sentence_without_its_value(client, monkeypatch, changes, value):
    monkeypatch.setenv("MCP_URL", value)
    assert create(client, **REMOTE | changes).status_code == 201
    result = client.post("/v1/mcp-servers/remote/check").json()
    assert (result["ok"], value in result["message"]) == (False, False)
    assert "variables" in result["message"]


def test_a_disabled_server_has_no_tools(client):
    create(client, **FILES, enabled=False)
    for response in (client.get("/v1/mcp-servers/files/tools"), call_with(client, "files", "read")):
        assert error_of(response, 409)["code"] == "server_disabled"


@pytest.mark.parametrize("body", [[], {"arguments": []}, {"arguments": "a"}, {"arguments": None}, {"args": {}}])
def test_a_call_without_an_object_of_arguments_is_a_400(client, body):
    create(client, **FILES)
    path = "/v1/mcp-servers/files/tools/read/call"
    error_of(client.post(path, body, content_type=JSON), 400)


def test_servers_are_for_administrators(admin_user):
    admin_user.is_superuser = False
    for view, method in (("list", "get"), ("check", "post"), ("tools", "get"), ("call_tool", "post")):
        request = getattr(APIRequestFactory(), method)("/v1/mcp-servers")
        force_authenticate(request, user=admin_user)
        response = McpServerViewSet.as_view({method: view})(request, name="files", tool="read")
        assert (response.status_code, response.data["error"]["type"]) == (403, "permission_error")
