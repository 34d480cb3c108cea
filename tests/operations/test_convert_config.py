"""`manage.py convert_config`: the predecessor's files become ours, and what is left out is named."""

import io

import pytest
import yaml
from django.core.management import CommandError, call_command

from agents_app.models import Agent, McpServer, Provider

FILES = {
    "llm.yaml": """
llm:
  providers:
    qwen: {api_key: "${DASHSCOPE_API_KEY}", sdk: qwen, base_url: "http://qwen.test/v1"}
    claude: {api_key: "${ANTHROPIC_API_KEY}", sdk: claude}
  models:
    - {name: qwen-3.5-max, provider: qwen, max_tokens: 2000}
    - {name: claude-sonnet, provider: claude}
  default_model: qwen-3.5-max
  generation: {temperature: 0.7, top_p: 0.9}
""",
    "agents.yaml": """
agents:
  - name: researcher
    role: Researcher
    description: Finds things out
    system_prompt: |
      You research.
      Always.
    llm_model: claude-sonnet
    sdk: claude
    mcp_servers: [files, web]
    extended_thinking_enabled: true
  - {name: writer, llm_model: qwen-3.5-max, enabled: false}
  - {name: helper}
""",
    "mcp_servers.yaml": """
mcp_servers:
  - {name: files, description: Files, transport: stdio, command: npx, args: [-y, server-files],
     env: {TOKEN: "${FILES_TOKEN}"}, timeout: 30}
  - {name: web, transport: sse, sse: {url: "https://web.test/sse", headers: {Authorization: "Bearer ${WEB}"}},
     enabled: false}
""",
}


@pytest.fixture
def convert(tmp_path):
    """Write files and convert them; returns what the command printed, on standard output and on standard error."""

    def play(*texts: str) -> tuple[str, str]:
        for number, text in enumerate(texts):
            (tmp_path / f"old{number}.yaml").write_text(text)
        output, errors = io.StringIO(), io.StringIO()
        call_command("convert_config", str(tmp_path), stdout=output, stderr=errors)
        return output.getvalue(), errors.getvalue()

    return play


@pytest.mark.django_db
def test_a_set_of_files_is_converted_and_loads(convert, tmp_path, admin_user):
    text, notes = convert(*FILES.values())
    new = tmp_path / "new"
    new.mkdir()
    (new / "config.yaml").write_text(text)
    call_command("load_config", str(new), stdout=io.StringIO())
    assert notes == ""
    qwen, claude = Provider.objects.get(name="qwen"), Provider.objects.get(name="claude")
    assert (qwen.kind, qwen.base_url, qwen.api_key_env) == ("openai", "http://qwen.test/v1", "DASHSCOPE_API_KEY")
    assert (qwen.default_model, qwen.is_default) == ("qwen-3.5-max", True)
    assert (claude.kind, claude.api_key_env, claude.default_model) == (
        "anthropic",
        "ANTHROPIC_API_KEY",
        "claude-sonnet",
    )
    researcher = Agent.objects.get(name="researcher")
    assert (researcher.role, researcher.description) == ("Researcher", "Finds things out")
    assert researcher.system_prompt == "You research.\nAlways.\n"
    assert (researcher.provider, researcher.model, researcher.temperature) == (claude, "claude-sonnet", 0.7)
    assert (researcher.top_p, researcher.reasoning_effort) == (0.9, "medium")
    assert {server.name for server in researcher.mcp_servers.all()} == {"files", "web"}
    writer, helper = Agent.objects.get(name="writer"), Agent.objects.get(name="helper")
    assert (writer.provider, writer.max_tokens, writer.enabled) == (qwen, 2000, False)
    assert (helper.provider, helper.model, helper.max_tokens) == (None, "", 2000), "the default model answers"
    files, web = McpServer.objects.get(name="files"), McpServer.objects.get(name="web")
    assert (files.transport, files.command, files.args) == ("stdio", "npx", ["-y", "server-files"])
    assert (files.env, files.timeout, files.description) == ({"TOKEN": "${FILES_TOKEN}"}, 30, "Files")
    assert (web.transport, web.url, web.enabled) == ("sse", "https://web.test/sse", False)
    assert web.headers == {"Authorization": "Bearer ${WEB}"}


