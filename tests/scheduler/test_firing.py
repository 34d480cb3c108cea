"""Tasks that fire: on time, once, and after all that may come between."""

import base64
import contextlib
import datetime
import hashlib
import hmac
import http.server
import itertools
import json
import queue
import sqlite3
import threading
import uuid

import pytest

from tests.harness.clocked import Clocked, account, add_task, get, moment, runs_of, skips_of
from tests.harness.wait import until

pytestmark = pytest.mark.slow

SOON = 3  # seconds: a moment that is over when the server hears of it is refused
ANSWER = [{"text": "It is done."}]
SECRET_BYTES = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(SECRET_BYTES).decode()


@pytest.fixture
def clocked_product(tmp_path):
    with Clocked(tmp_path, FETCH_ALLOW_PRIVATE="true") as running:
        yield running
        assert "Traceback" not in running.logged(), running.logged()[-5000:]


@pytest.fixture
def worker_agent(clocked_product, model, name):
    """An agent of the server with the clock."""

    def make(*turns):
        model.script(name, list(turns))
        clocked_product.add_agent(name, model.base_url)
        return name

    return make


def ended(server, task, count=1, status="completed"):
    """Wait until so many of the task's runs have ended so; all of its runs."""

    def enough():
        runs = runs_of(server, task)
        return runs if sum(run["status"] == status for run in runs) >= count else None

    return until(enough)


def in_seconds(server, seconds):
    return (server.now() + datetime.timedelta(seconds=seconds)).isoformat()


# On time


def test_a_task_fires_and_a_watching_socket_sees_it(product, agent, open_chat, name):
    agent(ANSWER)
    chat = open_chat(name, agent_name=name)  # opens no session yet: the first run does
    first = chat.ask("Hello.")
    task = add_task(product, name, session_id=name, task_prompt="The news, please.")
    started = chat.until("reasoning_start")
    assert started["run_id"] != first["run_id"]
    assert (started["data"]["message"], started["data"]["trigger"]) == ("The news, please.", "schedule")
    chat.until_text("It is done.")
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    product.request("POST", f"/v1/tasks/{task['id']}/disable")
    run = get(product, f"/v1/runs/{started['run_id']}")
    assert run["task_id"] == task["id"]
    assert run["scheduled_for"] == task["next_run_at"]
    late = moment(run["created_at"]) - moment(run["scheduled_for"])
    assert datetime.timedelta() <= late < datetime.timedelta(seconds=30)


def test_each_second_is_one_run(product, agent, name):
    agent(ANSWER)
    task = add_task(product, name, overlap="allow")
    runs = ended(product, task, 4)
    product.request("POST", f"/v1/tasks/{task['id']}/disable")
    assert len({run["session_id"] for run in runs}) == len(runs)
    until(lambda: all(run["status"] == "completed" for run in runs_of(product, task)))
    assert account(product, task, 1)[1] == 0
    names = get(product, f"/v1/tasks/{task['id']}")
    assert (names["last_status"], names["last_result"], names["next_run_at"]) == ("completed", "It is done.", None)
    assert names["successful_runs"] >= 4


def test_once_is_once_and_disables_itself(product, agent, name):
    agent(ANSWER)
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SOON)).isoformat()
    task = add_task(product, name, schedule_type="once", schedule_value=soon)
    until(lambda: not get(product, f"/v1/tasks/{task['id']}")["enabled"])
    [run] = runs_of(product, task)
    assert (run["status"], moment(run["scheduled_for"])) == ("completed", moment(soon))


def test_a_new_schedule_is_seen_at_once(product, agent, name):
    agent(ANSWER)
    task = add_task(product, name, schedule_value="86400")
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SOON)).isoformat()
    changes = {"schedule_type": "once", "schedule_value": soon}
    status, _ = product.request("PATCH", f"/v1/tasks/{task['id']}", changes)
    assert status == 200
    [run] = ended(product, task)
    assert moment(run["created_at"]) - moment(soon) < datetime.timedelta(seconds=30)


def test_a_kept_session_remembers_the_last_run(product, agent, model, name):
    agent([{"echo": True}])
    task = add_task(product, name, session="kept", overlap="queue")
    runs = ended(product, task, 2)
    product.request("POST", f"/v1/tasks/{task['id']}/disable")
    assert len({run["session_id"] for run in runs}) == 1
    roles = [message["role"] for message in model.requests(name)[1]["messages"]]
    assert roles[-3:] == ["user", "assistant", "user"]


# After downtime


