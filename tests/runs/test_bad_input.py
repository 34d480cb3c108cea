"""Bad input: answered, with the socket alive. PROTOCOL, section 1."""

import contextlib
import http.client
import json
import resource
import socket
import sqlite3
import struct
import time

import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.harness.chat import Chat
from tests.harness.clocked import Clocked
from tests.harness.open_files import bytes_without_name
from tests.harness.product import Product

MIB = 2**20
EMOJI = "\N{GRINNING FACE}"


@pytest.fixture
def chat(agent, open_chat, name):
    """A socket whose agent answers at once."""
    return open_chat(name, agent_name=agent([{"text": "Still here"}]))


def answered(chat: Chat, text: str | bytes, *, is_text: bool = True) -> dict:
    """The error that this frame is answered with."""
    chat.socket.send(text, text=is_text)
    return chat.until("error", "reasoning_complete", "pong")


def assert_alive(chat: Chat) -> None:
    """The socket takes a good message."""
    assert chat.ask("Are you there?")["data"]["status"] == "completed"
    assert chat.fold.story()[-1] == ("final_answer", "Still here")


def frame(kind: str, **payload: object) -> str:
    return json.dumps({"type": kind, "payload": payload})


NOT_JSON = {
    "nothing": "",
    "a space": " ",
    "words": "hello",
    "half an object": '{"type": "chat"',
    "two objects": '{"type": "ping"}{"type": "ping"}',
    "single quotes": "{'type': 'ping'}",
    "a NaN": '{"type": "ping", "payload": {"timestamp": NaN}}',
    "a huge exponent": '{"type": "ping", "payload": {"timestamp": 1e999}}',
    "a lone surrogate": '{"type": "chat", "payload": {"message": "\\ud800"}}',
    "a byte order mark": '\ufeff{"type": "ping"}',
    "100,000 arrays": "[" * 100_000,
    "100,000 closed arrays": "[" * 100_000 + "]" * 100_000,
    "100,000 objects in the payload": '{"type":"chat","payload":' + '{"a":' * 100_000 + "1" + "}" * 100_001,
    "100,000 arrays in the message": '{"type":"chat","payload":{"message":' + "[" * 100_000 + "]" * 100_000 + "}}",
    "a control character": '{"type": "chat", "payload": {"message": "a\nb"}}',
    "a megabyte of nothing": " " * (MIB - 20),
}


