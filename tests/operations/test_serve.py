"""`manage.py serve` and its like: how they start, what they refuse, how they end; clients that never read."""

import base64
import contextlib
import http.client
import http.cookiejar
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.harness import zygote
from tests.harness.chat import Chat
from tests.harness.crashable import back_again, call, check_whole, tools
from tests.harness.daemon import free_port
from tests.harness.paths import ROOT
from tests.harness.people import shell
from tests.harness.product import Product, copy_migrated_database
from tests.harness.wait import until

pytestmark = pytest.mark.slow

FINAL = "The end of the story."


@pytest.fixture
def product(running):
    """The server that these tests stop and start again, running."""
    return running


def send_signal(product, number=signal.SIGTERM):
    """Send it, and return when the server has begun to stop."""
    before = product.log.read_text().count("Stopping:")
    product.process.send_signal(number)
    until(lambda: product.log.read_text().count("Stopping:") > before or not product.is_alive)


def wait_for_exit(product, since, within):
    status = product.process.wait(timeout=within + 10)
    took = time.monotonic() - since
    print(f"stopped after {took:.2f} s")
    assert took < within, f"it took {took:.2f} s to stop"
    return status


OF_SESSION = "session_id IN (SELECT id FROM agents_app_session WHERE name = ?)"


def statuses(product, session):
    """The status of the session's runs, in a database that nobody serves."""
    with contextlib.closing(sqlite3.connect(product.var_dir / "db.sqlite3")) as database:
        rows = database.execute(f"SELECT status FROM agents_app_run WHERE {OF_SESSION} ORDER BY number", [session])
        return [status for (status,) in rows]


# How it ends


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_while_runs_stream(product, model, open_chat, name, number):
    sessions = [f"{name}-{n}" for n in range(3)]
    held = {"only_first": 1, "do": [{"wait": f"{name}-never"}]}
    chats = {}
    for session in sessions:
        model.script(session, [[{"reasoning": "a thought"}, {"text": "half "}, held, {"text": "and whole"}]])
        product.add_agent(session, model.base_url)
        chats[session] = open_chat(session)
        chats[session].say("hi", agent_name=session)
        chats[session].say("and again", agent_name=session)
    for chat in chats.values():
        chat.until_text("half ")
    since = time.monotonic()
    product.process.send_signal(number)
    assert [chat.close_code() for chat in chats.values()] == [1012] * 3
    assert wait_for_exit(product, since, within=30) == 0
    assert [statuses(product, session) for session in sessions] == [["queued", "queued"]] * 3
    product.start()
    for session, chat in chats.items():
        chat = back_again(chat, product, session)
        chat.until("reasoning_complete")
        chat.until("reasoning_complete")
        answers = [content for kind, content in check_whole(product, session, chat).story() if kind == "final_answer"]
        assert answers == ["half and whole"] * 2
        assert [frame["data"]["step"] for frame in chat.fold.of_type("retry")] == [1], "the step that was cut"
        chat.close()


def test_a_signal_while_nothing_happens(product, open_chat, name):
    chat = open_chat(name)
    product.give_grace()
    since = time.monotonic()
    product.process.send_signal(signal.SIGTERM)
    assert chat.close_code() == 1012
    assert wait_for_exit(product, since, within=30) == 0


def test_a_step_that_ends_soon_is_finished_before_the_server_stops(product, model, agent, open_chat, name):
    who = agent([{"reasoning": "a thought"}, {"wait": name}, {"text": FINAL}])
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    chat.until_text("a thought")
    product.give_grace()
    send_signal(product)
    model.release(name)
    assert chat.close_code() == 1012
    assert product.process.wait(60) == 0
    product.start()
    chat = back_again(chat, product, name)
    chat.until("reasoning_complete")
    story = check_whole(product, name, chat).story()
    assert ("thought", "a thought") in story
    assert not chat.fold.of_type("retry"), "what was handed back at a safe point was not cut"


def test_a_tool_is_not_begun_any_more_once_the_server_stops(product, model, agent, open_chat, name):
    who = agent([{"text": "hm"}, {"wait": name}, call("note", name)], [{"text": FINAL}], **tools("note"))
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    chat.until_text("hm")
    product.give_grace()
    send_signal(product)
    model.release(name)
    assert product.process.wait(60) == 0
    assert product.effects(name) == []
    product.start()
    chat = back_again(chat, product, name)
    chat.until("reasoning_complete")
    check_whole(product, name, chat)
    assert product.effects(name) == [name]
    assert "unknown" not in json.dumps(model.requests(name)[-1]["messages"])


