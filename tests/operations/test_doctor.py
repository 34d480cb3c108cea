"""The doctor on one machine; `tests/cluster/test_operations.py` has it look at broken clusters."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from agents_app.doctor import chaos, integrations
from agents_app.engine.mcp import ServerReport
from agents_app.models import McpServer
from benchmarks.chaos import arguments
from tests.harness import zygote
from tests.harness.product import Product


def doctor(product: Product, *arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit status, and state and words of each finding."""
    command = product.command("doctor", "--json", *arguments)
    done = zygote.run(command, env=product.environment)
    assert done.stderr == ""
    output: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, {c["name"]: (c["state"], f"{c['message']} {c['remedy']}") for c in output["checks"]}


@pytest.mark.slow
def test_an_embedded_server_is_whole_and_a_tool_that_is_gone_is_named(product, name):
    server = {"name": name, "transport": "stdio", "command": "/no/such/program"}
    assert product.request("POST", "/v1/mcp-servers", server)[0] == 201
    before = product.request("GET", f"/v1/mcp-servers/{name}")[1]
    _, result = doctor(product, "--url", product.url, "--idle", "0.5")
    whole = {"database", "migrations", "settings", "static files", "secrets", "disk", "agents", "model local"}
    for each in whole | {"front door", "readiness", "pages", "event stream", "websocket"}:
        assert result[each][0] == "ok", result[each]
    assert result[f"mcp {name}"][0] == "warning", "no agent uses it"
    assert "no program" in result[f"mcp {name}"][1]
    sessions = product.request("GET", "/v1/sessions")[1]["data"]
    assert not any(session["id"].startswith("doctor-") for session in sessions), "it leaves nothing behind"
    assert product.request("GET", f"/v1/mcp-servers/{name}")[1] == before
    assert product.request("DELETE", f"/v1/mcp-servers/{name}")[0] == 204


def test_a_place_where_nothing_has_run_yet(tmp_path):
    product = Product(tmp_path)
    product.environment["PORT"] = str(product.port)
    status, result = doctor(product)
    assert status == 0, result
    assert "manage.py serve" in result["database"][1]
    assert "does not answer" in result["front door"][1]
    assert not (tmp_path / "db.sqlite3").exists()


@pytest.mark.django_db
def test_a_tool_that_changed_since_the_check_is_named(monkeypatch):
    McpServer.objects.create(name="files", command="x")
    report = ServerReport(True, "It answers.", changed=("delete",))

    async def check(rows: list[McpServer]) -> list[ServerReport]:
        return [report]

    monkeypatch.setattr(integrations, "_check", check)
    [finding] = integrations.mcp_servers()
    assert (finding.state, "1 tool changed since the last check: delete" in finding.message) == ("warning", True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "agents.example.com"}, "http://"),
        ({"idle": -1}, "--idle"),
        ({"chaos": True, "seconds": 1}, "--seconds"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(CommandError, match=words):
        call_command("doctor", **options)


def test_chaos_says_what_it_needs(settings, tmp_path: Path):
    settings.BASE_DIR = tmp_path
    with pytest.raises(CommandError, match="needs what is missing here: the source code"):
        call_command("doctor", chaos=True)


def test_chaos_asks_for_what_the_benchmark_takes():
    options = arguments().parse_args(chaos.arguments(30))
    assert (options.what, options.minutes, options.sessions) == ("chaos", 0.5, 10)
