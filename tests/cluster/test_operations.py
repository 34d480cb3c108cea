"""What operators run against a cluster: the doctor on broken deployments, each really broken."""

import datetime
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.harness import zygote
from tests.harness.daemon import free_port
from tests.harness.fakes.key_refuser import KeyRefuser
from tests.harness.first_release import FIRST_RELEASE, FIRST_TABLES
from tests.harness.nginx import Nginx
from tests.harness.wait import until
from tests.harness.watchers import FaultyCluster

pytestmark = pytest.mark.slow

Report = dict[str, Any]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyCluster]:
    """One has to sign in there."""
    folder = tmp_path_factory.mktemp("cluster")
    not_now = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=12)).strftime("%H:%M")
    options = {"AUTH_REQUIRED": "true", "RUN_RETENTION_DAYS": "5", "PRUNE_AT": not_now}
    with FaultyCluster(folder, web=1, workers=2, **options) as running:
        yield running


@pytest.fixture
def doctor(cluster: FaultyCluster) -> Callable[..., Report]:
    """Run the doctor with the cluster's settings, and some of them otherwise: its report, with the findings by name."""

    def run(*arguments: str, **environment: str) -> Report:
        done = zygote.run(cluster.manage("doctor", "--json", *arguments), env=cluster.environment | environment)
        assert "Traceback" not in done.stderr, done.stderr
        output = json.loads(done.stdout)
        assert done.returncode == (0 if output["ok"] else 1), done.stderr
        keep(output)
        return output | {"by_name": {check["name"]: check for check in output["checks"]}}

    def examine(*arguments: str, finds: set[str], **environment: str) -> Report:
        """These must be broken. A busy machine may be slower than its patience, so it is asked again."""
        for _ in range(4):
            report = run(*arguments, **environment)
            slow = "Is the server overloaded?" in str(report) or "0 w" in str(report["by_name"].get("processes", ""))
            if broken(report) == finds and not (slow and not finds):
                break
        assert broken(report) == finds, report["checks"]
        return report

    until(lambda: cluster.webs[0].request("GET", "/readyz")[0] == 200)
    return examine


def keep(output: Report) -> None:
    """For the documentation: DOCTOR_SAYS names a file that takes all reports."""
    if path := os.environ.get("DOCTOR_SAYS"):
        with Path(path).open("a") as file:
            file.write(json.dumps(output, ensure_ascii=False) + "\n")


def check(report: Report, name: str, state: str, *words: str) -> None:
    finding = report["by_name"][name]
    assert finding["state"] == state, finding
    text = f"{finding['message']} {finding['remedy']}"
    for word in words:
        assert word in text, finding


def change(cluster: FaultyCluster, statement: str) -> None:
    with cluster.postgres.connect() as connection:
        connection.execute(statement)


def broken(report: Report) -> set[str]:
    return {each["name"] for each in report["checks"] if each["state"] == "broken"}


def test_a_whole_deployment_has_no_problems(cluster, doctor):
    report = doctor("--url", cluster.url, "--idle", "1", finds=set())
    check(report, "processes", "ok", "1 web process and 2 worker processes")
    check(report, "versions", "ok")
    for name in ("database", "redis", "channel layer", "workers", "scheduler", "event stream", "websocket", "clock"):
        check(report, name, "ok")
    left = (
        "SELECT (SELECT count(*) FROM agents_app_session), (SELECT count(*) FROM auth_user WHERE username ~ 'doctor')"
    )
    assert cluster.query(left) == [(0, 0)], "it leaves nothing behind"