def test_tools_that_are_called_side_by_side_are_all_waited_for(product, model, agent, open_chat, name):
    who = agent([call("note", f"{name} now"), call("late", name)], [{"text": FINAL}], **tools("note", "late"))
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    product.wait_for_effect(f"{name} now")
    product.give_grace()
    send_signal(product)
    product.effects_file.with_name(name).touch()
    assert product.process.wait(60) == 0
    product.start()
    chat = back_again(chat, product, name)
    chat.until("reasoning_complete")
    check_whole(product, name, chat)
    assert product.effects(name) == [f"{name} now", name]
    assert "unknown" not in json.dumps(model.requests(name)[-1]["messages"])


def test_a_tool_that_hangs_is_cut_off_and_its_result_is_unknown(product, model, agent, open_chat, name):
    who = agent([call("hang", name)], [{"text": FINAL}], **tools("hang"))
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    product.wait_for_effect(name)
    since = time.monotonic()
    product.process.send_signal(signal.SIGTERM)
    assert wait_for_exit(product, since, within=30) == 0
    assert statuses(product, name) == ["queued"]
    product.start()
    chat = back_again(chat, product, name)
    chat.until("reasoning_complete")
    check_whole(product, name, chat)
    assert "unknown" in model.requests(name)[-1]["messages"][-1]["content"]
    assert product.effects(name) == [f"hanging {name}"]


def test_even_a_tool_that_does_not_stop_lets_the_server_stop_in_time(product, agent, open_chat, name):
    who = agent([call("stubborn", name)], [{"text": FINAL}], **tools("stubborn"))
    open_chat(name).say("hi", agent_name=who)
    product.wait_for_effect(name)
    since = time.monotonic()
    product.process.send_signal(signal.SIGTERM)
    assert wait_for_exit(product, since, within=30) == 0
    assert statuses(product, name) == ["queued"]
    product.start()
    stop_run(product, name)


def test_a_second_signal_forces(product, agent, open_chat, name):
    who = agent([call("stubborn", name)], [{"text": FINAL}], **tools("stubborn"))
    open_chat(name).say("hi", agent_name=who)
    product.wait_for_effect(name)
    product.give_grace()
    send_signal(product)
    assert product.is_alive
    since = time.monotonic()
    product.process.send_signal(signal.SIGTERM)
    assert wait_for_exit(product, since, within=30) == 1
    product.start()
    assert product.runs(name)[0]["status"] in ("queued", "running")
    stop_run(product, name)


def stop_run(product, session):
    (run,) = product.runs(session)
    assert product.request("POST", f"/v1/runs/{run['id']}/cancel")[0] == 202
    until(lambda: product.runs(session)[0]["status"] == "cancelled")


def test_while_it_drains_it_is_not_ready_and_takes_messages_for_later(product, agent, model, open_chat, name):
    who = agent([{"only_first": 1, "do": [{"text": "busy"}, {"wait": f"{name}-never"}]}, {"text": FINAL}])
    chat, other = open_chat(name), open_chat(f"{name}-other")
    chat.say("hi", agent_name=who)
    chat.until_text("busy")
    kept = http.client.HTTPConnection("127.0.0.1", product.port, timeout=60)
    product.give_grace()
    with contextlib.closing(kept):
        assert _get(kept, "/readyz")[0] == 200
        send_signal(product)
        status, body = _get(kept, "/readyz")
        assert status == 503
        assert "shutting down" in body
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{product.url}/healthz", timeout=60)
    other.say("later", agent_name=who)
    until(lambda: statuses(product, f"{name}-other") == ["queued"])
    model.release(f"{name}-never")
    assert other.close_code() == 1012
    assert product.process.wait(60) == 0
    assert statuses(product, f"{name}-other") == ["queued"]
    product.start()
    other = back_again(other, product, f"{name}-other")
    if not other.fold.of_type("reasoning_complete"):
        other.until("reasoning_complete")
    check_whole(product, f"{name}-other", other)


def _get(connection, path):
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_time_in_which_no_server_ran_is_not_the_runs(product, agent, model, open_chat, name):
    who = agent([{"only_first": 1, "do": [{"text": "busy"}, {"wait": f"{name}-never"}]}, {"text": FINAL}], timeout=60)
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    chat.until_text("busy")
    product.kill()
    with contextlib.closing(sqlite3.connect(product.var_dir / "db.sqlite3")) as database, database:
        database.execute(f"UPDATE agents_app_run SET started_at = '2020-01-01 00:00:00' WHERE {OF_SESSION}", [name])
    product.start()
    chat = back_again(chat, product, name)
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"


