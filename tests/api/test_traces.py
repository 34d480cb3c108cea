"""Traces: one from the request to the tool, by OpenTelemetry's own words; and none where nobody asks."""

import os
import socket
import subprocess
import sys

import pytest

from agents_app.observability import tracing
from tests.harness.paths import ROOT
from tests.harness.product import Product

pytestmark = pytest.mark.slow
FINAL = [{"text": "The secret answer."}, {"usage": {"prompt_tokens": 9, "completion_tokens": 3}}]
CALL = [{"tool_call": {"name": "calculate", "arguments": {"expression": "6*7"}}}]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def product(tmp_path_factory, collector):
    with Product(tmp_path_factory.mktemp("traced") / "var", **collector.environment) as running:
        yield running
        running.stop()
        assert "Traceback" not in running.logged(), running.logged()[-5000:]


def complete(product, name, **headers):
    body = {"model": name, "messages": [{"role": "user", "content": "A secret question?"}]}
    status, answer = product.request("POST", "/v1/chat/completions", body, X_Session_Id=name, **headers)
    assert status == 200, answer
    return product.request("GET", f"/v1/sessions/{name}/runs")[1]["data"][0]


def by_name(spans):
    return {span.name.split()[0]: span for span in spans}


def test_a_clients_trace_goes_on_to_the_models_turns_and_the_tools(product, agent, collector, name):
    agent(CALL, FINAL, builtin_tools=["calculate"], parameters={"temperature": 0.5})
    run = complete(product, name, traceparent=f"00-{TRACE}-{SPAN}-01")

    spans = collector.trace_of_run(run["id"], enough=lambda spans: len(spans) == 5)
    assert {span.trace for span in spans} == {TRACE}
    (request,) = [span for span in spans if span.kind == "server"]
    (invoked,) = [span for span in spans if span.name == f"invoke_agent {name}"]
    assert request.parent == SPAN
    assert request.name == "POST /v1/chat/completions"
    assert request.attributes["http.response.status_code"] == 200
    assert invoked.parent == request.id
    assert invoked.attributes["gen_ai.agent.name"] == name
    assert invoked.attributes["gen_ai.conversation.id"] == name
    assert invoked.attributes["aintandem.run.status"] == "completed"

    turns = [span for span in spans if span.name == f"chat {name}"]
    (tool,) = [span for span in spans if span.name == "execute_tool calculate"]
    assert [turn.kind for turn in turns] == ["client", "client"]
    assert {span.parent for span in (*turns, tool)} == {invoked.id}
    assert {turn.attributes["gen_ai.request.temperature"] for turn in turns} == {0.5}
    assert {turn.attributes["gen_ai.provider.name"] for turn in turns} == {"openai"}
    assert {tuple(turn.attributes["gen_ai.response.finish_reasons"]) for turn in turns} == {("tool_calls",), ("stop",)}
    assert invoked.attributes["gen_ai.usage.output_tokens"] == sum(
        turn.attributes.get("gen_ai.usage.output_tokens", 0) for turn in turns
    )
    assert tool.attributes["gen_ai.tool.name"] == "calculate"
    assert tool.attributes["gen_ai.tool.type"] == "function"
    assert not any(span.failed for span in spans)
    assert "secret" not in repr(spans)


def test_a_chats_frame_begins_a_trace_and_a_failure_is_marked(product, agent, open_chat, collector, name):
    chat = open_chat(name)
    chat.ask("go", agent_name=agent([{"status": 401}]))
    (run,) = product.request("GET", f"/v1/sessions/{name}/runs")[1]["data"]

    spans = {span.name: span for span in collector.trace_of_run(run["id"], enough=lambda spans: len(spans) == 3)}
    for data in (spans[f"chat {name}"], spans[f"invoke_agent {name}"]):
        assert data.failed
        assert data.attributes["error.type"] == "model_key_refused"


def test_an_agent_that_asks_another_has_its_run_in_its_own_trace(product, model, agent, collector, name):
    other = f"{name}-other"
    model.script(other, [FINAL])
    product.add_agent(other, model.base_url)
    agent([{"tool_call": {"name": "ask_agent", "arguments": {"agent": other, "message": "Well?"}}}], FINAL,
          builtin_tools=["ask_agent"])  # fmt: skip
    run = complete(product, name)

    spans = collector.trace_of_run(run["id"], enough=lambda spans: len(spans) == 7)
    names = {span.name: span for span in spans}
    assert names[f"invoke_agent {other}"].parent == names["execute_tool ask_agent"].id
    assert names["execute_tool ask_agent"].parent == names[f"invoke_agent {name}"].id


def test_a_traceparent_that_is_none_does_no_harm(product, agent, collector, name):
    agent(FINAL)
    run = complete(product, name, traceparent="00-zz-11-01")
    spans = collector.trace_of_run(run["id"], enough=lambda spans: len(spans) == 3)
    assert [span.parent for span in spans if span.kind == "server"] == [""]


STOP = """
import time
from agents_app.observability import tracing
tracing.start("test", "1")
with tracing.span("lost"):
    pass
began = time.monotonic()
tracing.stop()
print(time.monotonic() - began)
"""


def test_a_collector_that_hangs_does_not_keep_a_server_from_ending():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        environment = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{deaf.getsockname()[1]}"}
        done = subprocess.run([sys.executable, "-c", STOP], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert 1.9 < float(done.stdout) < 9, done.stderr  # the exporter alone would try for 10 seconds


# Whether anybody asked


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://localhost:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, False),
    ],
)
def test_opentelemetrys_own_variables_ask_for_it(environment, expected):
    assert tracing.is_enabled(environment) is expected
    assert tracing.problem(environment) == ""


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"),
    ],
)
def test_words_that_we_do_not_know_stop_the_start(environment, words):
    assert words in tracing.problem(environment)


def test_where_nobody_asks_nothing_of_it_is_even_loaded(tmp_path):
    script = (
        "import django, sys; django.setup(); from agents_app.observability import tracing; tracing.start('x', '1');"
        "import agents_app.engine.loop, agents_app.server.prometheus;"
        # redis-py loads the metrics' half of the SDK by itself, where it is installed
        "sys.exit(any(name.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter')) for name in sys.modules))"
    )
    environment = {"VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "scheduler_project.settings", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