@pytest.mark.parametrize("text", NOT_JSON.values(), ids=NOT_JSON)
def test_a_frame_that_is_not_json_is_an_error(chat, text):
    error = answered(chat, text)["data"]
    assert error["code"] == "invalid_json"
    assert len(error["message"]) < 200
    assert_alive(chat)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[]", None),
        ("null", None),
        ("7", None),
        ('"chat"', None),
        ("true", None),
        ("[{}]", None),
        ("{}", "type"),
        ('{"payload": {}}', "type"),
        ('{"type": null}', "type"),
        ('{"type": 7}', "type"),
        ('{"type": ["chat"]}', "type"),
        ('{"type": {"a": 1}}', "type"),
        ('{"type": ""}', "type"),
        ('{"type": "CHAT"}', "type"),
        ('{"type": "dispatch"}', "type"),
        ('{"type": "websocket.close"}', "type"),
        (json.dumps({"type": "x" * 100_000}), "type"),
        (frame("approve", tool_call_id="a", approved=True), "tool_call_id"),
        ('{"type": "chat", "payload": null}', "payload"),
        ('{"type": "chat", "payload": []}', "payload"),
        ('{"type": "chat", "payload": "hi"}', "payload"),
        ('{"type": "chat"}', "message"),
        ('{"type": "chat", "message": "not in the payload"}', "message"),
        (frame("chat"), "message"),
        (frame("chat", message=None), "message"),
        (frame("chat", message=""), "message"),
        (frame("chat", message=" \n\t\u00a0\u2003"), "message"),
        (frame("chat", message=7), "message"),
        (frame("chat", message=["hi"]), "message"),
        (frame("chat", message={"text": "hi"}), "message"),
        (frame("chat", message=True), "message"),
        (frame("chat", message="x" * 100_001), "message"),
        ('{"type": "chat", "payload": {"message": "' + EMOJI * 100_001 + '"}}', "message"),
        (frame("chat", message="a\x00b"), "message"),
        (frame("chat", message="hi", agent_name=7), "agent_name"),
        (frame("chat", message="hi", agent_name=["researcher"]), "agent_name"),
        (frame("chat", message="hi", agent_name="x" * 75), "agent_name"),
        (frame("chat", message="hi", agent_name="a\x00b"), "agent_name"),
        (frame("chat", message="hi", enable_reasoning="yes"), "enable_reasoning"),
        (frame("chat", message="hi", enable_reasoning=1), "enable_reasoning"),
        (frame("chat", message="hi", enable_reasoning=None), "enable_reasoning"),
        (frame("chat", message="hi", message_id=7), "message_id"),
        (frame("chat", message="hi", message_id="x" * 129), "message_id"),
        (frame("chat", message="hi", message_id="a\x00b"), "message_id"),
        (frame("chat", message="hi", if_busy="wait"), "if_busy"),
        (frame("chat", message="hi", if_busy=True), "if_busy"),
        (frame("chat", message="hi", if_busy=["reject"]), "if_busy"),
        (frame("chat", message="hi", if_busy=None), "if_busy"),
        (frame("interrupt", run_id=7), "run_id"),
        (frame("interrupt", run_id="not an id"), "run_id"),
        (frame("interrupt", run_id=""), "run_id"),
        (frame("interrupt", run_id="x" * 100_000), "run_id"),
        (frame("interrupt", run_id="../../etc"), "run_id"),
        (frame("interrupt", run_id="00000000-0000-0000-0000-000000000000"), "run_id"),
        (frame("resume"), "after"),
        (frame("resume", after=None), "after"),
        (frame("resume", after=-1), "after"),
        (frame("resume", after=1.0), "after"),
        (frame("resume", after=True), "after"),
        (frame("resume", after="1"), "after"),
        (frame("resume", after=2**63), "after"),
        (frame("resume", after=10**30), "after"),
        (frame("ping", timestamp="now"), "timestamp"),
        (frame("ping", timestamp=True), "timestamp"),
        (frame("ping", timestamp=[1]), "timestamp"),
    ],
    ids=lambda value: str(value)[:80],
)  # fmt: skip
def test_what_is_wrong_is_named(chat, text, field):
    error = answered(chat, text)["data"]
    assert error["code"] == "invalid_message"
    assert error.get("field") == field
    assert len(error["message"]) < 200
    assert_alive(chat)


@pytest.mark.parametrize("who", ["nobody-at-all", "../etc", "' OR 1=1 --", "Agent\nname", "ａｓｓｉｓｔａｎｔ", "%00"])
def test_an_agent_that_is_not_there(chat, who):
    error = answered(chat, frame("chat", message="hi", agent_name=who))["data"]
    assert error["code"] == "agent_not_found"
    assert_alive(chat)


def test_an_agent_that_is_disabled(chat, product, model, name):
    product.add_agent(f"{name}-off", model.base_url, enabled=False)
    error = answered(chat, frame("chat", message="hi", agent_name=f"{name}-off"))["data"]
    assert error["code"] == "agent_not_found"
    assert_alive(chat)


@pytest.mark.parametrize("message", ["x" * 100_000, EMOJI * 100_000, " x ", "\u202e\u0301\U000e0001"])
def test_what_is_odd_and_allowed_is_taken(chat, message):
    chat.socket.send(json.dumps({"type": "chat", "payload": {"message": message}}, ensure_ascii=False))
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert chat.fold.of_type("reasoning_start")[-1]["data"]["message"] == message
    assert_alive(chat)


