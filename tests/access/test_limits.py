"""Limits: who goes over one gets a 429 that says when to come back, and nothing is made of the request."""

import contextlib
import contextvars
import http.client
import json
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from types import SimpleNamespace

import pytest
from django.core.cache import caches
from django.db import connection
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisAway
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from agents_app import runs
from agents_app.access import counters, origins, shared_cache
from agents_app.access import limits as admission
from agents_app.access.callers import Caller
from agents_app.engine.toolset import ToolError
from agents_app.exceptions import RateLimited
from agents_app.models import Agent, ApiToken, Run, ScheduledTask, Session, TokenUse
from agents_app.models.overrides import Overrides
from agents_app.models.token_usage import today
from agents_app.scheduler import starting as scheduler_starting
from agents_app.tools import ask_agent
from chat_app.websocket import frame_rate, queries
from tests.harness.clocked import Clocked
from tests.harness.form_client import FormClient
from tests.harness.people import invite


@pytest.fixture(autouse=True)
def one_minute(monkeypatch):
    """In this process, all that a test counts falls into one minute, and nothing was counted before."""
    now = timezone.now().replace(second=10)
    monkeypatch.setattr(counters, "clock", SimpleNamespace(now=lambda: now))
    for cache in caches.all(initialized_only=False):
        cache.clear()


@pytest.fixture(scope="module")
def tight(tmp_path_factory):
    """A server with small limits, and who may sign in there."""
    limits = {
        "SOCKETS_PER_USER": "3",
        "FRAMES_PER_MINUTE": "60",
        "CHAT_RATE_PER_MINUTE": "4",
        "QUEUED_RUNS_PER_USER": "2",
        "TOKENS_PER_USER_PER_DAY": "1000",
        "LOGIN_FAILURES": "3",
        "TRUSTED_PROXIES": "1",
        "MAX_MESSAGE_CHARACTERS": "1000",
        "MAX_BODY_BYTES": "80000",
        "CORS_ALLOWED_ORIGINS": "https://app.example",
    }
    with Clocked(tmp_path_factory.mktemp("tight"), AUTH_REQUIRED="true", **limits) as product:
        yield product


# On a running server


def test_a_user_has_only_so_many_sockets(tight, name):
    people = invite(tight, "sam", "tom")
    chats = [people["sam"].chat(name) for _ in range(3)]
    assert people["sam"].close_code(name) == 4429
    assert people["tom"].close_code(f"{name}-2") is None
    chats.pop().close()
    while people["sam"].close_code(name) is not None:  # the server hears of the end a moment later
        pass
    for chat in chats:
        chat.close()


def test_a_socket_has_only_so_many_frames_and_one_that_sends_more_has_to_wait(tight, name):
    people = invite(tight, "fay", "gil")
    flood, other = people["fay"].chat(name), people["gil"].chat(f"{name}-gil")
    for frame in ("ping", "nonsense"):
        for _ in range(40):
            flood.send(frame)
    answers = [flood.until("pong", "error")["data"] for _ in range(80)]
    refused = [answer for answer in answers if answer.get("code") == "rate_limited"]
    assert not refused, "they are invalid, whether too many or not"
    began = time.monotonic()
    flood.send("ping", timestamp=1)
    answer = flood.until("pong", "error")["data"]
    assert (answer["code"], 0 < answer["retry_after"] <= 1) == ("rate_limited", True)
    other.send("ping", timestamp=2)
    assert other.until("pong")["data"]["timestamp"] == 2
    for number in range(20):
        flood.send("ping", timestamp=number)
    answers = [flood.until("pong", "error")["data"] for _ in range(20)]
    assert time.monotonic() - began > 10 * frame_rate.PAUSE, "it was read all the time"
    assert any("timestamp" in answer for answer in answers), "its bucket fills up again"
    flood.close()
    other.close()


