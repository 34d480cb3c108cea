"""The schema is true: schemathesis makes up requests from it, and every answer is one that the schema promises.

SCHEMA_EXAMPLES says how many requests are made up for each operation; with 50 and more, every bound of every field is
tried as well, which takes a quarter of an hour.
"""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.belongings import Belongings, belongings
from tests.harness.paths import ROOT
from tests.harness.people import Person, invite
from tests.harness.product import Product

PROGRAM = ROOT / "var/test-tools/schemathesis/bin/schemathesis"
HOOKS = ROOT / "tests/harness/schemathesis_hooks.py"
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "1"))
NO_LIMITS = {"REQUESTS_PER_MINUTE": "0", "REQUESTS_PER_MINUTE_PER_ADDRESS": "0", "QUEUED_RUNS_PER_USER": "0"}
# Of {id} and its like in the addresses of a kind of things, most are of something that there is.
PARAMETERS = {"agents": "name", "models": "name", "providers": "name", "mcp-servers": "name", "responses": "identifier"}
PARAMETERS |= dict.fromkeys(("sessions", "runs", "tasks", "tokens"), "id")
# 503 is an answer as well: of a provider or an MCP server that is away.
SETTINGS = """
warnings = false
max-stream-events = 2
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503]
positive_data_acceptance.enabled = false
negative_data_rejection.enabled = false
[generation.dictionaries]
string = {dictionary = "said", probability = 0.15}
"""
OF_A_KIND = """
[[operations]]
include-path-regex = "^/v1/{kind}/.*{{{name}}}"
parameters = {{"path.{name}" = {{dictionary = "{kind}", probability = {share}}}}}
"""


@pytest.fixture(scope="module")
def people(tmp_path_factory, model) -> Iterator[dict[str, Person]]:
    """A server whose every agent talks to the fake model, and who may sign in there."""
    var_dir = tmp_path_factory.mktemp("schema") / "var"
    with Product(var_dir, AUTH_REQUIRED="true", WORKER_CONCURRENCY="4", **NO_LIMITS) as product:
        yield invite(product, "boss", "ann")
        product.stop()
        assert "Traceback" not in product.logged(), product.logged()[-5000:]


@pytest.fixture(scope="module")
def things(people, model) -> Belongings:
    boss = people["boss"]
    (made,) = belongings(people["ann"], boss, model, "schema", secret="said by ann")
    model.script("answers", [[{"text": "Yes."}]])
    model.script("SmolLM2-135M-Instruct", [[{"text": "Yes."}]])  # what agents have that name no model
    boss.add_agent("answers", model.base_url)
    boss.add_agent("changed", model.base_url)
    server = {"name": "changed", "transport": "stdio", "command": "/nonexistent/program"}
    assert boss.request("POST", "/v1/mcp-servers", server)[0] == 201
    provider = {"name": "changed", "kind": "openai", "base_url": model.base_url}
    assert boss.request("POST", "/v1/providers", provider)[0] == 201
    for listed in boss.request("GET", "/v1/providers")[1]["data"]:  # nothing made up may keep the machine busy
        if listed["kind"] == "local":
            boss.request("PATCH", f"/v1/providers/{listed['name']}", {"kind": "openai", "base_url": model.base_url})
    return made


def settings(things: Belongings) -> str:
    """Our settings in schemathesis' words."""
    values = {"agents": "changed", "models": "answers", "providers": "changed", "mcp-servers": "changed"}
    existing = {kind: [({**things.ids, **values})[kind]] for kind in PARAMETERS}
    existing["said"] = ["answers", things.ids["sessions"], things.ids["call"]]
    text = SETTINGS
    for kind, name in PARAMETERS.items():  # whoever revokes another token could revoke the one that they came with
        text += OF_A_KIND.format(kind=kind, name=name, share=1.0 if kind == "tokens" else 0.8)
    return text + "".join(
        f"[dictionaries.{kind}]\nvalues = {json.dumps(listed)}\n" for kind, listed in existing.items()
    )


def report(person: Person, schema: Path, config: Path) -> str:
    """What schemathesis says against the answers that this person got; empty where there is nothing."""
    phases = "examples,coverage,fuzzing" if EXAMPLES >= 50 else "examples,fuzzing"
    command = [str(PROGRAM), "--config-file", str(config), "run", str(schema), "--url", person.product.url]
    command += [
        "--phases",
        phases,
        "--max-examples",
        str(EXAMPLES),
        "--request-timeout",
        "60",
        "--seed",
        "6",
        "--generation-database",
        "none",
    ]
    command += ["--no-color", "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all"]
    command += [f"--header={name}: {value}" for name, value in person.headers.items()]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=config.parent, timeout=3600
    )
    if done.returncode == 0:
        assert int(re.search(r"(\d+) generated", done.stdout)[1]) > 3 * len(PARAMETERS), done.stdout
        return ""
    return f"{person.name or 'nobody'}:\n{done.stdout}{done.stderr}"


@pytest.mark.slow
def test_every_answer_is_one_that_the_schema_promises(people, things, tmp_path):
    """To a user and an administrator, and, with more examples, to nobody; the last one changes things."""
    config, schema = tmp_path / "schemathesis.toml", tmp_path / "schema.json"
    config.write_text(settings(things))
    schema.write_text(json.dumps(people["boss"].request("GET", "/v1/schema")[1]))
    reports = [report(people[name], schema, config) for name in ("", "ann", "boss")[EXAMPLES == 1 :]]
    assert not any(reports), "\n".join(reports)
    assert [people[name].request("GET", "/v1/sessions")[0] for name in ("ann", "boss")] == [200, 200]


# What it found


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/responses", {"input": "hi"}), ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]})],
)
def test_a_model_without_a_name_is_no_model(people, path, body):
    """It was the default agent."""
    status, answer = people["ann"].request("POST", path, {"model": "", **body})
    assert (status, answer["error"]["param"]) == (400, "model")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/x", "/v1/sessions"])
def test_a_method_that_is_not_allowed_says_which_are(people, path):
    request = urllib.request.Request(people["ann"].product.url + path, headers=people["ann"].headers, method="TRACE")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    with refused.value as answer:
        assert (answer.code, "GET" in answer.headers["Allow"]) == (405, True)
