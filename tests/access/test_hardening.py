"""What a browser is told, what a log may say, who changed what, and secrets that outlive their key."""

import io
import json
import logging
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import connection

from agents_app.models import McpServer, Provider
from agents_app.observability.log_format import JSONFormatter, TextFormatter, redact
from tests.harness import zygote
from tests.harness.people import close_code

PRODUCTION = {
    "DATABASE_URL": "postgresql://x@127.0.0.1:1/x",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SECRET_KEY": "".join(chr(40 + number % 80) for number in range(60)),
    "HOST": "0.0.0.0",
    "ALLOWED_HOSTS": "agents.example",
    "SECURE_PROXY_SSL_HEADER": "X-Forwarded-Proto",
}


def manage(tmp_path: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    inherited = {"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path)}
    command = [sys.executable, "manage.py", *arguments]
    return zygote.run(command, env=inherited | environment)


# Settings


def test_production_settings_have_no_warnings(tmp_path):
    done = manage(tmp_path, "check", "--deploy", "--fail-level", "INFO", **PRODUCTION)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("missing", "words"), [("SECURE_PROXY_SSL_HEADER", "SESSION_COOKIE_SECURE"), ("SECRET_KEY", "SECRET_KEY")]
)
def test_a_setting_that_is_missing_in_production_is_a_warning(tmp_path, missing, words):
    environment = {name: value for name, value in PRODUCTION.items() if name != missing}
    done = manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING", **environment)
    assert done.returncode == 1
    assert words in done.stderr


def test_a_secret_key_that_can_be_guessed_stops_the_start(tmp_path):
    refused = manage(tmp_path, "check", SECRET_KEY="x" * 31)
    assert refused.returncode == 1
    for words in ("SECRET_KEY has 31 characters", "32 or more", "SECRET_KEY_FALLBACKS"):
        assert words in refused.stderr
    assert manage(tmp_path, "check", SECRET_KEY="x" * 32).returncode == 0


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"MAX_MESSAGE_CHARACTERS": "0"}, "MAX_MESSAGE_CHARACTERS must be 1 to 1,000,000, not 0."),
        ({"MAX_MESSAGE_CHARACTERS": "1000001"}, "MAX_MESSAGE_CHARACTERS must be 1 to 1,000,000, not 1,000,001."),
        ({"MAX_BODY_BYTES": "1000"}, "MAX_BODY_BYTES must be 665,536 to 16,777,216, not 1,000: a message of"),
        ({"MAX_BODY_BYTES": "16777217"}, "MAX_BODY_BYTES must be 665,536 to 16,777,216, not 16,777,217: "),
        ({"MAX_MESSAGE_CHARACTERS": "300000", "MAX_BODY_BYTES": "1048576"}, "MAX_BODY_BYTES must be 1,865,536 to "),
        ({"MAX_MESSAGE_CHARACTERS": "300000"}, ""),
    ],
)
def test_the_limit_of_a_body_has_room_for_the_longest_message(tmp_path, limits, words):
    refused = manage(tmp_path, "check", **limits)
    assert (refused.returncode, words in refused.stderr) == (1 if words else 0, True), refused.stderr
    assert "Traceback" not in refused.stderr


def test_behind_https_cookies_and_browsers_are_told_so(tmp_path):
    script = (
        "from django.conf import settings as s; print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, "
        "s.SECURE_HSTS_SECONDS, s.SECURE_SSL_REDIRECT, s.SECURE_PROXY_SSL_HEADER)"
    )
    output = manage(tmp_path, "shell", "-v", "0", "-c", script, **PRODUCTION).stdout.strip()
    assert output == "True True 31536000 True ('HTTP_X_FORWARDED_PROTO', 'https')"


def test_lists_may_have_blanks_and_ports_that_browsers_leave_out(tmp_path):
    script = (
        "from django.conf import settings as s; print(s.ALLOWED_HOSTS, s.CSRF_TRUSTED_ORIGINS, s.CORS_ALLOWED_ORIGINS)"
    )
    lists = {
        "ALLOWED_HOSTS": "a.example, b.example:443 ,[::1],[::1]:8000,",
        "CSRF_TRUSTED_ORIGINS": "https://a.example:443, http://b.example:80, https://c.example:80",
        "CORS_ALLOWED_ORIGINS": " https://*.example:443,http://d.example:8443",
    }
    output = manage(tmp_path, "shell", "-v", "0", "-c", script, **PRODUCTION | lists).stdout.strip()
    assert output == (
        "['a.example', 'b.example', '[::1]', '[::1]'] "
        "['https://a.example', 'http://b.example', 'https://c.example:80'] "
        "['https://*.example', 'http://d.example:8443']"
    )