@pytest.mark.parametrize("kind", ["ping", "pong", "part"])
def test_a_socket_has_only_so_many_frames_of_the_protocol_itself(tight, name, kind):
    """No rate of the application counts them: a flood of them stopped the event loop for seconds."""
    ann = invite(tight, name)[name]
    with connect(tight.socket_url(name), additional_headers=ann.headers, open_timeout=60) as socket:
        assert json.loads(socket.recv(60))["type"] == "connected"
        with pytest.raises(ConnectionClosed) as closed:
            if kind == "part":
                socket.send("x" for _ in range(1000))
            else:
                for _ in range(1000):
                    getattr(socket, kind)()
            while True:
                socket.recv(10)
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1008


@pytest.mark.parametrize("frame", ["interrupt", "resume", "approve"])
def test_frames_that_query_count_together_over_all_sockets_of_a_user(tight, name, frame):
    payload = {"interrupt": {}, "resume": {"after": 0}, "approve": {"tool_call_id": "x", "approved": True}}[frame]
    ida = invite(tight, name)[name]
    chats = [ida.chat(f"{name}-{number}") for number in range(2)]
    tight.begin_window()
    for chat in chats:
        for _ in range(40):
            chat.send(frame, **payload)
        chat.send("ping", timestamp=1)
    refused = 0
    for chat in chats:
        while (answer := chat.until("pong", "error"))["type"] == "error":
            refused += answer["data"]["code"] == "rate_limited"
        chat.close()
    assert refused == 20


def test_a_users_sockets_share_the_messages_of_a_minute(tight, model, name):
    people = invite(tight, "boss", "uma", "vic")
    model.script(name, [[{"text": "yes"}]])
    people["boss"].add_agent(name, model.base_url)
    tight.begin_window()
    for number in range(4):
        chat = people["uma"].chat(f"{name}-{number % 2}")
        chat.ask("hi", agent_name=name)
        chat.close()
    chat = people["uma"].chat(f"{name}-5")
    chat.say("too much", agent_name=name, message_id="m")
    refused = chat.until("error")["data"]
    assert (refused["code"], refused["message_id"]) == ("rate_limited", "m")
    assert 0 < refused["retry_after"] <= 60
    chat.close()
    assert people["uma"].request("GET", f"/v1/sessions/{name}-5")[0] == 404

    status, answer = people["uma"].request("POST", f"/v1/agents/{name}/runs", {"message": "over HTTP"})
    assert (status, answer["error"]["code"]) == (429, "rate_limited")
    assert people["vic"].request("POST", f"/v1/agents/{name}/runs", {"message": "mine"})[0] == 202


def test_a_user_has_only_so_many_runs_waiting(tight, model, name):
    people = invite(tight, "boss", "wes")
    model.script(name, [[{"text": "a"}, {"wait": name}]])
    people["boss"].add_agent(name, model.base_url)
    tight.begin_window()
    path, body = f"/v1/agents/{name}/runs", {"message": "hi", "session_id": name}
    chat = people["wes"].chat(name)
    chat.say("hi", agent_name=name)
    chat.until_text("a")
    for number in range(2):
        assert people["wes"].request("POST", path, {**body, "message_id": f"m{number}"})[0] == 202
    status, answer = people["wes"].request("POST", path, {**body, "message_id": "m9"})
    assert (status, answer["error"]["type"]) == (429, "rate_limit_error")
    assert "of your runs are waiting" in answer["error"]["message"]
    assert people["wes"].request("POST", path, {**body, "message_id": "m1"})[0] == 202, "that one was accepted before"
    assert len(people["wes"].request("GET", f"/v1/sessions/{name}/runs")[1]["data"]) == 3
    model.release(name)
    chat.close()


