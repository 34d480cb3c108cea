"""Nobody reaches what is not theirs: everybody at every address, with every frame, and by every way to read again.

What is tried is generated from the URLs, the OpenAPI schema and the frames that there are. Whatever is new there and
has no row here fails the test.
"""

import json
import re
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from chat_app.websocket.client_frames import PAYLOADS
from tests.harness.belongings import Belongings, belongings
from tests.harness.people import Person, close_code, invite

SECRET = "what ann said to nobody"
ROLES = {"owner": "ann", "colleague": "cora", "stranger": "bob", "anonymous": "", "administrator": "boss"}
ROLES["limited"] = "robot"  # an administrator's token of the scope `run`
OK = "it works"

# Verbs and address; then what it answers to the owner, to a colleague who was granted the agent, to a stranger, to
# somebody who has not signed in, and to an administrator.
MATRIX = [
    ("get", r"/|/v1/(info|schema|schema/frames)", OK, OK, OK, OK, OK),
    ("get", r"/v1/(actions|agents|budgets|files|models|runs|sessions|tasks|tokens)", OK, OK, OK, 401, OK),
    ("get", r"/v1/(agents|models)/{}", OK, OK, 404, 401, OK),
    ("get", r"/v1/agents/{}/versions(/{})?", OK, OK, 404, 401, OK),
    ("get", r"/v1/agents/{}/policy", 403, 403, 404, 401, OK),
    ("post", r"/v1/agents/{}/versions/{}/activate", 403, 403, 404, 401, OK),
    ("post", r"/v1/agents", OK, OK, OK, 401, OK),
    ("put|patch|delete", r"/v1/agents/{}", 403, 403, 404, 401, OK),
    ("put", r"/v1/agents/{}/draft", 403, 403, 404, 401, OK),
    ("post", r"/v1/(agents/{}/runs|chat/completions|responses)", OK, OK, 404, 401, OK),
    ("post", r"/v1/tasks", OK, OK, 400, 401, OK),  # "there is no agent of that name"
    ("post", r"/v1/(files|tokens|ws-tickets|tasks/simulate)", OK, OK, OK, 401, OK),
    ("get|delete", r"/v1/tokens/{}", OK, 404, 404, 401, 404),  # not even an administrator drives somebody else's
    ("get|post|put|patch|delete", r"/v1/(actions|files|runs|sessions|tasks|responses)/{}(/.*)?", OK, 404, 404, 401, OK),
    ("get|post|put|patch|delete", r"/v1/(providers|mcp-servers)(/{}(/check|/policy)?)?", 403, 403, 403, 401, OK),
    ("get", r"/v1/budgets/{}", OK, 404, 404, 401, OK),
    ("post|put|patch|delete", r"/v1/budgets(/{})?", 403, 403, 403, 401, OK),
    ("get|post", r"/v1/mcp-servers/{}/tools(/{}/call)?", 403, 403, 403, 401, 503),  # ours cannot be started
    ("get|post", r"/v1/(connections|broadcast)", 403, 403, 403, 401, OK),
]
# What a token of the scope `run` may not do, though a stranger may; else it gets what a stranger gets, whoever made it.
LIMITED = {
    ("post", "/v1/tokens"): 403,
    ("delete", "/v1/tokens/{}"): 403,
    ("post", "/v1/agents"): 403,
    **{(verb, "/v1/agents/{}"): 403 for verb in ("put", "patch", "delete")},
    ("put", "/v1/agents/{}/draft"): 403,
    ("post", "/v1/agents/{}/versions/{}/activate"): 403,
}
# Addresses for people's browsers: what they answer to those who have not signed in.
PAGES = {
    r"/(agents|chat|models|tasks|tools|runs|waiting|accounts/tokens)/": 302,
    r"/agents/try": 302,
    r"/agents/(choices|models)": 401,
    r"/(chat|admin)": 302,
    r"/chat/(blocks|sessions|runs/{}/steps)": 401,
    r"/accounts/login/": 200,
    r"/accounts/profile/(saved/)?": 302,
    r"/accounts/start/": 403,
    r"/accounts/logout(-everywhere)?/": 405,
    r"/admin/login/": 302,
    r"/admin/control-room/(live)?": 302,
    r"/v1/docs": 200,
}
TASK = {"name": "n", "task_prompt": "x", "schedule_type": "interval", "schedule_value": "86400"}
PROVIDER = {"name": "isolated", "kind": "openai", "base_url": "http://127.0.0.1:9/v1"}
SERVER = {"name": "isolated", "transport": "stdio", "command": "/nonexistent/program"}
BUDGET = {"name": "isolated", "scope": "user", "user": "ann", "amount": 5000}
# What is sent, so that nothing but the wrong caller is at fault. {} in a text is the agent, {name} something new.
FORM = '--form\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhi\r\n--form--\r\n'
BODIES: dict[tuple[str, str], dict[str, Any] | None] = {
    ("post", "/v1/agents"): {"name": "{name}"},
    ("put", "/v1/agents/{name}"): {"name": "{}", "description": "changed"},
    ("patch", "/v1/agents/{name}"): {"description": "changed"},
    ("put", "/v1/agents/{name}/draft"): {"description": "changed"},
    ("post", "/v1/agents/{name}/runs"): {"message": "hi"},
    ("post", "/v1/agents/{name}/versions/{number}/activate"): {},
    ("post", "/v1/files"): None,  # a form
    ("post", "/v1/broadcast"): {"message": "hi"},
    ("post", "/v1/chat/completions"): {"model": "{}", "messages": [{"role": "user", "content": "hi"}]},
    ("post", "/v1/responses"): {"model": "{}", "input": "hi"},
    ("post", "/v1/providers"): PROVIDER | {"name": "{name}"},
    ("put", "/v1/providers/{name}"): PROVIDER,
    ("patch", "/v1/providers/{name}"): {"base_url": "http://127.0.0.1:9/changed"},
    ("post", "/v1/budgets"): BUDGET | {"name": "{name}"},
    ("put", "/v1/budgets/{name}"): BUDGET,
    ("patch", "/v1/budgets/{name}"): {"amount": 6000},
    ("post", "/v1/mcp-servers"): SERVER | {"name": "{name}"},
    ("put", "/v1/mcp-servers/{name}"): SERVER,
    ("patch", "/v1/mcp-servers/{name}"): {"description": "changed"},
    ("post", "/v1/mcp-servers/{name}/tools/{tool}/call"): {"arguments": {}},
    ("post", "/v1/runs/{id}/approve"): {"approved": True},
    ("post", "/v1/runs/{id}/regenerate"): {},
    ("post", "/v1/runs/{id}/select"): {},
    ("post", "/v1/sessions/{id}/fork"): {},
    ("post", "/v1/actions/{id}/answer"): {"outcome": "answered"},
    ("patch", "/v1/sessions/{id}"): {"title": "changed"},
    ("post", "/v1/tasks"): TASK | {"agent_name": "{}"},
    ("put", "/v1/tasks/{id}"): TASK | {"agent_name": "{}"},
    ("patch", "/v1/tasks/{id}"): {"enabled": False},
    ("post", "/v1/tasks/simulate"): {"schedule_type": "interval", "schedule_value": "300"},
    ("post", "/v1/tokens"): {"name": "x"},
}
ORDER = ("get", "post", "put", "patch", "delete")