def test_unknown_fields_are_ignored(chat):
    names = {
        "type": "chat",
        "payload": {"message": "hi", "colour": "red", "run_id": 7},
        "version": 2,
        "data": [],
    }
    assert answered(chat, json.dumps(names))["type"] == "reasoning_complete"
    assert answered(chat, '{"type": "ping", "payload": {"x": 1}, "y": 2}')["type"] == "pong"
    assert_alive(chat)


def test_empty_values_mean_none(chat):
    names = frame("chat", message="hi", agent_name=None, message_id=None)
    assert answered(chat, names)["type"] == "reasoning_complete"
    chat.send("interrupt", run_id=None)
    assert_alive(chat)


def test_interrupting_what_has_ended_is_nothing_special(chat):
    run_id = chat.ask("hi")["run_id"]
    chat.send("interrupt", run_id=run_id)
    chat.send("interrupt")
    assert answered(chat, frame("ping", timestamp=1))["type"] == "pong"
    assert_alive(chat)


def test_a_run_of_another_session_cannot_be_interrupted_from_here(chat, agent, product, open_chat, model, name):
    model.script(f"{name}-b", [[{"text": "busy"}, {"wait": name}, {"text": " done"}]])
    product.add_agent(f"{name}-b", model.base_url)
    other = open_chat(f"{name}-b", agent_name=f"{name}-b")
    other.say("hi")
    other.until_text("busy")
    run_id = other.fold.frames[0]["run_id"]
    error = answered(chat, frame("interrupt", run_id=run_id))["data"]
    assert (error["code"], error["field"]) == ("invalid_message", "run_id")
    model.release(name)
    assert other.until("reasoning_complete")["data"]["status"] == "completed"


@pytest.mark.parametrize("data", [b"", b"\x00\x01", b'{"type": "ping"}', b"x" * 500_000])
def test_binary_frames_are_answered(chat, data):
    assert answered(chat, data, is_text=False)["data"]["code"] == "invalid_message"
    assert_alive(chat)


def test_a_message_may_come_in_fragments(chat):
    whole = json.dumps({"type": "chat", "payload": {"message": EMOJI * 5000}}, ensure_ascii=False).encode()
    chat.socket.send((whole[at : at + 71] for at in range(0, len(whole), 71)), text=True)
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert chat.fold.of_type("reasoning_start")[-1]["data"]["message"] == EMOJI * 5000
    assert_alive(chat)


def test_text_that_is_not_utf8_closes_this_socket_and_no_other(chat, open_chat, name):
    bad = open_chat(name)
    bad.socket.send(b'{"type": "\xff\xfe"}', text=True)
    assert bad.close_code() == 1007
    assert_alive(chat)


@pytest.mark.parametrize("kind", ["one frame", "fragments", "binary"])
def test_a_message_over_1_mib_closes_this_socket_and_no_other(agent, open_chat, model, name, kind):
    who = agent([{"text": "be"}, {"wait": name}, {"text": "fore"}])
    other, bad = open_chat(name), open_chat(name)
    other.say("hi", agent_name=who)
    other.until_text("be")
    huge = "x" * (2 * MIB)
    with contextlib.suppress(ConnectionClosed):
        if kind == "fragments":
            bad.socket.send(huge[at : at + 50_000] for at in range(0, len(huge), 50_000))
        else:
            bad.socket.send(huge.encode(), text=kind != "binary")
    assert bad.close_code() == 1009
    model.release(name)
    assert other.until("reasoning_complete")["data"]["status"] == "completed"
    assert other.fold.story() == [("final_answer", "before")]