def test_a_worker_whose_leases_ran_out_goes_on_with_its_runs(product, agent, model, open_chat, name):
    """As after the lid was closed: nobody else has taken them, and it does not race with itself."""
    who = agent([{"text": "half "}, {"wait": name}, {"text": "and whole"}])
    chat = open_chat(name)
    chat.say("hi", agent_name=who)
    chat.until_text("half ")
    with (
        contextlib.closing(sqlite3.connect(product.var_dir / "db.sqlite3", timeout=60)) as database,
        database,
    ):
        database.execute(f"UPDATE agents_app_run SET lease_until = '2020-01-01 00:00:00' WHERE {OF_SESSION}", [name])
    with contextlib.closing(sqlite3.connect(product.var_dir / "db.sqlite3", timeout=60)) as database:
        renewed = f"SELECT lease_until > '2021' FROM agents_app_run WHERE {OF_SESSION}"
        until(lambda: database.execute(renewed, [name]).fetchone() == (1,))
    model.release(name)
    chat.until("reasoning_complete")
    assert check_whole(product, name, chat).story() == [("final_answer", "half and whole")]
    assert product.runs(name)[0]["attempt"] == 1
    assert len(model.requests(name)) == 1


# What it refuses


def serve(folder, *arguments, **environment):
    """Start it where it must refuse; its exit status and what it says. It need not migrate before it does."""
    folder.mkdir(exist_ok=True)
    copy_migrated_database(folder / "db.sqlite3")
    variables = {key: value for key, value in os.environ.items() if not key.startswith("DJANGO_")}
    variables |= {"VAR_DIR": str(folder), "PORT": str(free_port())}
    done = zygote.run([sys.executable, "manage.py", "serve", *arguments], env=variables | environment)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"HOST": "0.0.0.0", "AUTH_REQUIRED": "false"}, ["HOST", "sign-in"]),
        ({"HOST": "192.0.2.7", "AUTH_REQUIRED": "false"}, ["HOST", "sign-in"]),
        ({"DEBUG": "maybe"}, ["DEBUG", "boolean"]),
        ({"WORKER_CONCURRENCY": "0"}, ["WORKER_CONCURRENCY", "1 or more"]),
        ({"WORKER_CONCURRENCY": "many"}, ["WORKER_CONCURRENCY"]),
        ({"PORT": "70000"}, ["PORT", "70000"]),
        ({"PORT": "http"}, ["PORT"]),
        ({"LOG_LEVEL": "LOUD"}, ["LOG_LEVEL"]),
    ],
    ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_stops_the_start_with_a_sentence(tmp_path, environment, words):
    status, output = serve(tmp_path / "var", **environment)
    assert status not in (0, None)
    assert "Traceback" not in output
    for word in words:
        assert word in output
    assert "Stop with Ctrl+C" not in output


def test_an_option_that_opens_it_to_others_is_refused(tmp_path):
    status, output = serve(tmp_path / "var", "--host", "0.0.0.0")
    assert status != 0
    assert "0.0.0.0" in output
    assert "Traceback" not in output


def test_a_second_server_on_the_same_data_is_refused(product):
    status, output = serve(product.var_dir)
    assert status != 0
    assert f"process {product.pid}" in output
    assert "VAR_DIR" in output
    assert "Traceback" not in output
    assert product.get("/healthz") == {"status": "ok"}


def test_a_port_in_use_is_an_error_of_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, output = serve(tmp_path / "var", PORT=str(taken.getsockname()[1]))
    assert status != 0
    assert "Traceback" not in output
    assert "in use" in output
    assert "Stop with Ctrl+C" not in output, "it must not say that it serves"


# How it begins


def test_an_empty_folder_is_all_that_it_needs(tmp_path, name):
    """It migrates, fills, prints the addresses a password that works, and writes only in VAR_DIR."""
    folders = {each: tmp_path / each for each in ("home", "tmp", "here")}
    for folder in folders.values():
        folder.mkdir()
    where = {"HOME": str(folders["home"]), "TMPDIR": str(folders["tmp"])}
    with Elsewhere(tmp_path / "new" / "var", folders["here"], **where) as product:
        output = product.log.read_text()
        assert f"{product.url}/chat/" in output
        assert f"{product.url}/admin/" in output
        password = _password(output)
        assert _log_in(product, password)
        assert not _log_in(product, "wrong")
        assert {agent["name"] for agent in product.request("GET", "/v1/agents")[1]["data"]} >= {
            "assistant",
            "writer",
        }
        with Chat(product.socket_url(name)).socket:
            for file in psutil.Process(product.pid).open_files():
                assert file.mode == "r" or Path(file.path).is_relative_to(product.var_dir), file
        assert product.terminate() == 0
        product.log.unlink()
        product.start()
        output = product.log.read_text()
        assert password not in output
        assert f"user admin, password in {product.var_dir}/admin_password" in output
        assert (product.var_dir / "admin_password").read_text() == password
        assert product.terminate() == 0
        _change_password(product, "a better one 1")
        product.log.unlink()
        product.start()
        assert "password" not in product.log.read_text()
        assert _log_in(product, "a better one 1")
    assert [list(folder.iterdir()) for folder in folders.values()] == [[], [], []]


