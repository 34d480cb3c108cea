"""The security log: each event is written, with who and from where, and without a secret."""

import json
import logging

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command

from agents_app.access import security_log
from agents_app.access.origins import network_of
from agents_app.observability.log_format import JSONFormatter

PASSWORD = "not-to-be-written-1"


@pytest.fixture
def written(caplog):
    """What was logged, as JSON."""
    caplog.set_level(logging.INFO, "agents_app.security")

    def read():
        lines = [JSONFormatter().format(each) for each in caplog.records if each.name == "agents_app.security"]
        assert PASSWORD not in "".join(lines)
        assert "sk-very-secret" not in "".join(lines)
        return [json.loads(line) for line in lines]

    return read


@pytest.fixture
def ann(db):
    return get_user_model().objects.create_user("ann", "", PASSWORD)


def test_who_signs_in_and_out(client, ann, written):
    address = {"REMOTE_ADDR": "198.51.100.7"}
    client.post("/accounts/login/", {"username": "ann", "password": "wrong"}, **address)
    client.post("/accounts/login/", {"username": PASSWORD, "password": "x"}, **address)
    client.post("/accounts/login/", {"username": "ann", "password": PASSWORD}, **address)
    client.post("/accounts/logout/", **address)
    events = [(entry["event"], entry["user"], entry["by"], entry["address"]) for entry in written()]
    assert events == [
        ("sign_in_failed", "ann", "", "198.51.100.7"),
        ("sign_in_failed", "(unknown)", "", "198.51.100.7"),
        ("sign_in", "ann", "ann", "198.51.100.7"),
        ("sign_out", "ann", "ann", "198.51.100.7"),
    ]


def test_tokens_made_and_revoked(client, admin_user, written, capsys):
    made = client.post("/v1/tokens", {"name": "script"}, "application/json").json()
    client.delete(f"/v1/tokens/{made['id']}")
    call_command("create_token", "admin")
    text = capsys.readouterr().out.strip()
    entries = written()
    assert [(entry["event"], entry["by"]) for entry in entries] == [
        ("token_created", "admin"),
        ("token_revoked", "admin"),
        ("token_created", "command line"),
    ]
    assert made["token"] not in str(entries)
    assert text not in str(entries)


def test_roles_keys_and_servers(client, admin_client, admin_user, ann, written):
    provider = {"name": "lab", "base_url": "http://lab/v1", "api_key": "sk-very-secret-0001"}
    assert client.post("/v1/providers", provider, "application/json").status_code == 201
    server = {"name": "files", "command": "true", "env": {"KEY": PASSWORD}}
    assert client.post("/v1/mcp-servers", server, "application/json").status_code == 201
    assert admin_client.post("/admin/auth/group/add/", {"name": "staff"}).status_code == 302
    assert admin_client.post(f"/admin/auth/user/{ann.pk}/delete/", {"post": "yes"}).status_code == 302
    changes = [(entry["event"], entry["user"], entry["by"]) for entry in written() if entry["event"] != "sign_in"]
    assert changes == [
        ("provider_changed", "lab", "admin"),
        ("mcp_server_changed", "files", "admin"),
        ("group_changed", "staff", "admin"),
        ("user_changed", "ann", "admin"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [("get", "/accounts/start/", {"token": "guess"}), ("post", "/accounts/login/", {"username": "x", "password": "y"})],
)
def test_who_keeps_failing_does_not_fill_the_log(client, db, written, method, path, fields):
    for n in range(security_log.MOST_FAILURES + 5):
        getattr(client, method)(path, fields, REMOTE_ADDR=f"2001:db8:1:{len(method)}::{n}")  # of one /64
    getattr(client, method)(path, fields, REMOTE_ADDR="198.51.100.7")
    entries = written()
    assert len(entries) == security_log.MOST_FAILURES + 1
    assert ["not logged for now" in entry.get("note", "") for entry in entries[-3:]] == [False, True, False]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("nobody", "nobody"),
    ],
)
def test_failures_count_by_what_one_client_has(address, network):
    assert network_of(address) == network


def test_failures_of_one_name_count_together_however_it_is_written(client, db, settings):
    """Django signs in `bea` for each of these."""
    settings.LOGIN_FAILURES = 1  # of a name ten times as many
    spelled = [
        "bea",
        " bea",
        "bea ",
        "\uff42ea",
        "be\uff41",
        "\uff42e\uff41",
        " bea ",
        "\tbea",
        "bea\t",
        "\u3000bea",
        "bea",
    ]
    codes = [
        client.post("/accounts/login/", {"username": name, "password": "x"}, REMOTE_ADDR=f"192.0.2.{n}").status_code
        for n, name in enumerate(spelled)
    ]
    assert codes == [200] * 10 + [429]


def test_failures_from_one_network_count_together(client, ann, settings, written):
    settings.LOGIN_FAILURES = 2
    codes = [
        client.post(
            "/accounts/login/", {"username": "ann", "password": "x"}, REMOTE_ADDR=f"2001:db8:7:7::{n}"
        ).status_code
        for n in (1, 2, 3)
    ]
    assert codes == [200, 200, 429]
    assert [entry["event"] for entry in written()] == ["sign_in_failed", "sign_in_failed", "sign_in_refused"]