@pytest.mark.django_db
@pytest.mark.parametrize("allowed", ["https://app.example:443", "https://app.example/", "HTTPS://App.Example"])
@pytest.mark.parametrize("origin", ["https://app.example", "https://app.example:443"])
def test_a_default_port_makes_no_other_origin(client, admin_user, settings, allowed, origin):
    settings.CORS_ALLOWED_ORIGINS = [allowed]
    assert client.get("/v1/info", headers={"Origin": origin}).headers["Access-Control-Allow-Origin"] == origin


# Headers


@pytest.mark.parametrize(
    "path", ["/accounts/login/", "/v1/info", "/v1/sessions", "/nothing", "/static/chat_app/chat/chat.js"]
)
def test_every_answer_tells_browsers_to_be_careful(closed_product, path):
    try:
        answer = urllib.request.urlopen(closed_product.url + path, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        headers = answer.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    if not path.startswith("/static"):
        assert headers["X-Frame-Options"] == "DENY"
    assert headers["Server"] is None


@pytest.mark.django_db
def test_by_https_the_browser_is_told_to_stay_there(client, settings):
    settings.SECURE_HSTS_SECONDS = 3600
    assert client.get("/v1/info", secure=True).headers["Strict-Transport-Security"] == "max-age=3600"
    assert "Strict-Transport-Security" not in client.get("/v1/info").headers


def test_pages_have_no_script_or_style_of_their_own(closed_product):
    page = urllib.request.urlopen(closed_product.url + "/accounts/login/", timeout=30).read().decode()
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    scripts = re.findall(r"<script[^>]*>", page)
    assert scripts
    assert all(" src=" in script or 'type="application/json"' in script for script in scripts), scripts


def test_answers_of_the_api_are_kept_by_nobody(people):
    request = urllib.request.Request(people["ann"].product.url + "/v1/sessions", headers=people["ann"].headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "origin", ["https://app.example.evil", "https://app.exampl", "http://app.example", "null", "*"]
)
@pytest.mark.django_db
def test_cors_is_exact(client, admin_user, settings, origin):
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example"]
    assert "Access-Control-Allow-Origin" not in client.get("/v1/info", headers={"Origin": origin}).headers
    ours = client.get("/v1/info", headers={"Origin": "https://app.example"}).headers
    assert ours["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Access-Control-Allow-Credentials" not in ours


# Logs


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer SECRET123",
        "{'authorization': 'Bearer SECRET123'}",
        "headers [(b'authorization', b'Bearer SECRET123')]",
        "Cookie: sessionid=SECRET123; csrftoken=SECRET123",
        "Cookie: sessionid_8000=SECRET123",
        "GET /ws/chat/x?ticket=SECRET123&after=0",
        "GET /x?token=SECRET123",
        "subprotocols agent.v1, ticket.SECRET123",
        'api_key="SECRET123"',
        "used aintandem_5ec7e7123",
        "x-api-key: SECRET123",
        '{"password": "SECRET123"}',
        "key sk-SECRET123-0123456789",
    ],
)
def test_no_line_of_a_log_lets_its_reader_in(line):
    for formatter in (TextFormatter("{message}", style="{"), JSONFormatter()):
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.setFormatter(formatter)
        try:
            raise ValueError(line)
        except ValueError:
            handler.handle(logging.LogRecord("x", logging.ERROR, "", 0, "said %s", (line,), sys.exc_info()))
        assert "SECRET123" not in out.getvalue()
        assert "5ec7e7123" not in out.getvalue()
        assert "[hidden]" in out.getvalue()


@pytest.mark.parametrize(
    "line", ["Run 7 of agent token-counter ended", "3 tokens", "A key is printable ASCII", "Task x: ticket sold"]
)
def test_other_lines_stay_as_they_are(line):
    assert redact(line) == line


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\nWARNING forged", "a\\nWARNING forged"),
        ("a\rforged", "a\\rforged"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x9b2Jgone", "\\x9b2Jgone"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
        ("täglich\t☃", "täglich\t☃"),
    ],
)
def test_what_others_name_forges_no_line_and_commands_no_terminal(text, written):
    formatter = TextFormatter("{levelname} {message}", style="{")
    record = logging.LogRecord("x", logging.INFO, "", 0, "MCP server %s", (text,), None)
    assert formatter.format(record) == f"INFO MCP server {written}"
    try:
        raise ValueError(text)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    first, *others = formatter.format(record).split("\n")
    assert first == "ERROR failed"
    assert all(line.startswith("  ") and "\x1b" not in line and "\r" not in line for line in others)