def test_who_executes_no_runs_loads_no_models_sdk(tmp_path):
    """They take a second of computing, at each command and at each start of a web process."""
    code = "import sys, scheduler_project.urls as _; print({'openai', 'anthropic', 'xllamacpp'} & {*sys.modules})"
    command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", code]
    environment = os.environ | {"VAR_DIR": str(tmp_path)}
    assert subprocess.check_output(command, cwd=ROOT, env=environment, text=True).strip() == "set()"


class Elsewhere(Product):
    """`serve`, called from another folder, with nothing there yet."""

    is_migrated = False

    def __init__(self, var_dir, here, **environment):
        super().__init__(var_dir, **environment)
        self.here = here

    def command(self, *arguments):
        return ["env", f"--chdir={self.here}", sys.executable, str(ROOT / "manage.py"), *arguments]


def _password(output):
    return re.search(r"user admin, password (\S+)", output)[1]


def _log_in(product, password):
    """As a browser does: get the form, send it back with its token, see whether the admin opens."""
    cookies = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
    url = f"{product.url}/admin/login/?next=/admin/"
    page = browser.open(url, timeout=20)
    form = page.read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)[1]
    fields = {"csrfmiddlewaretoken": token, "username": "admin", "password": password, "next": "/admin/"}
    answer = browser.open(page.url, urllib.parse.urlencode(fields).encode(), timeout=20)
    return answer.url == f"{product.url}/admin/" and "Log out" in answer.read().decode()


def _change_password(product, password):
    code = (
        "from django.contrib.auth import get_user_model as m; "
        f"u = m().objects.get(username='admin'); u.set_password({password!r}); u.save()"
    )
    shell(product, code)


class Other(Product):
    """The same application under another server, which does not say when it is ready."""

    def __init__(self, var_dir, *command):
        super().__init__(var_dir)
        self._command = command

    def start(self, timeout=180):
        self.log = self.var_dir / "other.log"
        with self.log.open("w") as log:
            command = [sys.executable, *self._command, str(self.port)]
            self.process = zygote.start(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT)
        until(self._answers, timeout)

    def _answers(self):
        assert self.process.poll() is None, self.log.read_text()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
            return True


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "daphne", "scheduler_project.asgi:application", "-b", "127.0.0.1", "-p"],
        ["manage.py", "runserver", "--noreload"],
    ],
    ids=["daphne", "runserver"],
)
def test_other_servers_serve_the_same_application(product, model, open_chat, name, command):
    product.terminate()
    with Other(product.var_dir, *command) as other:
        model.script(name, [[{"reasoning": "a thought"}, {"text": FINAL}]])
        other.add_agent(name, model.base_url)
        chat = open_chat(name, on=other)
        chat.ask("hi", agent_name=name)
        assert chat.fold.story() == [("thought", "a thought"), ("final_answer", FINAL)]
        model.script(name, [[{"text": "half "}, {"only_first": 1, "do": [{"wait": "never"}]}, {"text": "and whole"}]])
        chat.say("again", agent_name=name)
        chat.until_text("half ")
        other.terminate()
        assert "Traceback" not in other.log.read_text()
    product.start()
    chat = back_again(chat, product, name)
    chat.until("reasoning_complete")
    assert check_whole(product, name, chat).story()[-1] == ("final_answer", "half and whole")


def test_another_server_on_a_folder_without_tables_says_what_to_do(tmp_path):
    (tmp_path / "var").mkdir()
    command = ["-m", "daphne", "scheduler_project.asgi:application", "-b", "127.0.0.1", "-p"]
    with Other(tmp_path / "var", *command) as other, pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{other.url}/v1/agents", timeout=60)
    with refused.value as answer:
        assert answer.code == 503
        assert "manage.py migrate" in answer.read().decode()


