"""Secrets are nowhere to be read: known ones are planted in every place for them, used, and looked for everywhere."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.harness import zygote
from tests.harness.form_client import FormClient
from tests.harness.people import PASSWORD, close_code, invite
from tests.harness.product import Product

PLANTED = {
    "provider": "planted-provider-key-0001",
    "server's environment": "planted-server-env-0003",
    "server's header": "planted-server-header-0004",
    "webhook": "whsec_cGxhbnRlZC13ZWJob29rLXNlY3JldC0wMDA1LTAwMDU=",
    "server key": "planted-secret-key-0006-" + "x" * 40,
    "environment": "planted-environment-0007",
    "metrics": "planted-metrics-token-0008",
}
SPILLS = "import os, sys; sys.stderr.write(' '.join(f'{k}={v}' for k, v in os.environ.items())); sys.exit(3)"


@pytest.fixture(scope="module")
def used(tmp_path_factory, model):
    """A server that logs all it can, on which every secret was given and used, by things that fail with it."""
    environment = {
        "AUTH_REQUIRED": "true",
        "LOG_LEVEL": "DEBUG",
        "SECRET_KEY": PLANTED["server key"],
        "PLANTED_KEY": PLANTED["environment"],
        "METRICS_TOKEN": PLANTED["metrics"],
    }
    with Product(tmp_path_factory.mktemp("planted") / "var", **environment) as product:
        boss = invite(product, "boss")["boss"]
        refusal = {"error": {"message": f"Incorrect API key provided: {PLANTED['provider']}", "type": "x", "code": "x"}}
        model.script("refused", [[{"status": 401, "body": refusal}]])
        provider = {"kind": "openai", "base_url": model.base_url}
        server_env = {"API_KEY": PLANTED["server's environment"]}
        spilling = {"command": sys.executable, "args": ["-c", SPILLS], "env": server_env}
        unreachable = {"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": PLANTED["server's header"]}}
        for path, body in (
            ("/v1/providers", provider | {"name": "keyed", "api_key": PLANTED["provider"]}),
            ("/v1/providers", provider | {"name": "named", "api_key_env": "PLANTED_KEY"}),
            ("/v1/agents", {"name": "refused", "provider": "keyed", "model": "refused"}),
            ("/v1/agents", {"name": "named", "provider": "named", "model": "refused"}),
            ("/v1/mcp-servers", {"name": "spilling", "transport": "stdio", **spilling}),
            ("/v1/mcp-servers", {"name": "unreachable", "transport": "streamable_http", **unreachable}),
            ("/v1/agents", {"name": "tooled", "provider": "keyed", "model": "refused", "mcp_servers": ["spilling"]}),
        ):
            status, answer = boss.request("POST", path, body)
            assert status == 201, answer
        task = {"name": "t", "agent_name": "refused", "task_prompt": "x", "schedule_type": "interval"}
        task |= {"webhook_url": "http://127.0.0.1:9/", "webhook_secret": PLANTED["webhook"], "schedule_value": "86400"}
        status, made = boss.request("POST", "/v1/tasks", task)
        assert status == 201, made
        boss.request("POST", f"/v1/tasks/{made['id']}/run")
        _, ticket = boss.request("POST", "/v1/ws-tickets")
        close_code(product.socket_url("ticketed"), {}, ["agent.v1", f"ticket.{ticket['ticket']}"])
        heard = []
        for agent in ("refused", "named", "tooled"):
            chat = boss.chat(agent, after=0)
            assert chat.ask("hi", agent_name=agent)["data"]["status"] == "failed"
            heard += chat.fold.frames + chat.others
            chat.close()
        yield product, boss, heard, {**PLANTED, "token": boss.token, "ticket": ticket["ticket"], "password": PASSWORD}


def assert_clean(text: str, secrets: dict[str, str], where: str) -> None:
    for what, secret in secrets.items():
        assert secret not in text, f"the secret of the {what} is in {where}: …{text[text.index(secret) - 200 :][:400]}"


@pytest.mark.slow
def test_no_answer_of_the_api_tells_a_secret(used):
    _, boss, heard, secrets = used
    assert_clean(str(heard), secrets, "frames")
    _, schema = boss.request("GET", "/v1/schema")
    names = {"providers": "keyed", "mcp-servers": "spilling", "agents": "refused", "models": "refused"}
    names |= {"sessions": "tooled", "tasks": boss.request("GET", "/v1/tasks")[1]["data"][0]["id"]}
    names |= {"runs": boss.request("GET", "/v1/runs")[1]["data"][0]["id"]}
    pages = 0
    for path, verbs in schema["paths"].items():
        kind = path.split("/")[2] if path.count("/") > 1 else ""
        for verb in {"get", "post"} & verbs.keys():
            if verb == "get" or path.endswith(("/check", "/call")):
                address = re.sub(r"\{\w+\}", names.get(kind, "x"), path)
                body = {} if verb == "post" else None
                assert_clean(json.dumps(boss.request(verb.upper(), address, body)), secrets, f"{verb} {address}")
                pages += 1
    for name in ("named", "unreachable"):
        kind = "providers" if name == "named" else "mcp-servers"
        for verb, path in (("GET", ""), ("POST", "/check")):
            assert_clean(json.dumps(boss.request(verb, f"/v1/{kind}/{name}{path}")), secrets, f"{verb} {name}")
    assert pages > 30


@pytest.mark.slow
def test_no_page_of_the_admin_tells_a_secret(used):
    product, _, _, secrets = used
    browser = FormClient(product)
    assert browser.sign_in("boss", next="/admin/")[0] == 200
    index = browser.get("/admin/")
    lists = set(re.findall(r'href="(/admin/\w+/\w+/)"', index))
    assert len(lists) > 8
    seen = 0
    for address in lists:
        page = browser.get(address)
        assert_clean(page, secrets, address)
        for row in set(re.findall(rf'href="({address}[^"?]+/change/)[^"]*"', page)):
            assert_clean(browser.get(row), secrets, row)
            seen += 1
    assert seen > 8


@pytest.mark.slow
def test_no_line_of_a_log_no_command_and_no_file_tells_a_secret(used):
    product, _, _, secrets = used
    assert_clean(product.logged(), secrets, "the log")
    done = zygote.run(product.command("dump_config"), env=product.environment, check=True)
    assert "keyed" in done.stdout
    assert_clean(done.stdout + done.stderr, secrets, "dump_config")
    kept = b"".join(path.read_bytes() for path in Path(product.var_dir).glob("db.sqlite3*"))
    in_the_clear = {what: secret for what, secret in secrets.items() if secret.encode() in kept}
    assert not in_the_clear, in_the_clear.keys()
