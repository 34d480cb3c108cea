"""/metrics: what the server tells Prometheus, and whom."""

import json
import re
import sys
import urllib.error
from wsgiref.util import setup_testing_defaults

import promql_parser
import pytest
import yaml
from django.test import Client

from agents_app.server import prometheus
from tests.harness.daemon import free_port
from tests.harness.fakes import own_mcp_server
from tests.harness.paths import ROOT
from tests.harness.people import close_code
from tests.harness.scrape import Scrape, families, grown, until_scraped

FINAL = {"text": "That is all."}
CALL = {"tool_call": {"name": "calculate", "arguments": {"expression": "6*7"}}}


@pytest.fixture
def before(product):
    return Scrape(product.url)


# What is counted


def test_a_run_is_counted_from_its_acceptance_to_its_end(product, before, agent, open_chat, name):
    refused = {"only_first": 1, "do": [{"status": 429, "headers": {"retry-after": "0"}}]}
    who = agent([refused, CALL], [FINAL, {"usage": {"prompt_tokens": 90, "completion_tokens": 10}}],
                builtin_tools=["calculate"])  # fmt: skip
    chat = open_chat(name)
    chat.ask("How much is six times seven?", agent_name=who)

    after = grown(product.url, before, "runs_finished_total", status="completed")

    def more(metric, **labels):
        return after(metric, **labels) - before(metric, **labels)

    assert more("runs_started_total", trigger="chat") == 1
    for histogram in ("pick_up_seconds", "first_token_seconds", "run_seconds"):
        assert more(f"{histogram}_count") == 1, histogram
        assert 0 < more(f"{histogram}_sum") < 20, histogram
    assert more("pick_up_seconds_sum") < more("first_token_seconds_sum") < more("run_seconds_sum")
    assert more("model_calls_total", provider_kind="openai", outcome="retried") == 1
    assert more("model_calls_total", provider_kind="openai", outcome="ok") == 2
    assert more("model_first_part_seconds_count") == more("model_call_seconds_count") == 2
    assert more("tool_calls_total", source="builtin", outcome="ok") == 1
    assert more("tokens_total", direction="input") >= 90
    assert more("tokens_total", direction="output") >= 10
    assert more("flush_events_sum") == chat.fold.cursor - 1  # but `reasoning_start`, which the claim writes
    assert more("flush_seconds_count") >= more("flush_events_count") == more("token_age_seconds_count") > 0
    assert more("sockets") == 1
    assert after("gaps_total") == after("log_lag_seconds") == 0
    assert after("database_up") == after("workers") == 1


def test_what_waits_is_counted_by_the_database(product, agent, open_chat, model, name):
    who = agent([{"wait": name}, FINAL])
    chat = open_chat(name)
    for text in ("first", "second"):
        chat.say(text, agent_name=who)

    now = until_scraped(product.url, lambda now: now("runs", status="queued") == now("runs", status="running") == 1)
    assert now("queue_depth") == now("worker_runs") == 1
    assert now("queue_oldest_seconds") == 0  # it waits for its session, not for a worker
    model.release(name)
    for _ in range(2):
        chat.until("reasoning_complete")


def test_a_cancel_is_timed_from_the_wish_to_the_end(product, before, agent, open_chat, name):
    chat = open_chat(name)
    chat.say("go", agent_name=agent([{"text": "busy"}, {"wait": f"{name}-never"}]))
    chat.until_text("busy")
    chat.send("interrupt")
    chat.until("reasoning_complete")

    after = grown(product.url, before, "cancel_seconds_count")
    assert 0 < after("cancel_seconds_sum") - before("cancel_seconds_sum") < 60
    assert after("runs_finished_total", status="cancelled") == before("runs_finished_total", status="cancelled") + 1
    assert after("model_calls_total", outcome="cancelled") == before("model_calls_total", outcome="cancelled") + 1


