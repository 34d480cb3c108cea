"""What an operator sees of many processes: one trace through them, each one's metrics, and what is broken."""

import pytest

from tests.harness.chat import Chat
from tests.harness.cluster import Cluster
from tests.harness.daemon import free_port
from tests.harness.scrape import Scrape, until_scraped
from tests.harness.wait import until

pytestmark = pytest.mark.slow
FINAL = [{"text": "Done."}]
CALL = [{"tool_call": {"name": "calculate", "arguments": {"expression": "6*7"}}}]


@pytest.fixture(scope="module")
def worker_url():
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, collector, worker_url):
    port = worker_url.rpartition(":")[2]
    names = {"METRICS_PORT": port, "METRICS_TOKEN": "let-me", **collector.environment}
    with Cluster(tmp_path_factory.mktemp("cluster"), web=1, workers=1, **names) as running:
        yield running


def checks(cluster):
    """The status of the web process itself, and what is not ok."""
    status, body = cluster.webs[0].request("GET", "/readyz")
    return status, {name: text for name, text in body["checks"].items() if text != "ok"} | body.get("warnings", {})


def until_whole(cluster):
    until(lambda: checks(cluster) == (200, {}))


def test_one_trace_and_one_request_id_lead_through_all_processes(cluster, collector, worker_url, model, name):
    model.script(name, [CALL, FINAL])
    cluster.add_agent(name, model.base_url, builtin_tools=["calculate"])
    before = Scrape(worker_url)
    body = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
    status, answer = cluster.request("POST", "/v1/chat/completions", body, X_Session_Id=name, X_Request_Id=f"r-{name}")
    assert status == 200, answer
    (run,) = cluster.request("GET", f"/v1/sessions/{name}/runs")[1]["data"]

    spans = collector.trace_of_run(run["id"], enough=lambda spans: len(spans) == 5)
    services = {span.name.split()[0]: span.service for span in spans}
    worker = dict.fromkeys(("invoke_agent", "chat", "execute_tool"), "aintandem-worker")
    assert services == {"POST": "aintandem-serve", **worker}
    parents = {span.name.split()[0]: span.parent for span in spans}
    assert parents["invoke_agent"] == next(span.id for span in spans if span.kind == "server")
    assert run["request_id"] == f"r-{name}"
    assert f"run={run['id']} session={name} request=r-{name} trace={spans[0].trace}]" in cluster.logged()

    # Each process tells its own; what the database knows, the web processes do.
    after = Scrape(worker_url)
    assert after("runs_finished_total", status="completed") == before("runs_finished_total", status="completed") + 1
    assert after("tool_calls_total", outcome="ok") == before("tool_calls_total", outcome="ok") + 1
    assert after("database_up") == after("workers") == 0  # left out
    web = until_scraped(cluster.web_urls[0], lambda now: now("database_up") == now("workers") == 1)
    assert web("runs_started_total", trigger="api") == 1
    assert Scrape(cluster.url, Authorization="Bearer let-me")("workers") == 1  # through nginx with the token only


def test_readiness_says_which_part_is_gone_and_when_it_is_back(cluster, model, name):
    until_whole(cluster)

    cluster.kill("redis")
    until(lambda: checks(cluster)[1].keys() == {"channel_layer"})
    assert checks(cluster)[0] == 503
    watcher = Chat(cluster.webs[0].socket_url(name))
    until_scraped(cluster.web_urls[0], lambda now: now("redis_errors_total", operation="listen") > 0)
    watcher.close()
    cluster.start("redis")
    until_whole(cluster)

    model.script(name, [FINAL])
    cluster.add_agent(name, model.base_url)
    body = {"name": name, "agent_name": name, "task_prompt": "Go."}
    body |= {"schedule_type": "interval", "schedule_value": "3600"}
    assert cluster.request("POST", "/v1/tasks", body)[0] == 201
    cluster.freeze("worker-1")
    with cluster.postgres.connect() as connection:
        connection.execute("UPDATE agents_app_scheduledtask SET next_run_at = now() - interval '5 minutes'")
    status, wrong = checks(cluster)
    assert wrong.keys() - {"worker"} == {"scheduler"}
    assert status == (503 if "worker" in wrong else 200)
    until(lambda: checks(cluster)[1].keys() == {"scheduler", "worker"})
    assert checks(cluster)[0] == 503
    cluster.thaw("worker-1")
    until_whole(cluster)

    cluster.kill("postgres")
    status, wrong = until(lambda: (names := checks(cluster))[0] == 503 and "channel_layer" not in names[1] and names)
    assert wrong["database"] == "The database does not answer."
    assert cluster.webs[0].request("GET", "/healthz")[0] == 200
    web = until_scraped(cluster.web_urls[0], lambda now: now("database_errors_total") > 0)
    assert web("database_up") == 0
    cluster.start("postgres")
    until_whole(cluster)


def test_a_worker_that_says_that_it_is_ready_is_seen_by_all(cluster):
    until_whole(cluster)
    for _ in range(3):
        cluster.kill("worker-1")
        with cluster.postgres.connect() as connection:
            connection.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
        cluster.start("worker-1")
        assert "worker" not in checks(cluster)[1]