def expected(verb: str, path: str) -> tuple[Any, ...]:
    """What everybody is answered there, in the order of ROLES."""
    plain = re.sub(r"\{\w+\}", "{}", path)
    rows = [row[2:] for row in MATRIX if re.fullmatch(row[0], verb) and re.fullmatch(_escaped(row[1]), plain)]
    assert len(rows) == 1, f"Say once in MATRIX who may do what: {verb} {path}"
    return *rows[0], LIMITED.get((verb, plain), rows[0][2])


def _escaped(pattern: str) -> str:
    return pattern.replace("{}", r"\{\}")


def addresses(patterns: list[Any], before: str = "/") -> Iterator[str]:
    """All addresses of the URL configuration, but for the admin's own."""
    for pattern in patterns:
        route = re.sub(r"<[^>]+>|\(\?P<\w+>(\[[^]]*\]|[^)])*\)", "{}", str(pattern.pattern)).strip("^$")
        if isinstance(pattern, URLResolver):
            if pattern.app_name != "admin":
                yield from addresses(pattern.url_patterns, before + route)
        elif isinstance(pattern, URLPattern):
            yield before + route.replace("\\Z", "").replace("\\", "")


@pytest.fixture(scope="module")
def everybody(people) -> dict[str, Person]:
    """By their role. Cora is a colleague: of a group of which Ann is none."""
    cora = invite(people["ann"].product, "cora", group="colleagues")["cora"]
    boss = people["boss"]
    token = boss.request("POST", "/v1/tokens", {"name": "robot", "scope": "run"})[1]["token"]
    everybody_here = {**people, "cora": cora, "robot": Person(boss.product, "boss", token)}
    return {role: everybody_here[name] for role, name in ROLES.items()}


