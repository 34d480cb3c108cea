"""Configuration as files: `load_config`, `dump_config` and CONFIG_DIR."""

import io
import json
import os
import subprocess
import urllib.request
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from agents_app.models import Agent, McpServer, Provider, ScheduledTask
from tests.harness.chat import Chat
from tests.harness.paths import ROOT
from tests.harness.product import Product
from tests.harness.wait import until

OURS = """
providers:
  lab:
    base_url: http://localhost:11434/v1
    api_key: ${LAB_KEY}
    default_model: small
    default: true
mcp_servers:
  files:
    command: npx
    args: [-y, server-files, "${FILES_ROOT:-/srv}"]
    env: {TOKEN: "${FILES_TOKEN}"}
agents:
  helper:
    role: Helps
    system_prompt: |
      You help.
      Always.
    provider: lab
    parameters: {temperature: 0.5, max_tokens: 100}
    mcp_servers: [files]
    approval_required: ["files__write*"]
    compaction: off
    compact_at: 60
    default: true
tasks:
  report:
    agent_name: helper
    task_prompt: Report.
    schedule_type: cron
    schedule_value: "0 9 * * *"
    timezone: Europe/Berlin
"""


@pytest.fixture
def load(tmp_path, admin_user):
    """Write a file and load it; what the command printed."""

    def play(text: str, *options: str) -> str:
        file = tmp_path / "config.yaml"
        file.write_text(text)
        output = io.StringIO()
        call_command("load_config", str(file), *options, stdout=output)
        return output.getvalue()

    return play


@pytest.mark.both
@pytest.mark.django_db
def test_rows_are_made_as_the_file_says(load):
    output = load(OURS)
    assert "4 created, 0 changed, 0 deleted, 0 unchanged." in output
    assert "+ agents.helper" in output
    agent = Agent.objects.get(name="helper")
    assert (agent.provider.name, agent.temperature, agent.max_tokens, agent.is_default) == ("lab", 0.5, 100, True)
    assert agent.system_prompt == "You help.\nAlways.\n"
    assert (agent.compaction, agent.compact_at) == ("off", 60)
    assert [server.name for server in agent.mcp_servers.all()] == ["files"]
    assert Provider.objects.get().api_key_env == "LAB_KEY", "the key itself stays in the environment"
    assert McpServer.objects.get().args[2] == "${FILES_ROOT:-/srv}", "filled in at each use"
    assert ScheduledTask.objects.get().timezone == "Europe/Berlin"


@pytest.mark.both
@pytest.mark.django_db
def test_the_same_again_changes_nothing(load):
    load(OURS)
    stamps = [row.updated_at for row in (Agent.objects.get(), Provider.objects.get(), McpServer.objects.get())]
    assert load(OURS).strip() == "0 created, 0 changed, 0 deleted, 4 unchanged."
    assert [r.updated_at for r in (Agent.objects.get(), Provider.objects.get(), McpServer.objects.get())] == stamps


@pytest.mark.django_db
def test_a_change_is_shown_as_a_diff(load):
    load(OURS)
    output = load(OURS.replace("temperature: 0.5", "temperature: 0.9").replace("role: Helps", "role: Serves"))
    assert "~ agents.helper" in output
    assert "role: 'Helps' → 'Serves'" in output
    assert "0.9" in output
    assert "0 created, 1 changed, 0 deleted, 3 unchanged." in output


@pytest.mark.both
@pytest.mark.django_db
def test_a_dry_run_changes_nothing(load):
    assert "Would be: + providers.lab" in load(OURS, "--dry-run")
    assert not Agent.objects.exists()


@pytest.mark.both
@pytest.mark.django_db
def test_prune_deletes_what_no_file_mentions(load):
    load(OURS)
    Agent.objects.create(name="stranger")
    output = load(OURS, "--prune")
    assert "- agents.stranger" in output
    assert [agent.name for agent in Agent.objects.all()] == ["helper"]
    with pytest.raises(CommandError, match=r"agents.helper cannot be deleted: .*task"):
        load("agents: {other: }", "--prune")
    ScheduledTask.objects.all().delete()
    load("agents: {other: }", "--prune")
    assert [agent.name for agent in Agent.objects.all()] == ["other"]
    assert Provider.objects.exists(), "a kind that no file has is left alone"