def test_a_proxy_that_buffers_streams_and_cuts_sockets(cluster, doctor):
    with Nginx([cluster.webs[0].port]) as proxy:
        text = proxy.configuration.read_text()
        for good, bad in (
            ("proxy_buffering off;", "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"),
            ("proxy_http_version 1.1;", ""),  # nginx's own default: with 1.1 it passes each chunk on all the same
            ("proxy_read_timeout 90s;", "proxy_read_timeout 4s; proxy_http_version 1.1;"),
        ):
            assert good in text
            text = text.replace(good, bad)
        proxy.configuration.write_text(text)
        proxy.restart()
        report = doctor("--url", proxy.url, "--idle", "20", finds={"event stream", "websocket"})
    check(report, "event stream", "broken", "buffers", "proxy_buffering off")
    check(report, "websocket", "broken", "cut after", "proxy_read_timeout")


def test_a_refused_key_a_lost_secret_a_tool_that_is_gone_and_a_proxy_without_upgrade(cluster, doctor):
    with KeyRefuser() as provider, Nginx([cluster.webs[0].port]) as proxy:
        text = proxy.configuration.read_text()
        proxy.configuration.write_text(text.replace("proxy_set_header Upgrade $http_upgrade;", ""))
        proxy.restart()
        name = f"p{urlsplit(provider.url).netloc.replace(':', '-')}"
        cluster.add_agent("locked", provider.url)
        server = {"name": "gone", "transport": "stdio", "command": "/no/such/program"}
        assert cluster.request("POST", "/v1/mcp-servers", server)[0] == 201
        assert cluster.request("PATCH", "/v1/agents/locked", {"mcp_servers": ["gone"]})[0] == 200
        other = "another one that is also long enough to be taken for a key 1234567890"
        try:
            wrong = {f"model {name}", "mcp gone", "secrets", "websocket"}
            report = doctor("--url", proxy.url, "--idle", "0", finds=wrong, SECRET_KEY=other)
        finally:
            for path in ("agents/locked", "mcp-servers/gone", f"providers/{name}"):
                assert cluster.request("DELETE", f"/v1/{path}")[0] == 204
    check(report, f"model {name}", "broken", "refused the API key", "Fix")
    check(report, "mcp gone", "broken", "command")
    check(report, "secrets", "broken", "SECRET_KEY_FALLBACKS", "api_key")
    check(report, "websocket", "broken", "Upgrade")