@pytest.fixture(scope="module")
def things(everybody, model) -> dict[str, Belongings]:
    """What Ann has: some that stays as it is, and some that she and an administrator do with what they like."""
    ann, boss = everybody["owner"], everybody["administrator"]
    grant = {"access": "restricted", "allowed_users": ["ann"], "allowed_groups": ["colleagues"]}
    names = ("anns", "anns-own", "anns-other")
    made = belongings(ann, boss, model, *names, secret=SECRET, **grant)
    lasting = BUDGET | {"name": "lasting"}
    created = {"providers": [PROVIDER], "mcp-servers": [SERVER], "budgets": [BUDGET, lasting]}
    for path, bodies in created.items():
        for body in bodies:
            assert boss.request("POST", f"/v1/{path}", body)[0] == 201
    of_all = {"providers": "isolated", "mcp-servers": "isolated", "budgets": "lasting", "tool": "any", "number": "1"}
    ids = {"kept": of_all, "owner": of_all, "administrator": of_all | {"budgets": "isolated"}}  # who deletes it
    return {
        role: Belongings(each.ids | ids[role], each.secret)
        for role, each in zip(("kept", "owner", "administrator"), made, strict=True)
    }


@pytest.fixture(scope="module")
def operations(everybody) -> list[tuple[str, str]]:
    """Verb and path of all that the API can do, what destroys last."""
    _, schema = everybody["administrator"].request("GET", "/v1/schema")
    operations = [(verb, path) for path, item in schema["paths"].items() for verb in item if verb in ORDER]
    for verb, path in operations:
        if "requestBody" in schema["paths"][path][verb]:
            assert (verb, path) in BODIES, f"Say in BODIES what is sent: {verb} {path}"
    return sorted(
        operations, key=lambda each: (ORDER.index(each[0]), not each[1].endswith(("/approve", "/answer")), each[1])
    )


def ask(person: Person, verb: str, path: str, things: Belongings, **headers: str) -> tuple[int, str]:
    """Status and text of the answer."""
    agent = things.ids["agents"]
    sent = json.dumps(BODIES.get((verb, path))).replace("{name}", f"new-by-{person.name}").replace('"{}"', f'"{agent}"')
    data = sent.encode() if (verb, path) in BODIES else None
    content_type = "application/json"
    if (verb, path) == ("post", "/v1/files"):
        content_type, data = "multipart/form-data; boundary=form", FORM.encode()
    headers = {"Content-Type": content_type, **person.headers, **headers}
    url = person.product.url + things.address(path)
    request = urllib.request.Request(url, data, headers, method=verb.upper())
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            if "event-stream" in answer.headers.get("Content-Type", "") and "sessions" in path:
                return answer.status, answer.read1().decode() + answer.read1().decode()  # it stays open
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("role", ROLES)
def test_everybody_gets_what_the_matrix_says(everybody, things, operations, role):
    assert len(operations) > 60
    person = everybody[role]
    for verb, path in operations:
        status_expected = expected(verb, path)[list(ROLES).index(role)]
        # Others try it on what must be there afterwards; who may do it gets something of their own to destroy.
        status, answer = ask(
            person, verb, path, things["kept" if verb == "get" else role if role in things else "kept"]
        )
        is_busy = status == 409 and (verb == "delete" or path.endswith("/fork"))  # a run has not ended
        works = 200 <= status < 300 or is_busy
        assert works if status_expected == OK else status == status_expected, f"{verb} {path}: {status} {answer}"
        assert role in ("owner", "administrator") or SECRET not in answer, path
        if path.endswith("/fork") and status == 201:  # it is this person's now, with all that was said
            assert person.request("DELETE", f"/v1/sessions/{json.loads(answer)['id']}")[0] == 204
    kept = things["kept"].ids
    ann = everybody["owner"]
    assert ann.request("GET", f"/v1/runs/{kept['runs']}")[1]["status"] == "waiting"
    assert ann.request("GET", f"/v1/sessions/{kept['sessions']}")[1]["title"] == SECRET
    assert ann.request("GET", f"/v1/tasks/{kept['tasks']}")[1]["enabled"] is True
    assert ann.request("GET", f"/v1/tokens/{kept['tokens']}")[0] == 200