def test_deleting_a_session_gives_no_tokens_back(tight, model, name):
    """Completed, cancelled while a person is asked, and at last refused: what was used stays used."""
    people = invite(tight, "boss", "zoe", "abe")
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "1 + 1"}}}
    model.script(name, [[{"usage": {"prompt_tokens": 500, "completion_tokens": 99}}, {"text": "yes"}]])
    model.script(f"{name}-asks", [[{"usage": {"prompt_tokens": 400, "completion_tokens": 1}}, call]])
    people["boss"].add_agent(name, model.base_url)
    asks = {"builtin_tools": ["calculate"], "approval_required": ["*"]}
    people["boss"].add_agent(f"{name}-asks", model.base_url, **asks)
    zoe = people["zoe"]
    tight.begin_window()
    for agent in (name, f"{name}-asks"):
        chat = zoe.chat(agent)
        chat.say("hi", agent_name=agent)
        if chat.until("reasoning_complete", "approval_required")["type"] == "approval_required":
            chat.send("interrupt")
            assert chat.until("reasoning_complete")["data"]["usage"]["input_tokens"] == 400
        chat.close()
        assert zoe.request("DELETE", f"/v1/sessions/{agent}")[0] == 204
    status, answer = zoe.request("POST", f"/v1/agents/{name}/runs", {"message": "more"})
    assert (status, "1,000 tokens today" in answer["error"]["message"]) == (429, True)
    chat = zoe.chat(f"{name}-new")
    chat.say("more", agent_name=name)
    refused = chat.until("error")["data"]
    assert (refused["code"], 0 < refused["retry_after"] <= 86_400) == ("rate_limited", True)
    chat.close()
    assert people["abe"].request("POST", f"/v1/agents/{name}/runs", {"message": "mine"})[0] == 202


@pytest.mark.slow
def test_who_guesses_passwords_must_wait(tight):
    invite(tight, "xav")
    tight.begin_window(900)
    guesser = FormClient(tight)
    codes = [_post(guesser, "198.51.100.7", "xav", f"guess {number}")[0] for number in range(5)]
    assert codes[:3] == [200, 200, 200]
    assert codes[4] == 429
    status, retry_after = _post(guesser, "198.51.100.7", "xav", "correct horse battery")
    assert status == 429
    assert 0 < int(retry_after) <= 900
    assert _post(FormClient(tight), "198.51.100.8", "xav", "correct horse battery")[0] == 200