def test_500_frames_at_once_are_answered_in_order(agent, open_chat, name):
    who = agent([{"text": "ok"}])
    chat = open_chat(name, agent_name=who)
    expected = []
    for number in range(500):
        if number % 50 == 0:
            chat.say(f"good {number}", message_id=str(number))
        elif number % 2:
            chat.send("ping", timestamp=number)
            expected.append(("pong", number))
        else:
            chat.socket.send(frame(f"odd-{number}"))
            expected.append(("error", f"odd-{number}"))
    ended, answers = 0, []
    while ended < 10 or len(answers) < len(expected):
        got = chat.next()
        ended += got["type"] == "reasoning_complete"
        if "seq" not in got and got["type"] != "ping":  # that one comes by itself
            answers.append(got)
    for (kind, what), got in zip(expected, answers, strict=True):
        assert got["type"] == kind
        assert got["data"]["timestamp"] == what if kind == "pong" else what in got["data"]["message"]
    assert [f["data"]["message"] for f in chat.fold.of_type("reasoning_start")] == [
        f"good {number}" for number in range(0, 500, 50)
    ]


def test_a_flood_does_not_fill_the_memory_and_delays_nobody_for_long(chat, open_chat, product, name):
    flood = open_chat(f"{name}-flood")
    process = psutil.Process(product.pid)
    before = process.memory_info().rss
    most, slowest = before, 0.0
    junk = "x" * 500_000
    for number in range(200):
        flood.socket.send(junk)
        if number % 20 == 0:
            began = time.monotonic()
            answered(chat, frame("ping"))
            slowest = max(slowest, time.monotonic() - began)
            most = max(most, process.memory_info().rss)
    for _ in range(200):
        assert flood.until("error")["data"]["code"] == "invalid_json"
    assert (most - before) / MIB < 60
    assert slowest < 20
    assert_alive(chat)


def test_chat_that_is_too_fast_is_told_when_to_come_back(tmp_path, model, name):
    model.script(name, [[{"text": "ok"}]])
    with Clocked(tmp_path, CHAT_RATE_PER_MINUTE="1") as product:
        product.add_agent(name, model.base_url)
        with contextlib.closing(Chat(product.socket_url(name, agent_name=name))) as chat:
            product.begin_window()
            assert chat.ask("The only one")["data"]["status"] == "completed"
            for number in range(2):
                chat.say(f"message {number}")
                refused = chat.until("error")["data"]
                assert refused["code"] == "rate_limited"
                assert 0 < refused["retry_after"] <= 60
            chat.send("ping")
            chat.until("pong")
            chat.socket.send("bad input is no chat")
            assert chat.until("error")["data"]["code"] == "invalid_json"


# Who is let in


def close_code(url: str, **options: object) -> int:
    """The code with which a socket is closed after it was accepted."""
    with connect(url, open_timeout=60, **options) as websocket:
        try:
            while json.loads(websocket.recv(60))["type"] == "error":
                pass
        except ConnectionClosed as closed:
            return closed.rcvd.code
    return 0


@pytest.mark.parametrize(
    "session",
    ["", "a%2Fb", "a/b", "a/", "a//", "a%20b", "%20a", "a%00b", "a%0Ab", "a%0A", "%C3%A9", "%ff%fe",
     "%F0%9F%98%80", "a" * 129, "a%25b", "a%3Fb", "a%23b", "a@b", "a'b", "a%22b", "%3Cscript%3E", "a,b",
     "..%2F..%2Fetc%2Fpasswd", "a%5Cb", "*"],
)  # fmt: skip
def test_a_session_id_with_odd_characters_is_refused_after_accept(product, session):
    code = close_code(f"ws://127.0.0.1:{product.port}/ws/chat/{session}")
    assert code == (0 if session == "a/" else 4400)  # one slash at the end is forgiven, as everywhere


@pytest.mark.parametrize("session", ["a" * 128, "A.b:c-d_e", "0", "-", "...", "%41", "user:1234.tab-2"])
def test_a_session_id_of_the_allowed_characters_is_taken(product, session):
    assert close_code(f"ws://127.0.0.1:{product.port}/ws/chat/{session}") == 0