def test_every_address_has_a_row(operations):
    documented = {re.sub(r"\{\w+\}", "{}", path) for _, path in operations} | {"/v1/schema", "/v1/schema/frames"}
    served = {address.replace("//", "/") for address in addresses(get_resolver().url_patterns)}
    assert len(served) > 50
    for address in served:
        if address not in documented:
            rows = [pattern for pattern in PAGES if re.fullmatch(_escaped(pattern), address)]
            assert len(rows) == 1, f"Neither in the schema nor in PAGES: {address}"
    assert documented <= served | {"/"}, documented - served


@pytest.mark.django_db
def test_pages_lead_those_who_have_not_signed_in_to_the_door(client, admin_user, settings):
    settings.AUTH_REQUIRED = True
    for address in {address.replace("//", "/") for address in addresses(get_resolver().url_patterns)}:
        for pattern, status in PAGES.items():
            if re.fullmatch(_escaped(pattern), address):
                answer = client.get(address.replace("{}", "00000000-0000-0000-0000-000000000000"))
                assert answer.status_code == status, address


@pytest.mark.slow
@pytest.mark.django_db
def test_the_admin_is_for_staff(django_user_model):
    """Every address of every model's pages: whoever is no member of staff is led to the door."""
    visitor = Client()
    visitor.force_login(django_user_model.objects.create_user("visitor"))
    reverse("admin:index")  # the admin's modules are imported with the addresses
    tried = 0
    for model_admin in admin.site._registry.values():
        for pattern in model_admin.urls:
            if pattern.name:
                needed = re.findall(r"<(?:(\w+):)?(\w+)>", str(pattern.pattern))
                named = {name: uuid.UUID(int=0) if kind == "uuid" else "1" for kind, name in needed}
                address = reverse(f"admin:{pattern.name}", kwargs=named)
                answer = visitor.get(address)
                assert (answer.status_code, "login" in answer.url) == (302, True), address
                tried += 1
    assert tried > 30


# Lists


@pytest.mark.parametrize("role", ["colleague", "stranger", "limited"])
def test_lists_have_only_ones_own(everybody, things, role):
    kept = things["kept"].ids
    for path in ("sessions", "runs", "tasks", "tokens"):
        for query in ("limit=200", f"session={kept['sessions']}&agent={kept['agents']}"):
            assert SECRET not in str(everybody[role].request("GET", f"/v1/{path}?{query}")[1])
    for query in ("/chat/sessions?all=1&search=ann", "/chat/sessions?all=1"):
        assert f"'{kept['sessions']}'" not in str(everybody[role].request("GET", query))
    assert everybody[role].request("GET", f"/chat/runs/{kept['runs']}/steps?step=0")[0] == 404
    for path in ("agents", "models"):
        may = role == "colleague"
        assert (kept["agents"] in str(everybody[role].request("GET", f"/v1/{path}?limit=200")[1])) is may


# Reading again