@pytest.mark.parametrize("downtime", [240, 3600, 3 * 86_400])
def test_after_downtime_each_policy_does_what_it_says(clocked_product, worker_agent, model, downtime):
    server, agent = clocked_product, worker_agent(ANSWER)
    step = 60 if downtime == 240 else 600
    how = {"schedule_value": str(step), "misfire_grace": 0 if downtime == 240 else 60, "misfire_limit": 4}
    tasks = {
        policy: add_task(server, agent, misfire=policy, overlap="allow", **how) for policy in ("skip", "once", "all")
    }
    server.kill()
    server.put_forward(downtime)
    server.start()
    now = server.now()
    missed = {name: int((now - moment(task["next_run_at"])).total_seconds() // step) for name, task in tasks.items()}

    def taken_up():
        return all(moment(get(server, f"/v1/tasks/{t['id']}")["next_run_at"]) > now for t in tasks.values())

    until(taken_up)
    ended(server, tasks["all"], 4 if downtime > 240 else 3)
    ended(server, tasks["once"], 1)
    for task in tasks.values():
        server.request("POST", f"/v1/tasks/{task['id']}/disable")
    counted = {name: account(server, task, step) for name, task in tasks.items()}
    came = {name: ran + skipped for name, (ran, skipped) in counted.items()}
    assert all(came[name] >= missed[name] for name in tasks)
    late = 1 + 3 * (downtime == 240)  # moments that came while we looked, or that were on time
    assert counted["skip"][0] <= late
    assert 1 <= counted["once"][0] <= 1 + late
    assert min(4, missed["all"]) <= counted["all"][0] <= 4 + late
    reasons = {skip["reason"] for task in tasks.values() for skip in skips_of(server, task)}
    assert reasons <= {"missed"}


def test_killed_again_and_again_it_loses_and_doubles_nothing(clocked_product, worker_agent):
    server, agent = clocked_product, worker_agent(ANSWER)
    how = {"misfire": "all", "misfire_limit": 100, "misfire_grace": 0, "overlap": "allow"}
    tasks = [add_task(server, agent, name=f"{agent}-{n}", **how) for n in range(4)]
    for ahead in (0, 3, 10, 0):
        before = get(server, f"/v1/tasks/{tasks[0]['id']}")["total_runs"]
        until(lambda before=before: get(server, f"/v1/tasks/{tasks[0]['id']}")["total_runs"] > before)
        server.kill()
        server.put_forward(ahead)
        server.start()
    for task in tasks:
        changed, _ = server.request("PATCH", f"/v1/tasks/{task['id']}", {"schedule_value": "86400"})
        assert changed == 200
    until(lambda: all(run["status"] == "completed" for task in tasks for run in runs_of(server, task)), 240)
    total = sum(account(server, task, 1)[0] for task in tasks)
    assert total >= 4 * 13


# Where the run before goes on


def busy(server, model, name, **fields):
    """A task whose first run goes on until the gate is opened; it is running."""
    task = add_task(server, name, schedule_value="60", misfire_grace=600, **fields)
    server.put_forward(61)
    model.wait_for_request(name)
    return task


def test_skip_leaves_out_what_overlaps(clocked_product, worker_agent, model, name):
    worker_agent([{"wait": name}, {"text": "Done."}])
    task = busy(clocked_product, model, name, overlap="skip")
    clocked_product.put_forward(120)
    [skip] = until(lambda: [s for s in skips_of(clocked_product, task) if s["count"] == 2])
    assert skip["reason"] == "overlap"
    model.release(name)
    ended(clocked_product, task)
    clocked_product.put_forward(60)
    ended(clocked_product, task, 2)
    assert account(clocked_product, task, 60) == (2, 2)


def test_queue_starts_one_after_the_other(clocked_product, worker_agent, model, name):
    worker_agent([{"wait": name}, {"text": "Done."}])
    task = busy(clocked_product, model, name, overlap="queue")
    clocked_product.put_forward(120)
    next_due = moment(task["next_run_at"]) + datetime.timedelta(seconds=180)
    until(lambda: moment(get(clocked_product, f"/v1/tasks/{task['id']}")["next_run_at"]) >= next_due)
    assert len(runs_of(clocked_product, task)) == 1
    model.release(name)
    runs = ended(clocked_product, task, 3)
    moments = [run["scheduled_for"] for run in runs]
    assert moments == sorted(moments)
    for earlier, later in itertools.pairwise(runs):
        assert moment(earlier["finished_at"]) <= moment(later["created_at"])


def test_cancel_previous_stops_it(clocked_product, worker_agent, model, name):
    worker_agent([{"wait": name}, {"text": "Done."}])
    task = busy(clocked_product, model, name, overlap="cancel_previous")
    clocked_product.put_forward(60)
    model.wait_for_abort(name)
    model.release(name)
    until(lambda: [run["status"] for run in runs_of(clocked_product, task)] == ["cancelled", "completed"])


def test_allow_lets_them_go_on_together(clocked_product, worker_agent, model, name):
    worker_agent([{"wait": name}, {"text": "Done."}])
    task = busy(clocked_product, model, name, overlap="allow")
    clocked_product.put_forward(60)
    model.wait_for_request(name, 2)
    model.release(name)
    ended(clocked_product, task, 2)


# Failures


def test_a_run_that_failed_is_repeated_and_a_once_task_waits_for_it(product, agent, name):
    agent([{"only_first": 1, "do": [{"status": 400}]}, *ANSWER])
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SOON)).isoformat()
    task = add_task(product, name, schedule_type="once", schedule_value=soon, max_retries=2, retry_delay=1)
    runs = ended(product, task)
    assert [run["status"] for run in runs] == ["failed", "completed"]
    assert runs[0]["scheduled_for"] == runs[1]["scheduled_for"]
    assert moment(runs[1]["created_at"]) - moment(runs[0]["finished_at"]) >= datetime.timedelta(seconds=1)
    until(lambda: not get(product, f"/v1/tasks/{task['id']}")["enabled"])


