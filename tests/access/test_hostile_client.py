"""A hostile client's afternoon. While it lasts, somebody else's answer streams on, and the server's memory stays flat.

What each door refuses by itself is in the tests of that door (`test_bad_input`, `test_auth`, `test_ws_tickets`,
`test_addresses`); here somebody who means it does all of it, in numbers.
"""

import contextlib
import http.client
import json
import os
import re
import select
import socket
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.harness.chat import Chat
from tests.harness.clocked import Clocked
from tests.harness.fakes.site import Site
from tests.harness.people import PASSWORD, Person, close_code, invite
from tests.harness.product import Product
from tests.harness.wait import until

T = TypeVar("T")
GUESSES = int(os.environ.get("GUESSES", "150"))  # 10,000 take half a minute
LOGIN_FAILURES = 10
SOCKETS = 40  # of one user
FRAMES = 1000  # of one socket in a minute
PATIENCE = 8  # seconds for a whole request
MOST_GROWTH = 80  # megabytes
LONGEST_PAUSE = 15.0  # seconds in which the bystander may hear nothing
FLOW = "".join(f"{number:05d} " for number in range(4000))


@pytest.fixture(scope="module")
def fortress(tmp_path_factory) -> Iterator[Clocked]:
    limits = {
        "LOGIN_FAILURES": str(LOGIN_FAILURES),
        "SOCKETS_PER_USER": str(SOCKETS),
        "FRAMES_PER_MINUTE": str(FRAMES),
        "REQUEST_TIMEOUT": str(PATIENCE),
        "REQUESTS_PER_MINUTE_PER_ADDRESS": "0",
    }
    with Clocked(tmp_path_factory.mktemp("fortress"), AUTH_REQUIRED="true", **limits) as product:
        yield product
        product.stop()
        assert "Traceback" not in product.logged(), product.logged()[-5000:]


@pytest.fixture(scope="module")
def people(fortress) -> dict[str, Person]:
    return invite(fortress, "boss", "ann", "eve")


@pytest.fixture
def eve(people) -> Person:
    """She has an account, and means no good."""
    return people["eve"]


@pytest.fixture(autouse=True)
def bystander(fortress, people, model, name) -> Iterator[None]:
    """Ann's answer streams throughout: without a gap, without a long pause, and whole for whoever reads it again."""
    model.script(name, [[{"text": FLOW, "chunk": 6, "delay": 0.1}]])
    people["boss"].add_agent(name, model.base_url)
    process = psutil.Process(fortress.pid)
    chat = people["ann"].chat(name, after=0)
    chat.say("go on", agent_name=name)
    chat.until("reasoning_delta")
    before = process.memory_info().rss
    listening = Listening(chat)
    yield
    listening.stop()
    assert (process.memory_info().rss - before) / 2**20 < MOST_GROWTH
    assert listening.longest_pause < LONGEST_PAUSE
    ((_, heard),) = chat.fold.story()
    assert heard
    assert FLOW.startswith(heard)
    again = people["ann"].chat(name, after=0)
    again.until("reasoning_complete")
    assert again.fold.story() == chat.fold.story()
    again.close()
    chat.close()


class Listening:
    """Reads a chat in a thread, and knows the longest pause."""

    def __init__(self, chat: Chat) -> None:
        self.longest_pause = 0.0
        self._chat = chat
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        at = time.monotonic()
        while self._chat.next()["type"] != "reasoning_complete":
            now = time.monotonic()
            self.longest_pause = max(self.longest_pause, now - at)
            at = now

    def stop(self) -> None:
        """Stop the run, and hear its end."""
        self._chat.send("interrupt")
        self._thread.join(30)
        assert not self._thread.is_alive()


def connection(product: Product) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", product.port, timeout=60)


def raw(product: Product, data: bytes) -> socket.socket:
    """A connection on which this was sent, and nothing else yet."""
    opened = socket.create_connection(("127.0.0.1", product.port), timeout=60)
    opened.sendall(data)
    return opened