def test_schedules_tell_their_fires_their_skips_and_how_late_they_were(product, before, agent, model, name):
    who = agent([{"wait": name}, FINAL])
    body = {"name": name, "agent_name": who, "task_prompt": "Do it.", "schedule_type": "interval",
            "schedule_value": "1", "overlap": "skip"}  # fmt: skip
    status, task = product.request("POST", "/v1/tasks", body)
    assert status == 201, task
    after = grown(product.url, before, "schedule_skips_total", reason="overlap")
    product.request("DELETE", f"/v1/tasks/{task['id']}")
    model.release(name)
    grown(product.url, before, "runs_finished_total", status="completed")  # nothing of it is left for other tests

    assert after("schedule_fires_total") == before("schedule_fires_total") + 1
    count = after("schedule_lateness_seconds_count") - before("schedule_lateness_seconds_count")
    assert count >= 1
    assert 0 < after("schedule_lateness_seconds_sum") - before("schedule_lateness_seconds_sum") < 60 * count


def test_calls_of_mcp_servers_are_counted_by_their_outcome(product, before, agent, open_chat, name):
    server = name[-10:]
    body = {"name": server, "transport": "stdio", "command": sys.executable, "args": [own_mcp_server.__file__]}
    assert product.request("POST", "/v1/mcp-servers", body)[0] == 201
    calls = [{"tool_call": {"name": f"{server}__{tool}", "arguments": {"text": "hi"}}} for tool in ("echo", "refuse")]
    open_chat(name).ask("go", agent_name=agent(calls, [FINAL], mcp_servers=[server]))
    path = f"/v1/mcp-servers/{server}/tools/echo/call"
    assert product.request("POST", path, {"arguments": {"text": "by hand"}})[0] == 200

    after = Scrape(product.url)
    for outcome, count in (("ok", 2), ("error", 1)):
        labels = {"source": "mcp", "outcome": outcome}
        assert after("tool_calls_total", **labels) - before("tool_calls_total", **labels) == count
    assert after("tool_call_seconds_count", source="mcp") - before("tool_call_seconds_count", source="mcp") == 3
    assert after("mcp_connections_total", outcome="ok") > before("mcp_connections_total", outcome="ok")


def test_a_refused_socket_is_counted_by_its_code(product, before):
    assert close_code(product.socket_url("bad%20id"), {}) == 4400
    assert grown(product.url, before, "sockets_refused_total", code="4400")


def test_no_label_says_who_or_where(product):
    labels = {
        (family.name, label)
        for family in families(product.url).values()
        for sample in family.samples
        for label in sample.labels
        if family.name.startswith("aintandem_") and label != "le"
    }
    assert {label for _, label in labels} <= {
        "action", "code", "direction", "method", "operation", "outcome", "provider_kind", "reason", "source", "state",
        "status", "trigger", "version",
    }  # fmt: skip


# Who may see it


def refused(url, **headers):
    try:
        families(url, **headers)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def test_programs_of_this_machine_and_administrators_see_it_and_nobody_else(closed_product, people):
    url = closed_product.url
    assert refused(url) == 200
    for header, value in (
        ("X-Forwarded-For", "127.0.0.1"),  # a proxy, for somebody else
        ("Via", "1.1 somewhere"),
        ("Host", "rebound.example"),
        ("Origin", "https://elsewhere.example"),
    ):
        assert refused(url, **{header: value}) == 401, header
        assert refused(url, **{header: value}, **people["ann"].headers) == 401, header
        assert refused(url, **{header: value}, Authorization="Bearer ") == 401, header
        assert refused(url, **{header: value}, **people["boss"].headers) == 200, header


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("token", "status"), [("the-right-one", 200), ("the-wrong-one", 401), ("", 401)])
def test_prometheus_comes_from_elsewhere_with_a_token_of_its_own(settings, token, status):
    settings.METRICS_TOKEN = "the-right-one"
    response = Client().get(
        "/metrics", REMOTE_ADDR="10.0.0.9", headers={"Authorization": f"Bearer {token}", "Host": "10.0.0.7:8000"}
    )
    assert response.status_code == status