@pytest.mark.parametrize("after", ["-1", "1.0", "x", "", "1e3", "0x10", "%00", "9" * 30, "٣", "1%20", "+1", "true"])
def test_a_cursor_that_is_no_number_is_named_before_the_close(product, name, after):
    with connect(f"ws://127.0.0.1:{product.port}/ws/chat/{name}?after={after}", open_timeout=60) as websocket:
        if after == "":
            assert json.loads(websocket.recv(60))["type"] == "connected"  # as if it were not there
            return
        error = json.loads(websocket.recv(60))
        assert (error["type"], error["data"]["code"], error["data"]["field"]) == (
            "error",
            "invalid_message",
            "after",
        )
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(60)
        assert closed.value.rcvd.code == 4400


@pytest.mark.parametrize("query", ["agent_name=" + "x" * 75, "agent_name=a%00b"])
def test_an_agent_name_in_the_query_that_cannot_be_is_named_before_the_close(product, name, query):
    with connect(f"ws://127.0.0.1:{product.port}/ws/chat/{name}?{query}", open_timeout=60) as websocket:
        assert json.loads(websocket.recv(60))["data"]["field"] == "agent_name"


@pytest.mark.parametrize(
    "query", ["&&&==&=", "a=%ff&b", "%", "after=0&after=x", "x=" + "y" * 5000, "agent_name=%ff%fe"]
)
def test_an_odd_query_does_no_harm(product, name, query):
    assert close_code(f"ws://127.0.0.1:{product.port}/ws/chat/{name}?{query}") == 0


@pytest.mark.parametrize(
    "path",
    ["/", "/ws", "/ws/", "/ws/chat", "/ws/other/x", "/chat/", "/v1/runs", "/ws/chatx/y", "//ws/chat/a"],
)
def test_an_unknown_address_gets_a_close_code_and_no_broken_handshake(product, path):
    assert close_code(f"ws://127.0.0.1:{product.port}{path}") == 4400


def test_a_page_of_another_origin_may_not_connect(product, name):
    url = product.socket_url(name)
    for origin in (
        "http://evil.example",
        "https://127.0.0.1.evil.example",
        "null",
        "http://127.0.0.1:1",
        "file://",
    ):
        assert close_code(url, origin=origin) == 4403, origin
    for origin in (f"http://127.0.0.1:{product.port}", f"HTTP://127.0.0.1:{product.port}", None):
        assert close_code(url, origin=origin) == 0, origin


def handshake(product, headers: str, path: str = "/ws/chat/a") -> tuple[int, int]:
    """Status of a handshake written by hand, and the code that the socket is closed with, 0 if it is not."""
    request = f"GET {path} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}\r\n".replace(
        "PORT", str(product.port)
    )
    with socket.create_connection(("127.0.0.1", product.port), timeout=60) as connection:
        connection.sendall(request.encode("latin1"))
        with connection.makefile("rb") as answer:
            status = int((answer.readline().split() or [0, 0])[1])
            while answer.readline().strip():
                pass
            if status != 101:
                return status, 0
            kind, size = answer.read(2)
            return status, struct.unpack("!H", answer.read(size)[:2])[0] if kind & 15 == 8 else 0


KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


def test_a_name_that_was_made_to_lead_here_may_not_connect(product):
    assert handshake(product, f"Host: 127.0.0.1:PORT\r\n{KEY}") == (101, 0)
    assert handshake(product, f"Host: localhost:PORT\r\n{KEY}") == (101, 0)
    assert handshake(product, f"Host: evil.example\r\n{KEY}") == (101, 4403)
    assert handshake(product, f"Host: evil.example:PORT\r\nOrigin: http://evil.example:PORT\r\n{KEY}") == (
        101,
        4403,
    )
    assert handshake(product, f"Host: 127.0.0.1:PORT@evil.example\r\n{KEY}")[1] in (0, 4403)
    assert handshake(product, f"Host: 127.0.0.1:PORT\r\nOrigin: http://127.0.0.1:PORT\r\n{KEY}") == (101, 0)