def test_websocats_handshake_is_answered(product, name):
    """No Origin, and what the request needs by RFC 6455, with nothing else."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET /ws/chat/{name} HTTP/1.1", f"Host: 127.0.0.1:{product.port}", "Connection: Upgrade",
        "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
    ]  # fmt: skip
    with (
        socket.create_connection(("127.0.0.1", product.port), timeout=60) as raw,
        raw.makefile("rb") as reading,
    ):
        raw.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert reading.readline().startswith(b"HTTP/1.1 101 ")
        while reading.readline() != b"\r\n":
            pass
        first, size = reading.read(2)
        assert first == 0x81
        assert size == 126
        body = json.loads(reading.read(int.from_bytes(reading.read(2), "big")))
        assert body["type"] == "connected"
        assert body["data"]["session_id"] == name


# Clients that do not read


class Silent:
    """A socket that was opened and is not read: what the server sends stays in the buffers between us."""

    def __init__(self, product, path):
        self.raw = socket.create_connection(("127.0.0.1", product.port), timeout=20)
        key = base64.b64encode(os.urandom(16)).decode()
        self.raw.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{product.port}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self.reading = self.raw.makefile("rb")
        while self.reading.readline() != b"\r\n":
            pass

    def send(self, text, times=1):
        payload = text.encode()
        assert len(payload) < 126
        self.raw.sendall((bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload) * times)

    def frames(self):
        """What it would have got, now that it reads."""
        while True:
            first, size = self.reading.read(2)
            if size == 126:
                size = int.from_bytes(self.reading.read(2), "big")
            elif size == 127:
                size = int.from_bytes(self.reading.read(8), "big")
            payload = self.reading.read(size)
            if first == 0x81:
                yield json.loads(payload)

    def close(self):
        self.reading.close()
        self.raw.close()


class Memory:
    """The most memory that a process has had while we watched."""

    def __init__(self, pid):
        self._process = psutil.Process(pid)
        self.before = self.most = self._process.memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _watch(self):
        while not self._done.wait(0.02):
            self.most = max(self.most, self._process.memory_info().rss)

    @property
    def grown(self):
        """Megabytes."""
        return (self.most - self.before) / 2**20


def test_a_client_that_stops_reading_costs_no_memory_and_misses_nothing(product, model, open_chat, name):
    """100 MB of frames for it: 25 answers of 2 MB, in deltas and then whole."""
    answer = "".join(f"{number:08d}" for number in range(250_000))
    model.script(name, [[{"text": answer, "chunk": 8000}]])
    product.add_agent(name, model.base_url, max_total_tokens=None, parameters={"max_tokens": 100_000})
    reader = open_chat(name)
    reader.ask("hi", agent_name=name)
    silent = Silent(product, f"/ws/chat/{name}")
    with contextlib.closing(silent), Memory(product.pid) as memory:
        for _ in range(25):
            reader.ask("hi", agent_name=name)
            reader.fold.frames.clear()
            reader.fold.steps.clear()
        print(f"grown by {memory.grown:.0f} MB")
        assert memory.grown < 60
        data = []
        for frame in silent.frames():
            if frame["type"] == "reasoning_step":
                data.append(frame["data"]["content"] == answer)
            if frame.get("seq") == reader.fold.cursor:
                break
        print(f"grown by {memory.grown:.0f} MB with its catching up")
        assert data == [True] * 25
        assert memory.grown < 90


def test_a_client_that_asks_without_reading_costs_no_memory_and_disturbs_nobody(product, agent, open_chat, name):
    who = agent([{"text": FINAL}])
    silent = Silent(product, f"/ws/chat/{name}")
    silent.raw.settimeout(2)
    sent = 0
    with contextlib.closing(silent), Memory(product.pid) as memory:
        other = open_chat(f"{name}-other")
        with contextlib.suppress(TimeoutError):
            for _ in range(400):
                silent.send('{"type":"ping","payload":{"timestamp":1}}', times=1000)
                sent += 1000
        began = time.monotonic()
        other.ask("hi", agent_name=who)
        took = time.monotonic() - began
        assert other.fold.story() == [("final_answer", FINAL)]
        print(f"{sent} pings were taken; grown by {memory.grown:.0f} MB; another's answer took {took:.2f} s")
        assert memory.grown < 30
        assert took < 60


def test_a_rush_of_connections_is_not_turned_away(product):
    """After a restart hundreds of sockets come back at once: a short listen queue would cost many of them a second."""
    os.kill(product.pid, signal.SIGSTOP)  # nobody accepts meanwhile: only the listen queue takes them
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(400):
                stack.enter_context(socket.create_connection(("127.0.0.1", product.port), timeout=60))
    finally:
        os.kill(product.pid, signal.SIGCONT)
    assert product.request("GET", "/healthz")[0] == 200
