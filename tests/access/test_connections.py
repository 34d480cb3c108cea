"""Connections of strangers: however many they open, and however slowly they send, others get in."""

import contextlib
import http.client
import json
import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from agents_app.server import descriptors
from tests.harness.people import Person, invite
from tests.harness.product import Product
from tests.harness.wait import until

PER_PROCESS, PER_ADDRESS = 60, 40
HEAD_TIMEOUT = 4  # seconds


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[Product]:
    limits = {
        "CONNECTIONS_PER_PROCESS": str(PER_PROCESS),
        "CONNECTIONS_PER_ADDRESS": str(PER_ADDRESS),
        "REQUEST_HEAD_TIMEOUT": str(HEAD_TIMEOUT),
        "SOCKETS_PER_USER": "3",
    }
    with Product(tmp_path_factory.mktemp("guarded") / "var", AUTH_REQUIRED="true", **limits) as product:
        yield product
        product.stop()
        assert "Traceback" not in product.logged(), product.logged()[-5000:]


@pytest.fixture(scope="module")
def people(guarded) -> dict[str, Person]:
    return invite(guarded, "boss", "ann", "eve")


@pytest.fixture
def connect(guarded) -> Iterator:
    """Open connections from an address of this machine, all closed at the end."""
    with contextlib.ExitStack() as stack:

        def open_one(address: str = "127.0.0.1", data: bytes = b"") -> socket.socket:
            opened = socket.create_connection(("127.0.0.1", guarded.port), timeout=30, source_address=(address, 0))
            stack.enter_context(opened)
            opened.sendall(data)
            return opened

        yield open_one


def is_closed(opened: socket.socket, seconds: float = 0.0) -> bool:
    """Whether the server closes the connection in that time."""
    opened.settimeout(seconds)
    try:
        return opened.recv(1) == b""
    except (BlockingIOError, TimeoutError):
        return False
    except ConnectionError:
        return True


def status_from(product: Product, address: str) -> int:
    opened = http.client.HTTPConnection("127.0.0.1", product.port, timeout=30, source_address=(address, 0))
    with contextlib.closing(opened):
        opened.request("GET", "/healthz")
        return opened.getresponse().status


def test_a_form_of_nobody_is_not_parsed_by_the_server_itself(guarded):
    """daphne would parse it in the event loop, and refuse one without a boundary before anybody is asked."""
    opened = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=30)
    with contextlib.closing(opened):
        opened.request("POST", "/v1/runs", b"x" * 1000, {"Content-Type": "multipart/form-data"})
        answer = opened.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (401, "not_authenticated")


def test_no_client_says_below_which_path_the_server_is(guarded):
    """daphne takes a header for that: rules of a proxy, such as those of `/admin/`, would not see the path."""
    opened = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=30)
    with contextlib.closing(opened):
        opened.request("GET", "/elsewhere/v1/info", headers={"Daphne-Root-Path": "/elsewhere"})
        assert opened.getresponse().status == 404


def test_idle_connections_make_room_for_those_that_say_something(guarded, people, connect, name):
    """More of them than there is room for, from many addresses; the oldest go, and a socket of a user stays."""
    chat = people["ann"].chat(name)
    idle = [connect(f"127.0.0.{number % 5 + 2}", b"GET /") for number in range(2 * PER_PROCESS)]
    assert people["ann"].request("GET", "/v1/sessions")[0] == 200
    until(lambda: sum(is_closed(each) for each in idle[:PER_PROCESS]) == PER_PROCESS)
    assert not any(is_closed(each) for each in idle[-10:])
    chat.send("ping", timestamp=1)
    assert chat.until("pong")
    chat.close()


def test_an_address_has_only_so_many_connections(guarded, connect):
    for _ in range(PER_ADDRESS):
        connect("127.0.0.9")
    assert is_closed(connect("127.0.0.9"), 10)
    assert status_from(guarded, "127.0.0.10") == 200
    assert "127.0.0.9 has 40 open (CONNECTIONS_PER_ADDRESS)" in guarded.logged()
    until(lambda: _is_served(guarded, "127.0.0.9"))  # as soon as the time for a head is over


def _is_served(product: Product, address: str) -> bool:
    try:
        return status_from(product, address) == 200
    except (OSError, http.client.HTTPException):
        return False


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a head"])
def test_a_head_has_a_time_and_bytes_do_not_extend_it(guarded, connect, begin):
    slow, began = connect("127.0.0.11", begin), time.monotonic()
    while not is_closed(slow, 0.2):
        assert time.monotonic() < began + 3 * HEAD_TIMEOUT
        with contextlib.suppress(OSError):
            slow.sendall(b"x" if begin else b"")
    assert time.monotonic() > began + HEAD_TIMEOUT - 1