@pytest.mark.parametrize("path", ["/ws/chat/a;b", "/ws/chat/a;b=c?after=0", "/ws/chat/;", "/ws/chat/a b"])
def test_what_follows_a_semicolon_is_no_other_session(product, path):
    assert handshake(product, f"Host: 127.0.0.1:PORT\r\n{KEY}", path=path) in ((101, 4400), (400, 0))


@pytest.mark.parametrize(
    "headers",
    [
        "",
        "Host: 127.0.0.1:PORT\r\n",
        "Host: 127.0.0.1:PORT\r\nSec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n",
        "Host: 127.0.0.1:PORT\r\n" + KEY.replace("Version: 13", "Version: 99"),
        f"Host: 127.0.0.1:PORT\r\nX-Long: {'x' * 100_000}\r\n{KEY}",
        f"Host: 127.0.0.1:PORT\r\nSec-WebSocket-Protocol: \xff,,;\r\n{KEY}",
        f"Host: 127.0.0.1:PORT\r\nX-\xff: a\r\n{KEY}",
        f"Host: 127.0.0.1:PORT\r\nOrigin: http://\xff\r\n{KEY}",
        f"Host: \xff\r\n{KEY}",
        f"Host: [::1\r\n{KEY}",
        f"Host: 127.0.0.1:x\r\n{KEY}",
        f"Host: 127.0.0.1:PORT\r\nOrigin: http://[::1\r\n{KEY}",
    ],
    ids=[
        "no host",
        "no key",
        "a short key",
        "another version",
        "a long header",
        "an odd protocol",
        "an odd header",
        "an odd origin",
        "an odd host",
        "half a host",
        "an odd port",
        "half an origin",
    ],
)
def test_a_handshake_that_is_none_is_refused_and_the_server_goes_on(product, chat, headers):
    status, code = 0, 0
    with contextlib.suppress(ConnectionError):
        status, code = handshake(product, headers)
    assert status in (0, 400, 426) or code == 4403
    with contextlib.suppress(ConnectionError):
        assert handshake(product, f"Host: 127.0.0.1:PORT\r\n{KEY}", path="/ws/chat/\xff") in (
            (0, 0),
            (400, 0),
        )
    assert_alive(chat)


# The same port speaks HTTP


def spoken_to(product, request: bytes) -> bytes:
    """What the server says to these bytes, up to when it hangs up or falls silent."""
    with socket.create_connection(("127.0.0.1", product.port), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
        with contextlib.suppress(OSError):  # hung up already
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                answer += piece
        return answer


HOST = b"Host: 127.0.0.1\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /%00%0d%0aX:1 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET //evil.example/%2e%2e HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /static/../../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /static/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 5000 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"No colon\r\n\r\n",
        b"POST /v1/agents HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
        b"POST /v1/agents HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n",
        b"POST /v1/agents HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /v1/agents HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/agents HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"BREW /chat/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET " + b"/a" * 40_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /v1/runs?" + b"a=b&" * 3000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
    ids=lambda request: repr(request[:60]),
)
def test_a_request_of_odd_shape_is_refused_and_the_server_goes_on(product, chat, request_bytes):
    answer = spoken_to(product, request_bytes)
    assert b"Traceback" not in answer
    assert b"root:" not in answer
    assert b"\r\nX:1" not in answer
    status = answer.split(b" ", 2)[1:2]
    assert status not in ([b"500"], [b"502"]), answer[:300]
    assert_alive(chat)


def test_a_name_with_line_breaks_does_not_reach_the_headers(product, name):
    answer = spoken_to(product, b"GET / HTTP/1.1\r\n" + HOST + b"X-Request-Id: a\rInjected: 1\r\n\r\n")
    assert b"\nInjected" not in answer
    assert b"\rInjected" not in answer