@pytest.mark.django_db(transaction=True)
def test_without_a_token_of_its_own_nothing_is_one():
    response = Client().get("/metrics", REMOTE_ADDR="10.0.0.9", headers={"Authorization": "Bearer "})
    assert response.status_code == 401


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({}, "200 OK"),
        ({"REMOTE_ADDR": "::1", "HTTP_HOST": "[::1]:9100"}, "200 OK"),
        ({"REMOTE_ADDR": "10.0.0.9"}, "401 Unauthorized"),
        ({"REMOTE_ADDR": "10.0.0.9", "HTTP_AUTHORIZATION": "Bearer "}, "401 Unauthorized"),
        ({"REMOTE_ADDR": "10.0.0.9", "HTTP_AUTHORIZATION": "Bearer the-wrong-one"}, "401 Unauthorized"),
        ({"REMOTE_ADDR": "10.0.0.9", "HTTP_AUTHORIZATION": "Bearer the-right-one"}, "200 OK"),
        ({"HTTP_X_FORWARDED_FOR": "10.0.0.9"}, "401 Unauthorized"),
        ({"HTTP_HOST": "rebound.example"}, "401 Unauthorized"),
        ({"HTTP_ORIGIN": "https://elsewhere.example"}, "401 Unauthorized"),
    ],
)
def test_a_workers_metrics_need_the_token_from_elsewhere(settings, environ, status):
    settings.METRICS_TOKEN = "the-right-one"
    request = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:9100", **environ}
    setup_testing_defaults(request)
    started = []
    body = b"".join(prometheus.worker_metrics(request, lambda line, headers: started.append(line)))
    assert started == [status]
    assert (b"aintandem_" in body) == (status == "200 OK")


def test_a_workers_port_is_served(settings):
    settings.METRICS_PORT = free_port()
    prometheus.serve()
    assert refused(f"http://127.0.0.1:{settings.METRICS_PORT}") == 200
    assert refused(f"http://127.0.0.1:{settings.METRICS_PORT}", Via="1.1 somewhere") == 401


# What is shipped for Prometheus and Grafana


def expressions():
    rules = yaml.safe_load((ROOT / "deploy/prometheus-alerts.yaml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        yield rule["alert"], rule["expr"]
    dashboard = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")


def selectors(node):
    """Every vector selector of an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for part in ("lhs", "rhs", "expr", "vector_selector", "vs", "param"):
        if (inner := getattr(node, part, None)) is not None:
            yield from selectors(inner)
    for inner in getattr(node, "args", None) or ():
        yield from selectors(inner)


def test_alerts_and_panels_ask_for_metrics_and_labels_that_there_are(product):
    data = families(product.url)
    samples = set()
    for family in data.values():
        suffixes = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}.get(family.type, ("",))
        samples |= {family.name + suffix for suffix in suffixes}

    checked = 0
    for where, expression in expressions():
        result = list(selectors(promql_parser.parse(expression)))
        assert result, (where, expression)
        for selector in result:
            assert selector.name in samples, (where, selector.name)
            checked += 1
    assert checked > 40


def test_an_alert_says_what_it_is_about_and_how_bad_it_is():
    rules = yaml.safe_load((ROOT / "deploy/prometheus-alerts.yaml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    documented = (ROOT / "docs/operations.md").read_text()
    for alert in alerts:
        assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smh]", alert.get("for", "0s"))
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert {"summary", "description"} == set(alert["annotations"])
        assert alert["alert"] in documented, alert["alert"]


def test_panels_do_not_cover_each_other():
    panels = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())["panels"]
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_metric_is_documented(product):
    documented = (ROOT / "docs/operations.md").read_text()
    for family in families(product.url).values():
        if family.name.startswith("aintandem_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            assert f"`{name.removeprefix('aintandem_')}`" in documented, name