@pytest.mark.both
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wrong", "line", "words"),
    [
        ("role: Helps", 15, "max_iterations"),
        ("provider: lab", 19, "no provider"),
        ('schedule_value: "0 9 * * *"', 31, "schedule_value"),
        ("command: npx", 10, "colour"),
    ],
)
def test_an_error_names_file_and_line_and_nothing_changes(load, wrong, line, words):
    better = {
        "role: Helps": "max_iterations: -1",
        "provider: lab": "provider: nobody",
        'schedule_value: "0 9 * * *"': 'schedule_value: "0 99 * * *"',
        "command: npx": "colour: blue",
    }[wrong]
    with pytest.raises(CommandError) as failure:
        load(OURS.replace(wrong, better))
    assert f"config.yaml:{line}:" in str(failure.value)
    assert words in str(failure.value)
    assert not Agent.objects.exists() and not Provider.objects.exists()


# Each line stands for nine times the one before.
BOMB = "x0: &x0 [a, b, c, d, e, f, g, h, i]\n" + "".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 20)
)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe"])
def test_what_is_no_file_is_not_read(tmp_path, path):
    if path == "pipe":
        path = str(tmp_path / "pipe.yaml")
        os.mkfifo(path)
    with pytest.raises(CommandError, match="This is not a file"):
        call_command("load_config", path)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("agents: [", "2", "not YAML"),
        ("- agents", "1", "mapping"),
        ("agents:\n  a: {role: x}\n  a: {role: y}", "3", "is there twice"),
        ("agents: {a: {role: x}}\n---\nagents: {a: {role: y}}", "3", "is already in"),
        ("gents: {a: {}}", "1", "there are: providers"),
        ("agents: {a: {role: '${NOT_SET_ANYWHERE}'}}", "1", "NOT_SET_ANYWHERE"),
        ("agents: 5", "1", "mapping"),
        ("? [a]\n: b", "1", "a key must be a string"),
        (BOMB, "1", "more than 100,000 values"),
        ("agents: &a [*a]", "1", "contains itself"),
        ("agents: " + "[" * 5000, "1", "more than 50 levels"),
        ("agents: {a: {timeout: 1" + ":59" * 300_000 + "}}", "1", "no number"),
        ("agents: {a: {timeout: !!int ten}}", "1", "not what its tag 'int' says"),
        ("agents: {a: {enabled: !!bool maybe}}", "1", "not what its tag 'bool' says"),
        ("agents: {a: {role: 2001-99-99}}", "1", "not what its tag 'timestamp' says"),
        ("agents: {a: {role: !!timestamp x}}", "1", "not what its tag 'timestamp' says"),
        ("agents: {a: {<<: {b: 1}}}", "1", "merge"),
        ("agents: {a: {temperature: .nan}}", "1", "temperature"),
        ("agents: {a: {temperature: .inf}}", "1", "temperature"),
        ("agents: {a: {timeout: 99999999999999999999999}}", "1", "timeout"),
        ("agents: {a: {role: 2001-01-01, timeout: 2001-01-01}}", "1", "timeout"),
        ('agents: {a: {role: "\\0"}}', "1", "role"),
        ('agents: {"\\0": {role: b}}', "1", "name"),
        ("providers: {p: {base_url: 'http://x/v1', headers: {a: .nan}}}", "1", "headers"),
        ("mcp_servers: {s: {command: x, timeout: 1e999}}", "1", "timeout"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(load, text, place, words):
    with pytest.raises(CommandError) as failure:
        load(text)
    assert f"config.yaml:{place}:" in str(failure.value)
    assert words in str(failure.value)


@pytest.mark.django_db
def test_secrets_are_not_printed(load):
    text = OURS.replace("${LAB_KEY}", "sk-very-secret").replace("${FILES_TOKEN}", "t0p-secret")
    output = load(text) + load(text.replace("very", "most"), "--dry-run")
    assert "secret" not in output
    assert "api_key: (not shown)" in output
    assert Provider.objects.get().api_key == "sk-very-secret"


@pytest.mark.django_db
def test_mcp_servers_may_be_written_as_in_other_programs(load):
    load("mcp_servers:\n  web: {type: http, url: 'https://example.com/mcp'}\n  bare: {url: 'https://example.com/mcp'}")
    assert {server.transport for server in McpServer.objects.all()} == {"streamable_http"}
    with pytest.raises(CommandError, match=r"config.yaml:2: .*transport"):
        load("mcp_servers:\n  a: {command: npx, type: [stdio]}")


@pytest.mark.both
@pytest.mark.django_db
def test_what_is_dumped_makes_the_same_elsewhere(load):
    load(OURS)
    dumped = io.StringIO()
    call_command("dump_config", stdout=dumped)
    for rows in (ScheduledTask, Agent, McpServer, Provider):
        rows.objects.all().delete()
    load(dumped.getvalue().replace("TOKEN: ***", "TOKEN: ${FILES_TOKEN}"))
    again = io.StringIO()
    call_command("dump_config", stdout=again)
    assert again.getvalue() == dumped.getvalue()
    for part in ("report:", "helper:", "files:", "lab:", "0 9 * * *", "files__write*"):
        assert part in again.getvalue()


@pytest.mark.both
@pytest.mark.django_db
def test_what_is_dumped_loads_again(load):
    load(OURS)
    dumped = io.StringIO()
    call_command("dump_config", stdout=dumped)
    assert "You help.\n" in dumped.getvalue()
    assert load(dumped.getvalue()).strip() == "0 created, 0 changed, 0 deleted, 4 unchanged."


@pytest.mark.django_db
def test_what_is_dumped_holds_no_secret(load):
    load(OURS.replace("${LAB_KEY}", "sk-very-secret").replace("${FILES_TOKEN}", "t0p-secret"))
    dumped = io.StringIO()
    call_command("dump_config", stdout=dumped)
    assert "secret" not in dumped.getvalue()


@pytest.mark.slow
def test_a_folder_is_loaded_at_the_start_and_on_each_save(tmp_path, model, name):
    folder = tmp_path / "config"
    folder.mkdir()
    file = folder / "agents.yaml"
    model.script(name, [[{"text": "half"}, {"wait": name}, {"text": " whole"}]])
    provider = f"providers: {{lab: {{base_url: '{model.base_url}'}}}}\n"

    def text(role: str, more: str = "") -> str:
        return f"{provider}agents: {{helper: {{role: {role}, provider: lab, model: {name}{more}}}}}"

    file.write_text(text("First"))
    with Product(tmp_path / "var", CONFIG_DIR=str(folder)) as product:

        def role() -> str:
            return product.request("GET", "/v1/agents/helper")[1]["role"]

        assert role() == "First"
        chat = Chat(product.socket_url("s", after=0))
        chat.say("hi", agent_name="helper")
        chat.until_text("half")
        file.write_text(text("Second"))
        until(lambda: role() == "Second")
        model.release(name)
        assert chat.until("reasoning_complete")["data"]["status"] == "completed", "whoever runs, goes on"
        assert chat.fold.story() == [("final_answer", "half whole")]
        chat.close()
        file.write_text(text("Third", ", colour: blue"))
        warnings = until(lambda: product.request("GET", "/readyz")[1].get("warnings"))
        assert "agents.yaml:2:" in warnings["configuration"]
        assert role() == "Second"
        until(lambda: "agents.yaml:2:" in product.logged())
        page = urllib.request.urlopen(f"{product.url}/chat/").read().decode()
        assert "agents.yaml:2:" in page
        status, body = product.request("GET", "/readyz")
        assert (status, body["checks"]["configuration"]) == (200, "ok"), "what was configured before still serves"
        file.write_text(text("Third"))
        until(lambda: role() == "Third")
        until(lambda: "warnings" not in product.request("GET", "/readyz")[1])
        assert "agents.yaml" not in urllib.request.urlopen(f"{product.url}/chat/").read().decode()
        watch_a_file(tmp_path / "more.yaml", product)


def watch_a_file(file: Path, product: Product) -> None:
    """`load_config --watch`, beside the server."""

    def roles() -> list[str]:
        agents = product.request("GET", "/v1/agents")[1]["data"]
        return [agent["role"] for agent in agents if agent["name"] == "watched"]

    file.write_text("agents: {watched: {role: First}}")
    command = product.command("load_config", str(file), "--watch")
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=product.environment, **outputs) as watching:
        try:
            until(lambda: roles() == ["First"])
            file.write_text("agents: {watched: {role: 1, colour: blue}}")
            assert watching.stderr.readline() == "Nothing was changed:\n"
            assert "more.yaml:1: agents.watched: colour" in watching.stderr.readline()
            file.write_text("agents: {watched: {role: Second}}")
            until(lambda: roles() == ["Second"])
            watching.terminate()
            output, errors = watching.communicate(timeout=60)
        finally:
            watching.kill()
    assert watching.returncode == 0
    assert "~ agents.watched" in output
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_folder_that_never_loaded_is_not_ready(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "x.yaml").write_text("agents: [")
    with Product(tmp_path / "var", CONFIG_DIR=str(tmp_path / "config")) as product:
        status, body = product.request("GET", "/readyz")
        assert status == 503
        assert "x.yaml" in json.dumps(body["checks"]["configuration"])