def test_the_server_logs_no_token(people, name):
    token = people["bob"].token
    people["bob"].request("GET", f"/v1/sessions/{name}?token={token}")
    people["bob"].request("GET", f"/nothing?token={token}")
    close_code(people["bob"].product.socket_url(name, token=token), {}, ["agent.v1", f"ticket.{token}"])
    assert token not in people["bob"].product.logged()


# Who changed what


@pytest.mark.django_db
def test_what_administrators_change_over_rest_is_written_down(client, admin_user, admin_client):
    body = {"name": "lab", "base_url": "http://lab/v1", "api_key": "sk-very-secret"}
    assert client.post("/v1/providers", body, "application/json").status_code == 201
    assert client.patch("/v1/providers/lab", {"api_key": "sk-new"}, "application/json").status_code == 200
    assert client.post("/v1/agents", {"name": "helper"}, "application/json").status_code == 201
    assert client.delete("/v1/agents/helper").status_code == 204
    assert client.delete("/v1/agents/nobody").status_code == 404
    assert client.patch("/v1/providers/lab", {"base_url": 7}, "application/json").status_code == 400
    written = [
        (entry.user.username, entry.action_flag, entry.object_repr, entry.change_message)
        for entry in LogEntry.objects.order_by("pk")
    ]
    assert written == [
        ("admin", 1, "lab", "Over REST: api_key, base_url, name."),
        ("admin", 2, "lab", "Over REST: api_key."),
        ("admin", 1, "helper", "Over REST: name."),
        ("admin", 3, "helper", "Over REST."),
    ]
    page = admin_client.get("/admin/admin/logentry/").content.decode()
    assert "Over REST: api_key." in page
    assert "secret" not in page


@pytest.mark.django_db
def test_what_is_not_done_is_not_written_down(client, admin_user):
    Provider.objects.create(name="lab", base_url="http://lab/v1")
    client.post("/v1/agents", {"name": "helper", "provider": "lab"}, "application/json")
    LogEntry.objects.all().delete()
    assert client.delete("/v1/providers/lab").status_code == 409
    assert not LogEntry.objects.exists()


# Secrets and their keys


@pytest.fixture
def secrets(settings, db):
    """Secrets that an older key has encrypted."""
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "older", []
    Provider.objects.create(name="lab", base_url="http://lab/v1", api_key="sk-secret")
    Provider.objects.create(name="bare", base_url="http://lab/v1")
    McpServer.objects.create(name="files", command="true", env={"API_KEY": "secret"})
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "newer", ["older"]


def kept() -> str:
    """The database's own words."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key FROM agents_app_provider WHERE name = 'lab'")
        return cursor.fetchone()[0]


def test_after_a_rotation_the_old_key_is_needed_no_more(secrets, settings, capsys):
    before = kept()
    call_command("rotate_secrets")
    assert kept() != before
    assert "secrets are encrypted with the current SECRET_KEY" in capsys.readouterr().out
    settings.SECRET_KEY_FALLBACKS = []
    assert Provider.objects.get(name="lab").api_key == "sk-secret"
    assert Provider.objects.get(name="bare").api_key == ""
    assert McpServer.objects.get().env == {"API_KEY": "secret"}


def test_what_no_key_opens_is_named_and_left_as_it_is(secrets, settings):
    settings.SECRET_KEY_FALLBACKS = []
    before = kept()
    with pytest.raises(CommandError, match="provider lab: api_key") as caught:
        call_command("rotate_secrets")
    assert "secret-" not in str(caught.value)
    assert kept() == before
    settings.SECRET_KEY_FALLBACKS = ["older"]
    call_command("rotate_secrets")
    assert Provider.objects.get(name="lab").api_key == "sk-secret"


def test_the_old_keys_come_from_the_environment(tmp_path):
    done = manage(
        tmp_path,
        *("shell", "-v", "0", "-c", "import json; from django.conf import settings as s"),
        **PRODUCTION,
        SECRET_KEY_FALLBACKS="one,two",
    )
    assert done.returncode == 0
    script = "import json; from django.conf import settings as s; print(json.dumps(s.SECRET_KEY_FALLBACKS))"
    done = manage(tmp_path, "shell", "-v", "0", "-c", script, **PRODUCTION, SECRET_KEY_FALLBACKS="one,two")
    assert json.loads(done.stdout) == ["one", "two"]