@pytest.mark.parametrize("role", ROLES)
def test_a_conversation_is_read_again_by_its_owner_alone(everybody, things, role):
    kept = things["kept"].ids
    status = {"owner": 200, "administrator": 200, "anonymous": 401}.get(role, 404)
    sessions = "/v1/sessions/{id}/events"
    for path, headers in (
        (f"{sessions}?after=0", {"Accept": "text/event-stream"}),
        (sessions, {"Accept": "text/event-stream", "Last-Event-ID": "0"}),
        (f"{sessions}?after=0", {}),
        ("/v1/runs/{id}/events?after=0", {}),
        ("/v1/runs/{id}/steps", {}),
        ("/v1/runs/{id}/approvals", {}),
        ("/v1/responses/{identifier}", {}),
    ):
        got, answer = ask(everybody[role], "get", path, things["kept"], **headers)
        assert got == status, f"{path} {headers}: {got}"
        assert (SECRET in answer or "calculate" in answer or kept["runs"] in answer) is (
            status == 200
        ) or "resp" in path
    for query in ({}, {"after": 0}, {"after": 1}, {"after": 10**9}):
        code = everybody[role].close_code(kept["sessions"], **query)
        assert code == {"owner": None, "administrator": None, "anonymous": 4401}.get(role, 4404)


@pytest.mark.parametrize("role", ["colleague", "stranger", "limited"])
def test_nobody_goes_on_with_anothers_conversation(everybody, things, role):
    person, kept = everybody[role], things["kept"].ids
    model, message = kept["agents"], {"role": "user", "content": "What did ann say?"}
    chat = {"model": model, "messages": [message]}
    for path, body, headers in (
        (f"/v1/agents/{model}/runs", {"message": "x", "session_id": kept["sessions"]}, {}),
        ("/v1/chat/completions", chat, {"X-Session-Id": kept["sessions"]}),
        ("/v1/chat/completions", {**chat, "stream": True}, {"X-Session-Id": kept["sessions"]}),
        ("/v1/chat/completions", {**chat, "metadata": {"session_id": kept["sessions"]}}, {}),
        ("/v1/responses", {"model": model, "input": "x"}, {"X-Session-Id": kept["sessions"]}),
        ("/v1/responses", {"model": model, "input": "x", "previous_response_id": kept["responses"]}, {}),
        ("/v1/responses", {"model": model, "input": "x", "conversation": kept["sessions"]}, {}),
    ):
        status, answer = person.request("POST", path, body, **headers)
        assert status == 404, f"{path} {body}: {status} {answer}"
        assert SECRET not in str(answer)
    task = {**TASK, "agent_name": model, "session_id": kept["sessions"]}
    assert person.request("POST", "/v1/tasks", task)[0] == 400
    assert len(everybody["owner"].request("GET", f"/v1/sessions/{kept['sessions']}/runs")[1]["data"]) == 1


@pytest.mark.parametrize("role", ["colleague", "stranger", "limited"])
def test_nobody_sends_anothers_file(everybody, things, name, role):
    """At each endpoint that takes a message, it is as one that is not there."""
    person, kept = everybody[role], things["kept"].ids
    everybody["administrator"].add_agent(f"{name}-{role}", "http://127.0.0.1:9/v1")
    agent, file = f"{name}-{role}", kept["files"]
    parts = [{"type": "file", "file_id": file}]
    chat = [{"type": "file", "file": {"file_id": file}}]
    image = [{"type": "input_image", "file_id": file}]
    for path, body, param in (
        (f"/v1/agents/{agent}/runs", {"parts": parts}, "parts.0.file_id"),
        ("/v1/tasks", TASK | {"agent_name": agent, "parts": parts}, "parts.0.file_id"),
        ("/v1/chat/completions", {"model": agent, "messages": _message(chat)}, "messages[0].content[0].file.file_id"),
        (
            "/v1/chat/completions",
            {"model": agent, "messages": _message(chat) + _message("x")},
            "messages[0].content[0].file.file_id",
        ),
        ("/v1/responses", {"model": agent, "input": _message(image)}, "input[0].content[0].file_id"),
    ):
        status, answer = person.request("POST", path, body)
        assert (status, answer["error"]["param"]) == (400, param), answer
        assert "names no file of yours" in answer["error"]["message"]
        assert SECRET not in str(answer)
    opened = person.chat(f"{name}-{role}", agent_name=agent)
    opened.send("chat", parts=parts)
    assert opened.until("error")["data"]["field"] == "parts.0.file_id"
    opened.close()
    arguments = {"message": "x", "agent_name": agent, "files": [file]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "run_agent", "arguments": arguments}}
    headers = {"Accept": "application/json", "MCP-Protocol-Version": "2025-11-25"}
    result = person.request("POST", "/mcp", call, **headers)[1]["result"]
    assert (result["isError"], "names no file of yours" in str(result)) == (True, True)
    assert person.request("GET", f"/v1/runs?agent={agent}")[1]["data"] == []