def test_no_worker_and_when_they_are_back_one_of_them_deletes_what_is_old(cluster, doctor, model, name):
    model.script(name, [[{"text": "Long ago."}]])
    cluster.add_agent(name, model.base_url)
    assert cluster.request("POST", f"/v1/agents/{name}/runs", {"message": "hi", "session_id": name})[0] == 202
    until(lambda: cluster.request("GET", f"/v1/sessions/{name}/runs")[1]["data"][0]["status"] == "completed")
    for worker in cluster.workers:
        cluster.stop(worker.name)
    try:
        # As after some nights: what the workers last said is old, a task has been due since, and pruning too.
        change(cluster, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
        change(cluster, "UPDATE agents_app_run SET finished_at = now() - interval '9 days'")
        change(cluster, "UPDATE agents_app_session SET updated_at = now() - interval '9 days'")
        change(cluster, "UPDATE agents_app_chore SET next_at = now() - interval '9 days'")
        status, task = cluster.request("POST", "/v1/tasks", TASK)
        assert status == 201, task
        change(cluster, "UPDATE agents_app_scheduledtask SET next_run_at = now() - interval '2 minutes'")
        report = doctor("--url", cluster.url, "--idle", "0", finds={"workers", "scheduler", "readiness"})
        check(report, "workers", "broken", "manage.py worker")
        check(report, "scheduler", "broken", "1 task due and not started")
        check(report, "processes", "warning", "0 worker processes")
        assert cluster.request("DELETE", f"/v1/tasks/{task['id']}")[0] == 204
    finally:
        for worker in cluster.workers:
            worker.spawn()
        for worker in cluster.workers:
            worker.wait_until_ready()
    ((result, is_later),) = until(
        lambda: cluster.query("SELECT result, next_at > now() FROM agents_app_chore WHERE done_at IS NOT NULL")
    )
    assert result.startswith("3 events, 1 runs, 1 sessions")  # and versions of agents that other tests deleted
    assert is_later
    until(lambda: "Pruned old data" in cluster.logged())
    assert cluster.logged().count("Pruned old data") == 1
    assert cluster.request("GET", f"/v1/sessions/{name}")[0] == 404


TASK = {
    "name": "t",
    "agent_name": "assistant",
    "task_prompt": "x",
    "schedule_type": "interval",
    "schedule_value": "3600",
}


def test_redis_is_down(cluster, doctor):
    cluster.stop("redis")
    try:
        report = doctor("--url", cluster.url, "--idle", "0", finds={"redis", "channel layer", "readiness"})
        check(report, "redis", "broken", "Connection refused", "REDIS_URL")
    finally:
        cluster.start("redis")


def test_tables_of_another_version_and_an_address_where_nobody_is(cluster, doctor):
    newest = "SELECT max(name) FROM django_migrations WHERE app = 'agents_app'"
    ((missing,),) = cluster.query(newest)
    rename = "UPDATE django_migrations SET name = '{}' WHERE app = 'agents_app' AND name = '{}'"
    change(cluster, rename.format("9999_of_tomorrow", missing))
    try:
        report = doctor("--url", f"http://127.0.0.1:{free_port()}", finds={"migrations", "front door"})
    finally:
        change(cluster, rename.format(missing, "9999_of_tomorrow"))
    newer, older = [each for each in report["checks"] if each["name"] == "migrations"]
    assert "9999_of_tomorrow" in newer["message"]
    assert "newer version" in newer["remedy"]
    assert missing in older["message"]
    assert "manage.py migrate" in older["remedy"]
    check(report, "front door", "broken", "does not answer")


def test_the_database_is_down(cluster, doctor):
    cluster.stop("postgres")
    try:
        report = doctor("--url", cluster.url, "--idle", "0", finds={"database", "readiness"})
        check(report, "database", "broken", "refused", "DATABASE_URL")
        check(report, "work", "warning", "not checked")
        check(report, "redis", "ok")
        check(report, "streams", "warning", "Not checked")
    finally:
        cluster.start("postgres")


def test_a_database_of_the_first_release_is_upgraded_backed_up_and_restored(cluster, tmp_path):
    def run(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
        return zygote.run(cluster.manage(*arguments), env=cluster.environment | {"DATABASE_URL": url})

    old, new = cluster.postgres.create_database("old"), cluster.postgres.create_database("new")
    rows = f"from django.db import connection\nconnection.cursor().execute(open({str(FIRST_RELEASE)!r}).read())"
    done = run("shell", "-c", f"{FIRST_TABLES}\n{rows}\ncall_command('migrate', verbosity=0)", url=old)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "backup"
    done = run("backup", str(file), url=old)
    assert done.returncode == 0, done.stderr
    refused = run("restore", "--yes", str(file), url=cluster.postgres.url)
    assert "stop all web processes and workers first" in refused.stderr
    with cluster.postgres.connect("new") as connection:
        connection.execute("CREATE TABLE agents_app_of_tomorrow (id int)")
    done = run("restore", "--yes", str(file), url=new)
    assert done.returncode == 0, done.stderr
    with cluster.postgres.connect("new") as connection:
        statement = "SELECT result, (SELECT count(*) FROM agents_app_event), (SELECT count(*) FROM agents_app_step)"
        assert connection.execute(f"{statement} FROM agents_app_run").fetchall() == [("It is 42.", 5, 3)]
        assert connection.execute("SELECT to_regclass('agents_app_of_tomorrow')").fetchone() == (None,)
        assert connection.execute("SELECT number FROM agents_app_agentversion").fetchall() == [(1,)]
        newest = "SELECT max(name) FROM django_migrations WHERE app = 'agents_app'"
        assert [connection.execute(newest).fetchone()] == cluster.query(newest)
