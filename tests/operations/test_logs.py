"""Log lines: what they are about, so that a run's are found among all, in text and in JSON."""

import json
import re

import pytest

from tests.harness.product import Product
from tests.harness.wait import until

FINAL = [{"text": "Done."}]
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def json_product(tmp_path_factory):
    with Product(tmp_path_factory.mktemp("json") / "var", LOG_FORMAT="json") as running:
        yield running


def lines_of(product, run):
    """The run's lines, once the one of its end is among them."""

    def look():
        records = [json.loads(line) for line in product.logged().splitlines() if line.startswith("{")]
        response = [record for record in records if record.get("run_id") == run]
        return response if any("completed" in record["message"] for record in response) else None

    return until(look)


def test_a_runs_lines_are_found_by_its_id_and_lead_to_its_request(json_product, model, name):
    model.script(name, [FINAL])
    json_product.add_agent(name, model.base_url)
    body = {"model": name, "messages": MESSAGES}
    status, _ = json_product.request("POST", "/v1/chat/completions", body, X_Session_Id=name, X_Request_Id="mine-77")
    assert status == 200
    (run,) = json_product.request("GET", f"/v1/sessions/{name}/runs")[1]["data"]

    assert run["request_id"] == "mine-77"
    lines = lines_of(json_product, run["id"])
    assert [line["message"].partition(" after ")[0] for line in lines] == [
        f"Agent {name} begins: attempt 1",
        f"Agent {name} completed",
    ]
    for line in lines:
        assert line.keys() == {"time", "level", "logger", "message", "run_id", "session_id", "request_id"}
        assert (line["level"], line["session_id"], line["request_id"]) == ("INFO", name, "mine-77")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_a_chats_runs_have_the_request_id_of_its_socket(product, agent, open_chat, name):
    for number in (1, 2):
        open_chat(name).ask("hi", agent_name=agent(FINAL) if number == 1 else name)
    runs = product.request("GET", f"/v1/sessions/{name}/runs")[1]["data"]
    ids = [run["request_id"] for run in runs]
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"req_[0-9a-f]{24}", each) for each in ids)

    ending = f"[run={runs[0]['id']} session={name} request={ids[0]}]"
    until(lambda: re.search(rf"completed after \d+\.\d+ s {re.escape(ending)}$", product.logged(), re.MULTILINE))


@pytest.mark.parametrize("request_id", ["has spaces", "x" * 129, 'quo"te'])
def test_an_id_that_could_forge_a_line_is_replaced(product, agent, name, request_id):
    body = {"message": "hi", "session_id": name}
    status, started = product.request("POST", f"/v1/agents/{agent(FINAL)}/runs", body, X_Request_Id=request_id)
    assert status == 202
    run = product.request("GET", f"/v1/runs/{started['run_id']}")[1]
    assert re.fullmatch(r"req_[0-9a-f]{24}", run["request_id"])