def _message(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize("role", ["administrator", "limited"])
def test_an_agent_reaches_only_what_its_user_owns(everybody, things, model, name, role):
    """With a token of the scope `run` one starts agents: their tools must not do what it may not."""
    kept = things["kept"].ids
    calls = {"list_tasks": {}, "run_task": {"task": kept["tasks"]}, "get_run": {"run_id": kept["runs"]}}
    agent = f"{name}-{role}"
    turns = [[{"tool_call": {"name": tool, "arguments": arguments}}] for tool, arguments in calls.items()]
    model.script(agent, [*turns, [{"text": "That is all."}]])
    everybody["administrator"].add_agent(agent, model.base_url, builtin_tools=list(calls))
    chat = everybody[role].chat(agent)
    assert chat.ask("hi", agent_name=agent)["data"]["status"] == "completed"
    steps = [frame["data"] for frame in chat.fold.of_type("reasoning_step")]
    listed, ran, read = [step["content"] for step in steps if step["type"] == "tool_result"]
    assert (kept["tasks"] in listed, "No task" in ran, "There is no run" in read) == (False, True, True)


# Frames


def payloads_of_a_stranger(kept: dict[str, str]) -> dict[str, tuple[dict[str, Any], str | None]]:
    """Of every type a frame that reaches for Ann's, sent in a session of one's own, and the code of the answer."""
    return {
        "chat": ({"message": "hi", "agent_name": kept["agents"]}, "agent_not_found"),
        "interrupt": ({"run_id": kept["runs"]}, "invalid_message"),
        "approve": ({"tool_call_id": kept["call"], "approved": True}, "invalid_message"),
        "answer": ({"action_id": kept["actions"], "outcome": "answered"}, "invalid_message"),
        "resume": ({"after": 0}, None),
        "ping": ({"timestamp": 7}, None),
        "pong": ({}, None),
    }


@pytest.mark.parametrize("role", ["stranger", "limited"])
def test_frames_reach_only_into_ones_own_session(everybody, things, name, role):
    frames = payloads_of_a_stranger(things["kept"].ids)
    assert frames.keys() == PAYLOADS.keys()
    chat = everybody[role].chat(name)
    for kind, (payload, code) in frames.items():
        chat.send(kind, **payload)
        if code:
            assert chat.until("error")["data"]["code"] == code, kind
    chat.send("ping", timestamp=8)
    while chat.until("pong")["data"]["timestamp"] != 8:
        pass
    chat.close()
    assert SECRET not in str(chat.fold.frames + chat.others)
    assert everybody["owner"].request("GET", f"/v1/runs/{things['kept'].ids['runs']}")[1]["status"] == "waiting"


@pytest.mark.parametrize("role", ["colleague", "stranger", "limited", "anonymous"])
def test_what_is_sent_before_the_close_arrives_does_nothing(everybody, things, role):
    """A client that does not wait for `connected`: every frame is on its way before the server has looked."""
    kept = things["kept"].ids
    frames = [{"type": kind, "payload": payload} for kind, (payload, _) in payloads_of_a_stranger(kept).items()]
    url = everybody[role].product.socket_url(kept["sessions"], after=0)
    sent = [json.dumps(frame) for frame in frames]
    assert close_code(url, everybody[role].headers, sent=sent) == (4401 if role == "anonymous" else 4404)
    runs = everybody["owner"].request("GET", f"/v1/sessions/{kept['sessions']}/runs")[1]["data"]
    assert [run["status"] for run in runs] == ["waiting"]