def test_the_order_of_files_does_not_matter(convert):
    first, _ = convert(*FILES.values())
    again, _ = convert(*reversed(FILES.values()))
    assert yaml.safe_load(first)["agents"] == yaml.safe_load(again)["agents"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("llm:\n  providers:\n    a: {sdk: claude,\n        description: x}", 4, "'llm.providers.a.description'"),
        ("llm:\n  providers:\n    a: {sdk: claude, supports_mcp: true}", 3, "'llm.providers.a.supports_mcp'"),
        ("llm: {providers: {a: {sdk: claude, supports_computer_use: true}}}", 1, "supports_computer_use"),
        ("llm: {providers: {a: {sdk: lab}}}", 1, "'llm.providers.a.base_url' is missing"),
        ("llm: {providers: {a: {sdk: claude, api_key: sk-1}}}", 1, "'llm.providers.a.api_key' holds the key itself"),
        ("llm:\n  models:\n    - {name: m.1, description: x}", 3, "'llm.models.m.1.description'"),
        ("llm: {models: [{name: m, supports_streaming: true}]}", 1, "supports_streaming"),
        ("llm: {models: [{name: m, supports_function_calling: true}]}", 1, "supports_function_calling"),
        ("llm: {models: [{name: m, supports_mcp: true}]}", 1, "supports_mcp"),
        ("llm: {models: [{name: m, provider: nobody}]}", 1, "'nobody', which is not in llm.providers"),
        ("llm:\n  default_model: slow", 2, "'slow', which is not in llm.models"),
        ("llm:\n  generation:\n    max_retries: 3", 3, "'llm.generation.max_retries'"),
        ("llm: {generation: {timeout: 3}}", 1, "'llm.generation.timeout'"),
        ("llm:\n  modles: {}", 2, "'llm.modles' is unknown"),
        ("agents:\n  - name: a\n    llm_model: slow", 3, "'slow', which is not in llm.models"),
        ("agents: [{name: a, computer_use_enabled: true}]", 1, "'agents.a.computer_use_enabled'"),
        ("agents:\n  - name: a\n    colour: blue", 3, "'agents.a.colour' is unknown"),
        ("agents: [{name: Data Analyst}]", 1, "is called 'Data-Analyst' now"),
        ("mcp_servers: [{name: a, command: b, health_check: {enabled: true}}]", 1, "'mcp_servers.a.health_check'"),
        ("mcp_servers: [{name: a, command: b, function_call_wrapper: true}]", 1, "function_call_wrapper"),
        ("mcp_servers: [{name: a__b, command: b}]", 1, "is called 'a_b' now"),
        ("mcp_servers: [{name: a, sse: {url: 'http://x', retry: 1}}]", 1, "'mcp_servers.a.sse.retry' is unknown"),
        ("storage: {path: x}", 1, "'storage' (path) is set by environment variables now: DATABASE_URL"),
        ("app:\n  port: 1", 1, "'app' (port) is set by environment variables now: HOST, PORT"),
        ("\nplugins: {}", 2, "'plugins' is unknown"),
    ],
)
def test_what_is_left_out_is_named_with_its_line(convert, text, line, words):
    output, notes = convert(text)
    assert f"old0.yaml:{line}: " in notes
    assert words in notes
    assert f"old0.yaml:{line}: " in output.splitlines()[0], "as a comment, too"
    assert words in output


def test_an_agent_whose_sdk_does_not_fit_its_provider_is_named(convert):
    llm = "llm: {providers: {q: {sdk: qwen}}, models: [{name: m, provider: q}]}\n"
    assert "'agents.a.sdk' is 'claude'" in convert(f"{llm}agents: [{{name: a, sdk: claude, llm_model: m}}]")[1]
    assert convert(f"{llm}agents: [{{name: a, sdk: qwen, llm_model: m}}]")[1] == ""


def test_a_model_with_a_key_or_address_becomes_a_provider(convert):
    text, _ = convert(
        "llm:\n  providers: {lab: {base_url: 'http://a/v1', api_key: '${A}'}}\n"
        "  models: [{name: own, provider: lab, base_url: 'http://b/v1'}]\nagents: [{name: a, llm_model: own}]"
    )
    document = yaml.safe_load(text)
    provider = {"kind": "openai", "base_url": "http://b/v1", "api_key": "${A}", "default_model": "own"}
    assert document["providers"]["lab-own"] == provider
    assert document["agents"]["a"] == {"provider": "lab-own", "model": "own"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("agents: [", 2, "This is not YAML"),
        ("- agents", 1, "mapping"),
        ("agents: 5", 1, "Each of 'agents' must be a mapping with a name."),
        ("agents:\n  - helper", 1, "Each of 'agents' must be a mapping with a name."),
        ("agents: [{name: a}]\n---\nagents:\n  - {name: a}", 4, "There is another 'a' in 'agents'."),
        ("agents: [{name: a, mcp_servers: files}]", 1, "'agents.a.mcp_servers' must be a list."),
        ("llm: [fast]", 1, "'llm' must be a mapping."),
        ("llm: {generation: hot}", 1, "'llm.generation' must be a mapping."),
        ("llm: {models: [fast]}", 1, "Each of 'llm.models' must be a mapping with a name."),
        ("mcp_servers: [{name: a, sse: 'http://x'}]", 1, "'mcp_servers.a.sse' must be a mapping."),
    ],
)
def test_a_file_of_another_shape_is_refused_with_one_sentence(convert, text, line, words):
    with pytest.raises(CommandError) as failure:
        convert(text)
    assert f"old0.yaml:{line}: " in str(failure.value)
    assert words in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("llm: {}", 1, "llm"),
        ("\nstorage: {}", 2, "storage"),
        ("app: {}", 1, "app"),
        ("agents:\n  - name: a\n    llm_model: m\n    sdk: qwen", 3, "agents.llm_model"),
        ("agents: {a: {computer_use_enabled: true}}", 1, "agents.computer_use_enabled"),
        ("agents: {a: {extended_thinking_enabled: true}}", 1, "agents.extended_thinking_enabled"),
        ("mcp_servers: [{name: a, sse: {url: 'http://x'}}]", 1, "mcp_servers.sse"),
        ("mcp_servers: [{name: a, health_check: {}}]", 1, "mcp_servers.health_check"),
        ("mcp_servers: [{name: a, function_call_wrapper: true}]", 1, "mcp_servers.function_call_wrapper"),
    ],
)
def test_load_config_names_the_command(tmp_path, admin_user, text, line, word):
    file = tmp_path / "old.yaml"
    file.write_text(text)
    with pytest.raises(CommandError) as failure:
        call_command("load_config", str(file))
    assert str(failure.value) == (
        f"{file}:{line}: {word!r} is a word of the predecessor's files: "
        "convert them with `manage.py convert_config OLD.yaml… > new.yaml`."
    )