def heard(opened: socket.socket) -> bytes:
    """All that comes until the server closes the connection, or a socket in it: it waits five seconds for our close."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while not _has_closing_frame(received) and (piece := opened.recv(4096)):
            received += piece
    return received


def _has_closing_frame(received: bytes) -> bool:
    head, _, frames = received.partition(b"\r\n\r\n")
    while b" 101 " in head and len(frames) >= 4:
        length, start = (int.from_bytes(frames[2:4], "big"), 4) if frames[1] == 126 else (frames[1], 2)
        if frames[0] == 0x88 and len(frames) >= start + length:
            return True
        frames = frames[start + length :]
    return False


def at_once(work: Callable[[int], object], times: int, threads: int = 20) -> list[object]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(times)))


# Signing in


@pytest.mark.slow
def test_guessing_passwords_by_the_hundred(fortress, people):
    """Many at the same moment are no way around the limit; and nobody else waits for it."""
    with contextlib.closing(connection(fortress)) as door:
        door.request("GET", "/accounts/login/")
        answer = door.getresponse()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', answer.read().decode())[1]
        cookie = answer.headers["Set-Cookie"].split(";")[0]
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie, "Origin": fortress.url}

    def guess(number: int) -> list[int]:
        codes = []
        with contextlib.closing(connection(fortress)) as door:
            for attempt in range(GUESSES // 20):
                fields = {"csrfmiddlewaretoken": token, "username": "ann", "password": f"guess {number} {attempt}"}
                door.request("POST", "/accounts/login/", urllib.parse.urlencode(fields), headers)
                codes.append(_drained(door))
        return codes

    fortress.begin_window(900)
    codes = Counter(code for listed in at_once(guess, 20) for code in listed)
    assert codes == {200: LOGIN_FAILURES, 429: GUESSES // 20 * 20 - LOGIN_FAILURES}
    right = {"csrfmiddlewaretoken": token, "username": "ann", "password": PASSWORD}
    with contextlib.closing(connection(fortress)) as door:
        door.request("POST", "/accounts/login/", urllib.parse.urlencode(right), headers)
        assert _drained(door) == 429, "not even the right one, and so nobody learns which it is"
    assert people["ann"].request("GET", "/v1/sessions")[0] == 200


def _drained(door: http.client.HTTPConnection) -> int:
    answer = door.getresponse()
    answer.read()
    return answer.status


@pytest.mark.slow
def test_tickets_that_were_used_or_taken_back(fortress, eve, name):
    _, made = eve.request("POST", "/v1/tokens", {"name": name})
    thief = Person(fortress, "thief", made["token"])
    tickets = [thief.request("POST", "/v1/ws-tickets")[1]["ticket"] for _ in range(3)]
    url = fortress.socket_url(f"{name}-eve")

    def show(ticket: str) -> int | None:
        return close_code(url, {}, ["agent.v1", f"ticket.{ticket}"])

    assert Counter(at_once(lambda _: show(tickets[0]), 20)) == {None: 1, 4401: 19}
    assert eve.request("DELETE", f"/v1/tokens/{made['id']}")[0] == 204
    assert [show(ticket) for ticket in tickets[1:]] == [4401, 4401]
    assert thief.close_code(f"{name}-eve") == 4401
    assert thief.request("GET", "/v1/sessions")[0] == 401
    guesses = [f"aintandem_{number:064x}" for number in range(200)]
    codes = at_once(lambda number: Person(fortress, "", guesses[number]).request("GET", "/v1/sessions")[0], 200)
    assert set(codes) == {401}


OTHERS = [
    ({"Origin": "https://evil.example"}, 403, 4403),
    ({"Origin": "null"}, 403, 4403),
    ({"Host": "evil.example"}, 400, 4403),
    ({"Host": "evil.example", "Origin": "http://evil.example"}, 400, 4403),
    ({"Host": "127.0.0.1.evil.example"}, 400, 4403),
    ({"Host": "localhost@evil.example"}, 400, None),
]


def test_pages_and_names_of_others(fortress, people, name):
    """With the very token of an administrator: whose page it is, or under which name we were reached, is not ours."""
    boss = people["boss"]
    for headers, status, code in OTHERS:
        with contextlib.closing(connection(fortress)) as door:
            sent = {"Content-Type": "application/json", **boss.headers, **headers}
            door.request("POST", "/v1/agents", json.dumps({"name": name + "-x"}), sent)
            assert _drained(door) == status, headers
        if code:
            upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
            upgrade |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Host": "localhost", **boss.headers, **headers}
            head = "".join(f"{key}: {value}\r\n" for key, value in upgrade.items())
            with raw(fortress, f"GET /ws/chat/{name} HTTP/1.1\r\n{head}\r\n".encode()) as opened:
                received = heard(opened)
            assert code.to_bytes(2, "big") in received, headers
            assert b'"connected"' not in received, headers


# Too much


@pytest.mark.slow
def test_clients_that_never_finish_a_sentence(fortress, eve, name):
    """Half a head, half a body, half a frame, each with a byte now and then; and sockets that ignore their close."""
    head = f"POST /v1/tokens HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {eve.token}\r\n".encode()
    body = head + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    chunked = head + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
    slow = [raw(fortress, begun) for begun in (b"G", head, body, chunked) for _ in range(50)]
    half = [eve.chat(f"{name}-{number}") for number in range(SOCKETS // 2)]
    for chat in half:
        chat.socket.socket.sendall(b"\x81\xfe\xff")  # a frame of 65 kB, it says
    stubborn = [raw(fortress, _upgrade(name)) for _ in range(50)]  # nobody, so they are closed, and do not answer
    waiting, until = set(slow), time.monotonic() + 10 * PATIENCE
    while waiting and time.monotonic() < until:
        readable, _, _ = select.select(list(waiting), [], [], 0.2)
        waiting -= {each for each in waiting if not _goes_on(each, each in readable)}
        start = time.monotonic()
        assert eve.request("GET", "/v1/tokens")[0] == 200
        assert time.monotonic() - start < LONGEST_PAUSE
    assert not waiting, "a byte now and then is not patience for ever"
    for chat in half:
        with contextlib.suppress(OSError):  # the server may have been first
            chat.socket.socket.shutdown(socket.SHUT_RDWR)  # a close frame would only be more of the half one
        chat.close()
    for each in [*slow, *stubborn]:
        each.close()
    fine = eve.chat(f"{name}-0")
    fine.send("ping", timestamp=1)
    assert fine.until("pong")["data"]["timestamp"] == 1
    fine.close()


def _goes_on(opened: socket.socket, is_readable: bool) -> bool:
    """Whether the server keeps the connection. A byte more is sent, so that it cannot be called idle."""
    try:
        opened.sendall(b"x")
        return not is_readable or bool(opened.recv(4096))
    except OSError:
        return False


def _upgrade(session: str) -> bytes:
    return (
        f"GET /ws/chat/{session} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def patiently(begin: Callable[[], T]) -> T:
    """Try for as long as the server has not heard of the end of the sockets before."""
    until = time.monotonic() + 30
    while True:
        try:
            return begin()
        except ConnectionClosed:
            assert time.monotonic() < until, "still refused"


@pytest.mark.slow
def test_floods_of_connections_and_frames(eve, name):
    name += "-eve"
    opened = [patiently(lambda: eve.chat(name)) for _ in range(SOCKETS)]

    def close_code(_: int) -> int | None:
        try:
            return eve.close_code(name)
        except (InvalidHandshake, OSError):  # that was not even answered
            return 1006

    codes = set(at_once(close_code, 100))
    assert 4429 in codes
    assert codes <= {4429, 1006}  # the latter where a rush lasts for longer than the server's patience
    flood = opened[0].socket
    for text in ('{"type": "ping"}', '{"type": "chat", "payload": {"message": ""}}', "[" * 1000, '{"type": "resume"}'):
        for _ in range(FRAMES // 4):
            flood.send(text)
        answers: Counter[str] = Counter()
        while answers.total() < FRAMES // 4:
            kind = json.loads(flood.recv(60))["type"]
            answers[kind] += kind != "ping"  # that one comes by itself
        answers = +answers
        assert answers in ({"pong": FRAMES // 4}, {"error": FRAMES // 4})
    for chat in opened:
        chat.close()
    while eve.close_code(name) is not None:  # the server hears of the end a moment later
        pass


DEEP = {
    "deep arrays": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "a huge number": '{"message": ' + "9" * 500_000 + "}",
    "a huge name": '{"' + "x" * 500_000 + '": 1}',
    "many names": "{" + ",".join(f'"{number}": 1' for number in range(60_000)) + "}",
    "no number": '{"message": NaN}',
    "half a character": '{"message": "\\ud800"}',
    "a list": json.dumps(["x"] * 200_000),
}


@pytest.mark.parametrize("body", DEEP.values(), ids=list(DEEP))
def test_huge_and_deep_json(fortress, eve, name, body):
    paths = (f"/v1/agents/{name}/runs", "/v1/tasks", "/v1/tokens", "/v1/chat/completions", "/v1/responses")
    for path in 3 * paths:  # what they leave behind adds up
        with contextlib.closing(connection(fortress)) as door:
            door.request("POST", path, body, {"Content-Type": "application/json", **eve.headers})
            answer = door.getresponse()
            text = answer.read()
            assert answer.status == 400, f"{path}: {answer.status} {text[:300]!r}"
            assert len(text) < 10_000, path
    chat = eve.chat(name + "-x")
    for frame in (body, f'{{"type": "chat", "payload": {body}}}', f'{{"type": {body}}}'):
        chat.socket.send(frame)
        assert chat.until("error")["data"]["code"] in ("invalid_json", "invalid_message")
        assert len(json.dumps(chat.others[-1])) < 2000
    chat.close()
    with contextlib.closing(connection(fortress)) as door, contextlib.suppress(ConnectionError):
        door.request("POST", paths[0], b" " * 3_000_000 + body.encode(), {**eve.headers})
        assert _drained(door) == 413


# Tricks


PATHS = (
    "..",
    ".",
    "%2e%2e",
    "%2E",
    "..%2f..%2fadmin",
    "a%00b",
    "%00",
    "a%2Fb",
    "a%5cb",
    "a%0d%0aX-Injected:%201",
    "%ff",
)


def test_session_ids_that_are_paths(fortress, eve, name):
    for trick in PATHS:
        head = _upgrade(trick).replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {eve.token}\r\n\r\n".encode())
        with raw(fortress, head) as opened:
            received = heard(opened)
        assert (4400).to_bytes(2, "big") in received or b" 400 " in received, received
        for path in (f"/v1/sessions/{trick}", f"/v1/sessions/{trick}/events", f"/v1/sessions/{trick}/runs"):
            with contextlib.closing(connection(fortress)) as door:
                door.request("GET", path, headers=eve.headers)
                answer = door.getresponse()
                text = answer.read().decode()
                assert answer.status in (400, 404), f"{path}: {answer.status}"
                assert "X-Injected" not in answer.headers, path
                assert "Traceback" not in text, path
        plain = urllib.parse.unquote(trick, errors="replace")
        status, answer = eve.request("POST", f"/v1/agents/{name}/runs", {"message": "hi", "session_id": plain})
        assert (status, answer["error"]["param"]) == (400, "session_id"), trick
        assert "neither '.' nor '..'" in answer["error"]["message"], trick
        chat = {"model": name, "messages": [{"role": "user", "content": "hi"}], "metadata": {"session_id": plain}}
        status, answer = eve.request("POST", "/v1/chat/completions", chat)
        assert (status, answer["error"]["param"]) == (400, "metadata.session_id"), trick


def test_headers_that_would_be_two(fortress, eve, name):
    """Line breaks in what comes back in a header: addresses, names, where the page to sign in leads."""
    line = "x%0d%0aX-Injected:%201"
    for path in (
        f"/v1/{line}",
        f"/chat/?session={line}",
        f"/accounts/login/?next=/{line}",
        f"/chat?{line}",
        f"/admin/{line}",
    ):
        with contextlib.closing(connection(fortress)) as door:
            door.request("GET", path, headers={**eve.headers, "X-Request-Id": "a\tb", "Idempotency-Key": "a\tb"})
            answer = door.getresponse()
            answer.read()
            assert answer.status < 500, path
            assert "X-Injected" not in answer.headers
    _, token = eve.request("POST", "/v1/tokens", {"name": "a\r\nX-Injected: 1"})
    assert token["name"] == "a\r\nX-Injected: 1"
    with contextlib.closing(connection(fortress)) as door:
        door.request("GET", "/accounts/login/?next=https://evil.example/")
        assert "evil.example" not in (door.getresponse().headers["Location"] or "")


# Requests in the server's name


ADDRESSES = (
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::1]:{port}/", "http://[::ffff:127.0.0.1]:{port}/",
    "http://0.0.0.0:{port}/", "http://2130706433:{port}/", "http://0x7f.1:{port}/", "http://127.1:{port}/",
    "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://evil@127.0.0.1:{port}/",
    "file:///etc/passwd", "gopher://127.0.0.1:{port}/", "http://127.0.0.1:{port}@evil.example/",
)  # fmt: skip


@pytest.fixture
def site() -> Iterator[Site]:
    """What is inside, and for nobody outside: it tells whether anybody connected."""
    with Site() as running:
        running.page("/", "inside", Content_Type="text/plain")
        yield running


def test_an_agent_fetches_nothing_from_inside(eve, people, model, site, name):
    urls = [address.format(port=site.port) for address in ADDRESSES]
    calls = [{"tool_call": {"name": "fetch_url", "arguments": {"url": url}}} for url in urls]
    model.script(f"{name}-fetch", [calls, [{"text": "done"}]])
    people["boss"].add_agent(f"{name}-fetch", model.base_url, builtin_tools=["fetch_url"])
    chat = eve.chat(f"{name}-fetch")
    assert chat.ask("fetch them", agent_name=f"{name}-fetch")["data"]["status"] == "completed"
    results = [frame["data"] for frame in chat.fold.of_type("reasoning_step") if frame["data"]["type"] == "tool_result"]
    assert len(results) == len(urls)
    assert all(result["is_error"] for result in results), results
    assert "inside" not in str(results)
    assert site.connections == 0
    chat.close()


@pytest.mark.slow
def test_a_webhook_tells_nobody_inside(eve, site, name):
    secret = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY="
    task = {
        "name": name,
        "agent_name": name,
        "task_prompt": "x",
        "schedule_type": "interval",
        "schedule_value": "86400",
    }
    status, made = eve.request("POST", "/v1/tasks", {**task, "webhook_url": site.url + "/", "webhook_secret": secret})
    assert status == 201, made
    status, run = eve.request("POST", f"/v1/tasks/{made['id']}/run")
    assert status == 202
    assert eve.request("POST", f"/v1/runs/{run['run_id']}/cancel")[0] == 202

    def error() -> str:
        deliveries = eve.request("GET", f"/v1/tasks/{made['id']}/deliveries")[1]["data"]
        return deliveries[0]["error"] if deliveries else ""

    assert "private network" in until(error)
    assert site.connections == 0


def test_providers_and_servers_are_set_up_by_administrators_alone(eve, site):
    for path, body in (
        ("/v1/providers", {"name": "inside", "kind": "openai", "base_url": site.url}),
        ("/v1/mcp-servers", {"name": "inside", "transport": "streamable_http", "url": site.url}),
        ("/v1/mcp-servers", {"name": "inside", "transport": "stdio", "command": "/bin/sh", "args": ["-c", "id"]}),
    ):
        assert eve.request("POST", path, body)[0] == 403
        assert eve.request("POST", f"{path}/inside/check")[0] == 403
    assert site.connections == 0


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/v1", "http://[fd00:ec2::254]/v1", "http://100.100.100.200/"]
)
def test_not_even_administrators_send_us_where_clouds_keep_secrets(people, name, address):
    boss = people["boss"]
    status, answer = boss.request("POST", "/v1/providers", {"name": name, "kind": "openai", "base_url": address})
    assert (status, answer["error"]["param"]) == (400, "base_url")
    status, answer = boss.request("POST", "/v1/mcp-servers", {"name": name, "transport": "sse", "url": address})
    assert (status, answer["error"]["param"]) == (400, "url")