def _post(browser: FormClient, address: str, name: str, password: str) -> tuple[int, str]:
    """Status and Retry-After of an attempt from an address."""
    page = browser.get("/accounts/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
    fields = {"csrfmiddlewaretoken": token, "username": name, "password": password}
    headers = {"Origin": browser.product.url, "X-Forwarded-For": f"203.0.113.9, {address}"}
    data = urllib.parse.urlencode(fields).encode()
    request = urllib.request.Request(browser.product.url + "/accounts/login/", data, headers)
    try:
        with browser.opener.open(request, timeout=30) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Retry-After"]


BODY_LIMIT = "The request body is larger than 80,000 bytes, the server's limit (MAX_BODY_BYTES)."
MESSAGE_LIMIT = "is longer than 1,000 characters, the server's limit (MAX_MESSAGE_CHARACTERS)."


@pytest.mark.parametrize("path", ["/v1/tokens", "/mcp", "/chat/"])
@pytest.mark.parametrize("head", [{"Content-Length": "80001"}, {"Transfer-Encoding": "chunked"}])
@pytest.mark.parametrize("origin", ["https://app.example", "https://evil.example"])
def test_a_long_body_is_refused_in_json_that_pages_of_the_named_origins_may_read(tight, path, head, origin):
    """Before Django hears of it."""
    body = b"x" * 80_001 if "Content-Length" in head else [b"x" * 50_000, b"x" * 30_001]
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", tight.port, timeout=30)) as connection:
        headers = head | {"Origin": origin, "X-Request-Id": "mine", "Content-Type": "application/json"}
        connection.request("POST", path, body, headers, encode_chunked=True)
        answer = connection.getresponse()
        error = json.loads(answer.read())["error"]
    assert (answer.status, error["code"], error["message"]) == (413, "request_too_large", BODY_LIMIT)
    assert answer.headers["Content-Type"] == "application/json"
    assert (answer.headers["X-Request-Id"], answer.headers["Vary"]) == ("mine", "Origin")
    assert answer.headers["Access-Control-Allow-Origin"] == (origin if origin == "https://app.example" else None)


@pytest.mark.parametrize(
    ("target", "header"),
    [("/v1/info?q=\u00e9", "X-Odd: 1"), ("/v1/info", "X-Odd(: 1")],
    ids=["target", "name"],
)
def test_what_is_no_http_is_refused_in_json_too(tight, target, header):
    with socket.create_connection(("127.0.0.1", tight.port), timeout=30) as connection:
        head = [f"GET {target} HTTP/1.1", f"Host: 127.0.0.1:{tight.port}", "Origin: https://app.example", header]
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        error = json.loads(answer.read())["error"]
    assert (answer.status, error["code"], error["message"]) == (400, "bad_request", "The request is malformed.")
    assert answer.headers["Access-Control-Allow-Origin"] == ("https://app.example" if target == "/v1/info" else None)


def test_a_long_message_is_refused_by_a_sentence_that_names_the_setting(tight):
    yan = invite(tight, "yan")["yan"]
    limits = yan.request("GET", "/v1/info")[1]["limits"]
    assert (limits["message_characters"], limits["body_bytes"]) == (1000, 80_000)
    long = "x" * 1001
    task = {"name": "t", "agent_name": "assistant", "schedule_type": "interval", "schedule_value": "3600"}
    for path, body, param in (
        ("/v1/agents/assistant/runs", {"message": long}, "message"),
        ("/v1/tasks", task | {"task_prompt": long}, "task_prompt"),
        ("/v1/chat/completions", {"model": "assistant", "messages": [{"role": "user", "content": long}]}, "messages"),
        ("/v1/responses", {"model": "assistant", "input": long}, "input"),
        ("/v1/responses", {"model": "assistant", "input": "hi", "instructions": long}, "instructions"),
    ):
        status, answer = yan.request("POST", path, body)
        assert status == 400, answer
        assert answer["error"]["param"].startswith(param)
        assert MESSAGE_LIMIT in answer["error"]["message"]


def test_a_socket_names_the_limits_too(tight):
    yan = invite(tight, "yves")["yves"]
    chat = yan.chat("limits")
    chat.say("x" * 1001, agent_name="assistant")
    assert MESSAGE_LIMIT in chat.until("error")["data"]["message"]
    chat.socket.send("x" * 80_001)
    assert chat.close_code() == 1009
    assert chat.socket.close_reason == "larger than 80,000 bytes, the server's limit (MAX_BODY_BYTES)"


# Requests of a minute


@pytest.fixture
def robot(client, admin_user, settings):
    """A client with a token, where one has to sign in."""
    settings.AUTH_REQUIRED = True
    _, text = ApiToken.objects.create(admin_user, name="x")
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {text}"
    return client


def refused(response) -> dict:
    assert response.status_code == 429, response.content
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    return json.loads(response.content)["error"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/schema", "/", "/v1/nothing"])
def test_a_user_has_only_so_many_requests(robot, settings, path):
    settings.REQUESTS_PER_MINUTE = 5
    codes = [robot.get(path).status_code for _ in range(5)]
    if path in ("/", "/v1/nothing"):  # nobody is asked who they are there
        assert 429 not in [*codes, robot.get(path).status_code]
        return
    assert set(codes) == {200}
    assert refused(robot.get(path))["type"] == "rate_limit_error"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/schema", "/v1/info", "/"])
def test_an_address_has_only_so_many_requests_whoever_it_says_it_is(robot, settings, path):
    settings.REQUESTS_PER_MINUTE_PER_ADDRESS = 5
    codes = [robot.get(path, headers={"Authorization": f"Bearer guess{number}"}).status_code for number in range(5)]
    assert 429 not in codes
    refused(robot.get(path))
    assert robot.get(path, REMOTE_ADDR="10.0.0.9").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    ["/accounts/login/", "/accounts/start/", "/accounts/tokens/", "/chat/", "/chat/sessions", "/runs/", "/admin/",
     "/v1/docs", "/v1/schema/frames", "/nothing"],
)  # fmt: skip
def test_pages_count_too(robot, settings, path):
    settings.REQUESTS_PER_MINUTE_PER_ADDRESS = 5
    assert 429 not in [robot.get(path).status_code for number in range(5)]
    answer = robot.get(path)
    assert (answer.status_code, int(answer["Retry-After"]) > 0) == (429, True)
    assert robot.get(path, REMOTE_ADDR="10.0.0.9").status_code != 429


@pytest.mark.django_db
def test_the_addresses_of_one_network_share_their_requests(robot, settings):
    settings.REQUESTS_PER_MINUTE_PER_ADDRESS = 5
    codes = [robot.get("/v1/info", REMOTE_ADDR=f"2001:db8:7:7::{number}").status_code for number in range(6)]
    assert codes == [200] * 5 + [429]


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, ["1.2.3.4"], "10.0.0.1"),
        (1, ["1.2.3.4"], "1.2.3.4"),
        (1, ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (2, ["6.6.6.6, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        (2, ["1.2.3.4"], "1.2.3.4"),
        (1, [""], "10.0.0.1"),
        (1, ["nonsense"], "10.0.0.1"),
        (1, ["::1"], "::1"),
    ],
)
def test_whose_connection_it_is_our_own_proxies_say(settings, proxies, forwarded, expected):
    settings.TRUSTED_PROXIES = proxies
    assert origins.client_address("10.0.0.1", forwarded) == expected


# Runs


@pytest.fixture
def waiting(admin_user):
    """Two runs that wait."""
    session = Session.objects.create(id="s", owner=admin_user)
    Agent.objects.create(name="helper")
    for number in (1, 2):
        Run.objects.create(session=session, number=number, agent_name="helper", prompt="Hi")


@pytest.mark.django_db
@pytest.mark.parametrize("limit", ["QUEUED_RUNS", "QUEUED_RUNS_PER_USER"])
def test_a_full_queue_takes_nothing_more(client, settings, waiting, limit):
    setattr(settings, limit, 3)
    assert client.post("/v1/agents/helper/runs", {"message": "Hi"}, "application/json").status_code == 202
    response = client.post("/v1/agents/helper/runs", {"message": "Hi", "session_id": "new"}, "application/json")
    refused(response)
    assert Run.objects.count() == 3
    assert not Session.objects.filter(name="new").exists()


@pytest.mark.django_db
def test_a_new_day_begins_with_nothing_used(admin_user, settings):
    settings.TOKENS_PER_USER_PER_DAY = 1000
    used = TokenUse.objects.create(user=admin_user, day=today(), tokens=1000)
    for trigger in (Run.Trigger.CHAT, Run.Trigger.SCHEDULE):
        with pytest.raises(RateLimited) as caught:
            admission.admit(admin_user, trigger)
    assert 0 < caught.value.retry_after <= 86_400
    used.day -= timezone.timedelta(days=1)
    used.save()
    admission.admit(admin_user, Run.Trigger.CHAT)


@pytest.mark.django_db
@pytest.mark.parametrize("trigger", Run.Trigger.values)
def test_runs_of_every_trigger_count_in_the_queue(admin_user, settings, waiting, trigger):
    settings.QUEUED_RUNS_PER_USER = 2
    with pytest.raises(RateLimited, match="2 of your runs are waiting already"):
        admission.admit(admin_user, trigger)


@pytest.mark.django_db
def test_a_task_that_finds_a_full_queue_skips_its_moment_and_says_why(admin_user, settings, waiting):
    settings.QUEUED_RUNS_PER_USER = 2
    fields = {"schedule_type": "interval", "schedule_value": "60", "task_prompt": "x", "name": "t"}
    task = ScheduledTask.objects.create(owner=admin_user, agent=Agent.objects.get(), **fields)
    scheduler_starting.start(task, timezone.now())
    skip = task.skips.get()
    assert (skip.reason, "are waiting already" in skip.message) == ("not_started", True)
    assert Run.objects.count() == 2


@pytest.mark.django_db
def test_an_agent_that_finds_a_full_queue_gets_an_error_as_the_tools_result(admin_user, settings, waiting):
    settings.QUEUED_RUNS_PER_USER = 2
    with pytest.raises(ToolError, match="are waiting already"):
        ask_agent._start_child(parent_run(admin_user), "helper", "Hi", "call")
    assert Run.objects.exclude(trigger="agent").count() == Run.objects.count()


@pytest.mark.django_db
def test_one_message_starts_so_many_runs_and_no_more(admin_user, settings):
    """However they are spread over levels; and a call that is repeated gets the run that it had."""
    Agent.objects.create(name="helper")
    root = parent_run(admin_user)
    first = ask_agent._start_child(root, "helper", "Hi", "call-0")
    Run.objects.filter(pk=first.pk).update(agent_name="middle")
    first.refresh_from_db()
    for number in range(ask_agent.MOST_RUNS_OF_ONE_MESSAGE - 2):
        ask_agent._start_child(first if number % 2 else root, "helper", "Hi", f"call-{number + 1}")
    for parent in (root, first):
        with pytest.raises(ToolError, match="One message may start 50 runs"):
            ask_agent._start_child(parent, "helper", "Hi", "one more")
    assert ask_agent._start_child(root, "helper", "Hi", "call-0").pk == first.pk
    assert Run.objects.count() == 50


def parent_run(owner) -> Run:
    session = Session.objects.create(pk="parent", owner=owner, run_count=1)
    return Run.objects.create(session=session, number=1, agent_name="root", prompt="Hi", status="running")


@pytest.mark.django_db
def test_stopping_many_runs_gives_the_thread_back_in_between(admin_user, monkeypatch):
    """All sockets of a process share two threads: a thousand runs at once took one of them for seconds."""
    monkeypatch.setattr(queries, "LONGEST_HOLD", 0)
    options = {"session_id": "s", "agent_name": Agent.objects.create(name="helper").name}
    for _ in range(3):
        session = runs.start(
            runs.NewRun(user=admin_user, message="x", trigger=Run.Trigger.API, **options)
        ).run.session_id
    caller, below, stopped = Caller(admin_user), None, []
    while True:
        below = queries.interrupt(caller, session, None, below)
        stopped.append(list(Run.objects.filter(status="cancelled").order_by("number").values_list("number", flat=True)))
        if below is None:
            break
        if len(stopped) == 1:  # what is sent meanwhile is no matter of this frame
            runs.start(runs.NewRun(user=admin_user, message="x", trigger=Run.Trigger.API, **options))
    assert stopped == [[3], [2, 3], [1, 2, 3], [1, 2, 3]]
    assert Run.objects.filter(status="queued").count() == 1


@pytest.mark.slow
@pytest.mark.both
def test_a_frame_stops_all_runs_of_a_session_however_many(open_chat, agent, model, name):
    agent([{"text": "a"}, {"wait": name}])
    chat = open_chat(name)
    try:
        for _ in range(30):
            chat.say("hi", agent_name=name)
        chat.until_text("a")
        chat.send("interrupt")
        ends = [chat.until("reasoning_complete")["data"]["status"] for _ in range(30)]
    finally:
        model.release(name)
    assert set(ends) == {"cancelled"}


# Tasks


@pytest.mark.django_db
def test_a_user_has_so_many_tasks_and_none_every_second(client, settings, django_user_model):
    settings.AUTH_REQUIRED, settings.TASKS_PER_USER = True, 2
    Agent.objects.create(name="helper")
    _, token = ApiToken.objects.create(django_user_model.objects.create_user("plain"), name="t")
    _, bosses = ApiToken.objects.create(django_user_model.objects.create_superuser("boss"), name="t")

    def ask(method, path, key=token, **fields):
        headers = {"Authorization": f"Bearer {key}"}
        return getattr(client, method)(path, fields, "application/json", headers=headers)

    task = {"name": "n", "agent_name": "helper", "task_prompt": "x", "schedule_type": "interval"}
    often = ask("post", "/v1/tasks", **task, schedule_value="59")
    assert (often.status_code, often.json()["error"]["param"]) == (400, "schedule_value"), often.json()
    made = ask("post", "/v1/tasks", **task, schedule_value="60")
    assert made.status_code == 201
    changed = ask("patch", f"/v1/tasks/{made.json()['id']}", schedule_value="1")
    assert (changed.status_code, changed.json()["error"]["param"]) == (400, "schedule_value")
    cron = task | {"schedule_type": "cron"}
    assert ask("post", "/v1/tasks", **cron, schedule_value="* * * * *").status_code == 201
    assert ask("post", "/v1/tasks", **task, schedule_value="60").json()["error"]["code"] == "too_many_tasks"
    for _ in range(3):
        assert ask("post", "/v1/tasks", bosses, **task, schedule_value="1").status_code == 201


@pytest.mark.django_db
@pytest.mark.parametrize("is_administrator", [False, True])
def test_a_run_has_no_more_time_or_tokens_than_its_agent_unless_an_administrator_says_so(
    django_user_model, is_administrator
):
    user = django_user_model.objects.create_user("user", is_superuser=is_administrator)
    agent = Agent.objects.create(name="helper", timeout=2, max_tokens=10)
    fields = {"name": "t", "task_prompt": "x", "schedule_type": "interval", "schedule_value": "60"}
    task = ScheduledTask.objects.create(owner=user, agent=agent, timeout=86_400, **fields)
    scheduler_starting.run_now(task, trigger=Run.Trigger.API)
    more, less = {"max_tokens": 1_000_000, "top_p": 0.5}, {"max_tokens": 3}
    for parameters in (more, less):
        options = Overrides(timeout=1, parameters=parameters)
        runs.start(runs.NewRun(user=user, agent_name="helper", message="x", trigger=Run.Trigger.API, overrides=options))
    long, large, small = [run.overrides for run in Run.objects.order_by("created_at")]
    assert long.timeout == (86_400 if is_administrator else 2)
    assert (large.timeout, small) == (1, Overrides(timeout=1, parameters=less))
    assert large.parameters == (more if is_administrator else {"max_tokens": 10, "top_p": 0.5})


# Counting


def test_while_redis_is_away_this_process_counts_alone(monkeypatch):
    def away(*_: object, **__: object) -> None:
        raise RedisAway("gone")

    monkeypatch.setattr(shared_cache._cache("default"), "incr", away)
    monkeypatch.setattr(shared_cache._Redis, "retry_at", 0.0)
    for _ in range(3):
        counters.take("things", "me", limit=3)
    with pytest.raises(RateLimited) as caught:
        counters.take("things", "me", limit=3)
    assert 0 < caught.value.retry_after <= 60


@pytest.mark.django_db
def test_counting_what_waits_does_not_read_what_has_ended(admin_user):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL chooses by what there is")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {admission._QUEUED}", [admin_user.pk])
        plan = [row[-1] for row in cursor.fetchall()]
    assert plan[0].endswith(("USING INDEX run_unfinished", "USING INDEX run_by_status (status=?)")), plan


def test_counting_uses_one_client_in_all_contexts(monkeypatch):
    """Django's caches are one per context: each count of a socket had its own, with a new connection to Redis."""
    made: list[str] = []
    create = caches.create_connection
    monkeypatch.setattr(caches, "create_connection", lambda alias: made.append(alias) or create(alias))
    shared_cache._cache.cache_clear()
    for _ in range(3):
        contextvars.Context().run(counters.take, "things", "her", limit=10)
    assert made == ["default"]