def test_a_body_of_10_mb_is_refused(product, chat):
    connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=20)
    status = 413
    with contextlib.closing(connection), contextlib.suppress(ConnectionError):
        connection.request("POST", "/v1/agents", b"x" * (10 * MIB), {"Content-Type": "application/json"})
        status = connection.getresponse().status
    assert status == 413
    assert_alive(chat)


@pytest.mark.parametrize("head", ["Content-Length: 8000000", "Transfer-Encoding: chunked"])
def test_a_long_body_is_refused_before_it_is_read_and_kept_nowhere(product, head):
    """Of nobody: Twisted writes bodies to files, which have no name but a size."""
    start = f"POST /v1/tokens HTTP/1.1\r\nHost: 127.0.0.1:{product.port}\r\n{head}\r\n\r\n".encode()
    part = b"x" * 1_100_000
    body = part if "Length" in head else f"{len(part):x}\r\n".encode() + part + b"\r\n"
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", product.port), timeout=30)) for _ in range(10)
        ]
        for each in sockets:
            each.sendall(start + body)
        for each in sockets:
            assert each.recv(4096).startswith(b"HTTP/1.1 413 ")
        assert bytes_without_name(product.pid) < 1_000_000


# A database that refuses


@contextlib.contextmanager
def locked(product: Product):
    """Another process writes, and does not come to an end."""
    file = product.var_dir / "db.sqlite3"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextlib.contextmanager
def full_disk(product: Product):
    """Nothing can be written any more: no file may grow beyond a few bytes."""
    before = resource.prlimit(product.pid, resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(product.pid, resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def hasty_product(tmp_path_factory):
    """A server that does not wait for long for its database."""
    with Product(tmp_path_factory.mktemp("hasty") / "var", DATABASE_TIMEOUT="1.5") as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [locked, full_disk])
def test_a_database_that_refuses_is_an_error_and_nothing_is_half_written(
    hasty_product, open_chat, model, name, trouble
):
    model.script(name, [[{"text": "At last"}]])
    hasty_product.add_agent(name, model.base_url)
    chat = open_chat(name, on=hasty_product, agent_name=name)
    with trouble(hasty_product):
        for _ in range(2):
            chat.say("hi", message_id="m1")
            error = chat.until("error")["data"]
            assert error["code"] == "storage_unavailable"
            assert "nothing was saved" in error["message"]
        chat.send("ping")
        chat.until("pong")
        assert hasty_product.request("GET", f"/v1/sessions/{name}")[0] == 404
        status, refused = hasty_product.request(
            "POST", f"/v1/agents/{name}/runs", {"message": "hi", "session_id": name}
        )
        assert (status, refused["error"]["type"]) == (503, "overloaded_error")
    end = chat.ask("hi", message_id="m1")
    assert end["data"]["status"] == "completed"
    assert chat.fold.story() == [("final_answer", "At last")]
    runs = hasty_product.request("GET", f"/v1/sessions/{name}/runs")[1]["data"]
    assert [run["status"] for run in runs] == ["completed"]


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [locked, full_disk])
def test_a_database_that_refuses_for_a_while_costs_a_run_only_time(hasty_product, open_chat, model, name, trouble):
    model.script(name, [[{"text": "before "}, {"wait": name}, {"text": "and after"}]])
    hasty_product.add_agent(name, model.base_url)
    chat = open_chat(name, on=hasty_product, agent_name=name, after=0)
    chat.say("hi")
    chat.until_text("before ")
    with trouble(hasty_product):
        model.release(name)
        chat.send("interrupt", run_id=chat.fold.frames[0]["run_id"])
        assert chat.until("error")["data"]["code"] == "storage_unavailable"
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert chat.fold.story() == [("final_answer", "before and after")]
    late = open_chat(name, on=hasty_product, after=0)
    late.until("reasoning_complete")
    assert late.fold.story() == chat.fold.story()