def test_retries_have_an_end(product, agent, name):
    agent([{"status": 400}])
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SOON)).isoformat()
    task = add_task(product, name, schedule_type="once", schedule_value=soon, max_retries=1, retry_delay=1)
    until(lambda: not get(product, f"/v1/tasks/{task['id']}")["enabled"])
    assert [run["status"] for run in runs_of(product, task)] == ["failed", "failed"]
    names = get(product, f"/v1/tasks/{task['id']}")
    assert (names["failed_runs"], names["last_status"]) == (2, "failed")
    assert names["last_error"]


def test_disabling_gives_up_what_was_to_be_repeated(product, agent, name):
    agent([{"status": 400}])
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=SOON)).isoformat()
    how = {"schedule_type": "once", "schedule_value": soon, "max_retries": 5, "retry_delay": 5}
    task = add_task(product, name, **how)
    waiting = "SELECT 1 FROM agents_app_postponed WHERE task_id = ?"
    with contextlib.closing(sqlite3.connect(product.var_dir / "db.sqlite3", timeout=60)) as rows:
        until(lambda: rows.execute(waiting, [uuid.UUID(task["id"]).hex]).fetchone())
    product.request("POST", f"/v1/tasks/{task['id']}/disable")
    [skip] = until(lambda: skips_of(product, task))
    assert (skip["reason"], skip["message"]) == ("disabled", "It was to be repeated.")


def test_a_task_has_a_time_limit_of_its_own(product, agent, name):
    agent([{"wait": f"{name}-never"}])
    task = add_task(product, name, timeout=1)
    [run, *_] = ended(product, task, 1, "failed")
    product.request("POST", f"/v1/tasks/{task['id']}/disable")
    assert "1 seconds" in run["error"]


def test_a_disabled_agent_is_a_skip_with_a_reason(product, agent, name):
    agent(ANSWER)
    task = add_task(product, name)
    product.request("PATCH", f"/v1/agents/{name}", {"enabled": False})

    def left_out():  # neighbours share a row
        return [s for s in skips_of(product, task) if s["reason"] == "agent_unavailable" and s["count"] >= 2]

    skip = until(left_out)[0]
    product.request("POST", f"/v1/tasks/{task['id']}/disable")
    assert name in skip["message"]
    account(product, task, 1)


# Webhooks


class Receiver(http.server.ThreadingHTTPServer):
    """Remembers what is posted, and answers with the statuses that it is given, then 200."""

    def __init__(self, *statuses):
        self.posted = queue.Queue()
        self.statuses = list(statuses)
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/hook?source=test"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.put((self.path, dict(self.headers), body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    servers = []

    def make(*statuses):
        server = Receiver(*statuses)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def check_signature(headers, body):
    """As the receivers of Standard Webhooks do it."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET_BYTES, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def deliveries(server, task):
    return get(server, f"/v1/tasks/{task['id']}/deliveries")["data"]


def test_a_webhook_is_signed_and_sent_again_until_it_takes_it(clocked_product, worker_agent, receiver):
    server, hook = clocked_product, receiver(500, 302)
    who = worker_agent(ANSWER)
    how = {"schedule_type": "once", "schedule_value": in_seconds(server, 60), "misfire_grace": 600}
    task = add_task(server, who, webhook_url=hook.url, webhook_secret=SECRET, **how)
    server.put_forward(61)
    attempts = [hook.posted.get(timeout=60)]
    for wait, text in ((6, "500"), (31, "302")):

        def refused(text=text):  # where we are slow, it has been tried again by now
            return hook.posted.qsize() or any(text in delivery["error"] for delivery in deliveries(server, task))

        until(refused)
        if hook.posted.empty():
            server.put_forward(wait)
        attempts.append(hook.posted.get(timeout=60))
    until(lambda: deliveries(server, task)[0]["status"] == "delivered")
    [run] = runs_of(server, task)
    for path, headers, body in attempts:
        check_signature(headers, body)
        assert path == "/hook?source=test"
        names = json.loads(body)
        assert names["type"] == "run.completed"
        assert (names["data"]["run_id"], names["data"]["task_id"]) == (run["id"], task["id"])
        assert names["data"]["result"] == "It is done."
    assert len({headers["webhook-id"] for _, headers, _ in attempts}) == 1
    assert SECRET not in server.logged()
    assert SECRET not in json.dumps(get(server, "/v1/tasks"))


def test_a_webhook_in_a_private_network_is_not_sent(own_product, model, name, receiver):
    hook = receiver()
    model.script(name, [ANSWER])
    own_product.add_agent(name, model.base_url)
    task = add_task(own_product, name, webhook_url=hook.url, webhook_secret=SECRET)
    refused = until(lambda: [d for d in deliveries(own_product, task) if d["status"] == "failed"])
    assert "private network" in refused[0]["error"]
    assert hook.posted.empty()
