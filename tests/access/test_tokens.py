"""API tokens: shown once, kept as a hash, good until they expire or are revoked."""

import datetime
import subprocess

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from agents_app.models import ApiToken
from tests.harness import zygote
from tests.harness.people import Person, shell


def make(person: Person, **fields) -> dict:
    status, answer = person.request("POST", "/v1/tokens", {"name": "script", **fields})
    assert status == 201, answer
    return answer


def test_a_token_is_shown_once_and_works_until_it_is_revoked(people, name):
    ann = people["ann"]
    made = make(ann, name=name)
    robot = Person(ann.product, "ann", made["token"])
    assert robot.request("GET", "/v1/sessions")[0] == 200

    _, listed = ann.request("GET", "/v1/tokens")
    [row] = [row for row in listed["data"] if row["id"] == made["id"]]
    assert (row["name"], row["expires_at"]) == (name, None)
    assert row["last_used_at"] is not None
    assert made["token"].startswith(row["begins_with"])
    assert made["token"] not in str(listed)
    assert ann.request("GET", f"/v1/tokens/{made['id']}")[1] == row

    assert ann.request("DELETE", f"/v1/tokens/{made['id']}") == (204, None)
    assert robot.request("GET", "/v1/sessions")[0] == 401
    assert robot.close_code(name) == 4401


def test_the_database_has_only_its_hash(people):
    made = make(people["ann"])
    with (people["ann"].product.var_dir / "db.sqlite3").open("rb") as database:
        wal = people["ann"].product.var_dir / "db.sqlite3-wal"
        kept = database.read() + wal.read_bytes()
    assert made["token"].encode() not in kept
    assert made["begins_with"].encode() in kept


def test_tokens_are_ones_own_alone(people):
    made = make(people["ann"])
    for other in ("bob", "boss"):
        assert made["id"] not in str(people[other].request("GET", "/v1/tokens")[1])
        assert people[other].request("GET", f"/v1/tokens/{made['id']}")[0] == 404
        assert people[other].request("DELETE", f"/v1/tokens/{made['id']}")[0] == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x", "expires_in_days": 0}, "expires_in_days"),
        ({"name": "x", "expires_in_days": "1"}, "expires_in_days"),
        ({"name": "x", "expires_in_days": 4000}, "expires_in_days"),
        ({"name": "x", "user": "boss"}, "user"),
        ({"name": "x", "scope": "read"}, "scope"),
        ({"name": "x", "scope": None}, "scope"),
    ],
)
def test_a_wrong_wish_is_a_400_that_names_the_field(people, body, param):
    status, answer = people["ann"].request("POST", "/v1/tokens", body)
    assert (status, answer["error"]["param"]) == (400, param)


def test_a_token_that_ends_makes_none_that_lives_longer(people):
    first = make(people["ann"], expires_in_days=2)
    robot = Person(people["ann"].product, "ann", first["token"])
    for wish in ({}, {"expires_in_days": 30}):
        second = make(robot, **wish)
        ends = datetime.datetime.fromisoformat(second["expires_at"])
        assert abs(ends - datetime.datetime.fromisoformat(first["expires_at"])) < datetime.timedelta(seconds=5)
    soon = datetime.datetime.fromisoformat(make(robot, expires_in_days=1)["expires_at"])
    assert soon < timezone.now() + datetime.timedelta(days=1, seconds=5)


def test_a_token_that_may_only_run_agents_administers_nothing(people, model, name):
    boss = people["boss"]
    made = make(boss, scope="run")
    robot = Person(boss.product, "boss", made["token"])
    model.script(name, [[{"text": "hello"}]])
    boss.add_agent(name, model.base_url, system_prompt="hidden")
    command = {"name": "evil", "transport": "stdio", "command": "id"}
    for method, path, body in (
        ("POST", "/v1/mcp-servers", command),
        ("GET", "/v1/mcp-servers", None),
        ("GET", "/v1/providers", None),
        ("PATCH", f"/v1/agents/{name}", {"role": "changed"}),
        ("POST", "/v1/broadcast", {"message": "hi"}),
        ("GET", "/v1/connections", None),
        ("POST", "/v1/tokens", {"name": "more"}),
        ("DELETE", f"/v1/tokens/{made['id']}", None),
    ):
        status, answer = robot.request(method, path, body)
        assert (status, "scope" in answer["error"]["message"]) == (403, True), (method, path, answer)
    assert robot.request("GET", "/v1/tokens")[0] == 200
    assert "system_prompt" not in robot.request("GET", f"/v1/agents/{name}")[1]
    assert robot.chat(name).ask("hi", agent_name=name)["data"]["status"] == "completed"
    assert boss.request("DELETE", f"/v1/tokens/{made['id']}")[0] == 204


@pytest.mark.slow
def test_an_expired_token_is_out(people, name):
    made = make(people["ann"], expires_in_days=1)
    robot = Person(people["ann"].product, "ann", made["token"])
    assert robot.request("GET", "/v1/sessions")[0] == 200
    script = "from agents_app.models import ApiToken; from django.utils import timezone; "
    script += f"ApiToken.objects.filter(uid='{made['id']}').update(expiry=timezone.now())"
    shell(robot.product, script)
    assert robot.request("GET", "/v1/sessions")[0] == 401
    assert robot.close_code(name) == 4401


@pytest.mark.slow
def test_the_command_makes_a_token_for_scripts(people):
    product = people["boss"].product

    def create(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = product.command("create_token", *arguments)
        return zygote.run(command, env=product.environment)

    text = create("boss", "--name", "backup").stdout.strip()
    assert Person(product, "boss", text).request("GET", "/v1/providers")[0] == 200
    refused = create("nobody-here")
    assert (refused.returncode, "There is no user 'nobody-here'" in refused.stderr) == (1, True)


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", [["--days", "0"], ["--days", "9999"], ["--name", ""], ["--name", "x" * 101]])
def test_the_command_refuses_what_no_token_can_be(admin_user, arguments):
    with pytest.raises(CommandError):
        call_command("create_token", "admin", *arguments)
    assert not ApiToken.objects.exists()


@pytest.mark.django_db
def test_reading_with_a_token_writes_once_a_minute(admin_user, django_assert_num_queries):
    token, _ = ApiToken.objects.create(admin_user, name="x")
    token.mark_used()
    with django_assert_num_queries(0):
        token.mark_used()


@pytest.mark.django_db
def test_there_is_a_limit_to_how_many_one_may_have(client, admin_user):
    for number in range(100):
        ApiToken.objects.create(admin_user, name=str(number))
    answer = client.post("/v1/tokens", {"name": "one more"}, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "too_many_tokens")