def test_a_connection_that_was_kept_alive_may_be_used_again_later(guarded):
    opened = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=30, source_address=("127.0.0.12", 0))
    with contextlib.closing(opened):
        for _ in range(2):
            opened.request("GET", "/healthz")
            response = opened.getresponse()
            response.read()
            assert response.status == 200
            kept = opened.sock
            assert not is_closed(kept, HEAD_TIMEOUT + 1)
            kept.settimeout(30)
            assert opened.sock is kept


def test_streams_and_long_waits_of_a_user_count_like_sockets(guarded, people, model, name):
    """A socket, a stream of events and a request that waits for its answer are all that SOCKETS_PER_USER allows."""
    ann, eve = people["ann"], people["eve"]
    model.script(name, [[{"text": "a"}, {"wait": name}]])
    people["boss"].add_agent(name, model.base_url)
    chat = eve.chat(name)
    chat.say("hi", agent_name=name)
    chat.until_text("a")
    completion = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
    events = f"/v1/sessions/{name}/events"
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    more = {
        events: ("GET", None, {"Accept": "text/event-stream"}),
        "/v1/chat/completions": ("POST", completion, {}),
        "/v1/responses": ("POST", {"model": name, "input": "hi"}, {}),
        "/mcp": ("POST", call, {"Accept": "application/json, text/event-stream"}),
    }
    with contextlib.ExitStack() as stack:
        streaming = stack.enter_context(contextlib.closing(_begin(eve, "GET", events, None, more[events][2])))
        assert streaming.getresponse().read(8) == b": ping\n\n"
        waiting = stack.enter_context(contextlib.closing(_begin(eve, "POST", "/v1/chat/completions", completion)))
        until(lambda: len(eve.request("GET", "/v1/runs?status=running")[1]["data"]) == 2)
        for path, (method, body, headers) in more.items():
            status, answer = eve.request(method, path, body, **headers)
            assert (status, answer["error"]["code"]) == (429, "rate_limited"), path
            assert "3 sockets and streams open" in answer["error"]["message"]
        assert eve.close_code(f"{name}-2") == 4429
        assert ann.request("GET", "/v1/sessions")[0] == 200
        assert ann.close_code(f"{name}-ann") is None
        model.release(name)
        assert waiting.getresponse().status == 200
    until(lambda: _is_allowed(eve, f"{name}-2") and _is_allowed(eve, f"{name}-3"))
    chat.close()


def _begin(person: Person, method: str, path: str, body: Any, headers: Any = ()) -> http.client.HTTPConnection:
    opened = http.client.HTTPConnection("127.0.0.1", person.product.port, timeout=60)
    sent = {"Content-Type": "application/json", **person.headers, **dict(headers)}
    opened.request(method, path, body and json.dumps(body), sent)
    return opened


def _is_allowed(person: Person, session: str) -> bool:
    return person.close_code(session) is None


def test_without_descriptors_the_server_waits_and_goes_on(guarded):
    process = psutil.Process(guarded.pid)
    assert _is_served(guarded, "127.0.0.13")
    before = resource.prlimit(guarded.pid, resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        resource.prlimit(guarded.pid, resource.RLIMIT_NOFILE, (process.num_fds(), before[1]))
        try:
            for _ in range(30):
                stack.enter_context(socket.create_connection(("127.0.0.1", guarded.port), timeout=30))
            used = sum(process.cpu_times()[:2])
            until(lambda: "Cannot accept connections for a moment" in guarded.logged())
            began = time.monotonic()
            until(lambda: time.monotonic() > began + 2)
            assert sum(process.cpu_times()[:2]) - used < 1, "it spins"
        finally:
            resource.prlimit(guarded.pid, resource.RLIMIT_NOFILE, before)
    assert until(lambda: _is_served(guarded, "127.0.0.13"))


def test_a_start_raises_the_limit_of_open_files_and_says_if_that_is_too_low(settings, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    settings.SOCKETS_PER_PROCESS, settings.WORKER_CONCURRENCY = 10, 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        descriptors.raise_limit.__wrapped__()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert raised == min(hard, descriptors._MOST)
        assert not caplog.messages
        settings.SOCKETS_PER_PROCESS = raised
        descriptors.raise_limit.__wrapped__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    [text] = caplog.messages
    assert f"enough for {raised - 400:,} connections, fewer than SOCKETS_PER_PROCESS ({raised:,})" in text
