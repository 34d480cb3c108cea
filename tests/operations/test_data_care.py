"""Data outlives its deployment: backup and restore, sessions as a file, and a database of the first release."""

import contextlib
import io
import json
import sqlite3
import uuid
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.core.management import CommandError, call_command

from agents_app.files import parts, saving, storage
from agents_app.models import Agent, Approval, Event, File, Run, Session, Step
from tests.harness import zygote
from tests.harness.chat import Chat
from tests.harness.first_release import FIRST_RELEASE, FIRST_TABLES
from tests.harness.people import shell
from tests.harness.product import Product

FRAMES = ["reasoning_start", "reasoning_step", "reasoning_step", "reasoning_step", "reasoning_complete"]


def manage(product: Product, *arguments: str, succeeds: bool = True) -> str:
    """What a command says, run beside the server."""
    command = product.command(*arguments)
    done = zygote.run(command, env=product.environment)
    assert (done.returncode == 0) is succeeds, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def frames(product: Product, session: str) -> list[dict[str, Any]]:
    """All that a watcher who comes now is told, as far as the log goes."""
    chat = Chat(product.socket_url(session, after=0))
    try:
        while chat.fold.cursor < chat.connected["data"]["last_seq"]:
            chat.next()
    finally:
        chat.close()
    return chat.fold.frames


# Backup and restore


@pytest.mark.slow
def test_a_backup_of_a_running_server_comes_back_and_goes_on(tmp_path, own_product, model, name):
    model.script(name, [[{"text": "half"}, {"wait": name}, {"text": " whole"}]])
    own_product.add_agent(name, model.base_url)
    chat = Chat(own_product.socket_url("old", after=0))
    chat.say("hi", agent_name=name)
    chat.until_text("half")
    upload = httpx2.post(f"{own_product.url}/v1/files", files={"file": ("a.txt", b"kept")}, timeout=60).json()
    file = tmp_path / "backup"
    assert "secret_key" in manage(own_product, "backup", str(file))
    assert file.stat().st_mode & 0o077 == 0
    assert "exists already" in manage(own_product, "backup", str(file), succeeds=False)
    assert "is already served" in manage(own_product, "restore", "--yes", str(file), succeeds=False)

    own_product.kill()
    chat.close()
    assert "not a backup of this product" in manage(own_product, "restore", "--yes", str(FIRST_RELEASE), succeeds=False)
    with contextlib.closing(sqlite3.connect(own_product.var_dir / "db.sqlite3")) as database, database:
        database.execute("UPDATE agents_app_session SET title = 'lost'")
    for content in (own_product.var_dir / "files").iterdir():
        content.unlink()
    assert "Restored" in manage(own_product, "restore", "--yes", str(file))
    assert (own_product.var_dir / "db.sqlite3.before-restore").exists()
    own_product.start()
    model.release(name)
    chat = Chat(own_product.socket_url("old", after=0))
    chat.until("reasoning_complete")
    assert chat.fold.story() == [("final_answer", "half whole")]
    chat.close()
    assert own_product.request("GET", "/v1/sessions/old")[1]["title"] == "hi"
    assert httpx2.get(f"{own_product.url}/v1/files/{upload['id']}/content", timeout=60).content == b"kept"


# An upgrade


@pytest.mark.slow
def test_a_database_of_the_first_release_is_upgraded_and_serves(tmp_path):
    product = Product(tmp_path / "var")
    product.var_dir.mkdir()
    shell(product, FIRST_TABLES)
    with contextlib.closing(sqlite3.connect(product.var_dir / "db.sqlite3")) as database:
        database.executescript(FIRST_RELEASE.read_text())
    with product:
        assert [frame["type"] for frame in frames(product, "first-release")] == FRAMES
        (run,) = product.request("GET", "/v1/sessions/first-release/runs")[1]["data"]
        assert (run["result"], run["status"], run["usage"]["output_tokens"]) == ("It is 42.", "completed", 12)
        session = product.request("GET", "/v1/sessions/first-release")[1]
        assert uuid.UUID(session["id"]).version == 4, "what was its id is its name"
        assert frames(product, session["id"]) == frames(product, "first-release")
        steps = product.request("GET", f"/v1/runs/{run['id']}/steps?ordering=index")[1]["data"]
        assert [step["content"] for step in steps][1:] == ["42", "It is 42."]
        assert product.request("GET", "/v1/agents/helper")[1]["builtin_tools"] == ["calculate"]
        with contextlib.closing(sqlite3.connect(product.var_dir / "db.sqlite3")) as database:
            versions = database.execute("SELECT number, spec ->> 'builtin_tools' FROM agents_app_agentversion")
            assert versions.fetchall() == [(1, '["calculate"]')]
        assert product.request("GET", "/readyz")[0] == 200


# Sessions as a file


def export(path: Path, *sessions: str) -> list[dict[str, Any]]:
    call_command("export", *sessions, output=path, stderr=io.StringIO())
    return [json.loads(line) for line in path.read_text().splitlines()]


def import_file(path: Path, **options: Any) -> str:
    output = io.StringIO()
    call_command("import", str(path), stdout=output, **options)
    return output.getvalue()


@pytest.mark.slow
def test_a_session_looks_the_same_in_another_deployment(tmp_path, product, agent, open_chat, own_product, name):
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "6 * 7"}}}
    who = agent([{"reasoning": "Let me see."}, call], [{"text": "It is 42."}], builtin_tools=["calculate"])
    open_chat(name).ask("What is 6 * 7?", agent_name=who)
    open_chat(name).ask("Again?", agent_name=who)
    file = tmp_path / "sessions.jsonl"
    manage(product, "export", name, "--output", str(file))
    assert "1 sessions created, 0 exist already." in manage(own_product, "import", str(file))
    assert frames(own_product, name) == frames(product, name)
    for path in (f"/v1/sessions/{name}/runs", f"/v1/sessions/{name}"):
        here, there = (server.request("GET", path)[1] for server in (own_product, product))
        assert without_own_fields(here) == without_own_fields(there)
    assert "0 sessions created, 1 exist already." in manage(own_product, "import", str(file))
    again = tmp_path / "again.jsonl"
    manage(own_product, "export", "--output", str(again))
    assert lines_but_the_first(again) == lines_but_the_first(file)


def without_own_fields(answer: Any) -> Any:
    """Leave out the fields that differ between deployments."""
    if isinstance(answer, dict):
        own = ("links", "next", "agent_name", "agent_version", "task_id", "updated_at")
        return {key: without_own_fields(value) for key, value in answer.items() if key not in own}
    return [without_own_fields(value) for value in answer] if isinstance(answer, list) else answer


def lines_but_the_first(path: Path) -> list[Any]:
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    lines[0]["session"].pop("agent")  # the other deployment has no such agent
    return lines


@pytest.fixture
def written(tmp_path, admin_user) -> Path:
    """A file with two sessions, which are here no more."""
    agent = Agent.objects.create(name="a")
    for name in ("one", "two"):
        session = Session.objects.create(pk=name, owner=admin_user, agent=agent, run_count=1, last_seq=4, pruned_seq=1)
        run = Run.objects.create(
            session=session, number=1, agent=agent, agent_name="a", prompt="p", status="completed", result="r",
            message_id="m", first_seq=1, last_seq=4, finished_at="2026-11-23T01:00:00Z", usage={"input_tokens": 3},
        )  # fmt: skip
        Step.objects.create(run=run, index=0, iteration=1, kind="final_answer", content="r", started_at=run.created_at)
        saving.save(admin_user.pk, [b"\0\1\2"], kind="resource", run=run)
        upload = saving.save(admin_user.pk, [name.encode()], name="up.txt")
        Run.objects.filter(pk=run.pk).update(parts=[parts.describe(upload)])
        Approval.objects.create(run=run, step=0, tool_call_id="c", tool_name="t", expires_at=run.created_at)
        for first, seq in ((2, 3), (4, 4)):
            data = '{"a":[1.5,"\\u0000"]}'
            at = run.created_at
            Event.objects.create(
                session=session, seq=seq, first=first, run_id=run.pk, type="x", data=data, created_at=at
            )
    file = tmp_path / "sessions.jsonl"
    export(file)
    Session.objects.all().delete()
    File.objects.all().delete()
    return file


@pytest.mark.django_db
def test_everything_of_a_session_comes_back(tmp_path, written):
    assert "2 sessions would be created" in import_file(written, dry_run=True)
    assert not Session.objects.exists()
    assert "2 sessions created" in import_file(written)
    run = Run.objects.first()
    upload = File.objects.get(pk=run.parts[0]["file_id"])
    for file, data in ((run.files.get(), b"\0\1\2"), (upload, run.session_id.encode())):
        with storage.open_bytes(file.stored.key) as source:
            assert source.read() == data
    assert Run.objects.first().settled, "no schedule waits for it"
    again = tmp_path / "again.jsonl"
    export(again)
    assert again.read_text().splitlines()[1:] == written.read_text().splitlines()[1:]
    assert "0 sessions created, 2 exist already" in import_file(written)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ('"format":"aintandem-sessions"', '"format":"x"', 1, "not a file of"),
        ('"version":1', '"version":2', 1, "version is 2"),
        ('{"session":', '{"session" ', 2, "not JSON"),
        ('{"step":', '{"stride":', 4, "session, run, step"),
        ('"number":1', '"number":1,"colour":"blue"', 3, "column 'colour'"),
        ('"prompt":"p",', "", 3, "'prompt' is missing"),
        ('"status":"completed"', '"status":"running"', 3, "only runs that have ended"),
        ('"status":"completed"', '"status":"asleep"', 3, "'status'"),
        ('"prompt":"p"', '"prompt":"\\u0000"', 3, "NUL"),
        ('"usage":{"input_tokens":3}', '"usage":[]', 3, "must be an object"),
        ('"usage":{"input_tokens":3}', '"usage":{"input_tokens":"x"}', 3, "numbers of tokens"),
        ('"overrides":null', '"overrides":{"messages":"abc"}', 3, "'overrides'"),
        ('"overrides":null', '"overrides":{"timeout":"soon"}', 3, "'overrides'"),
        ('"arguments":null', '"arguments":"x"', 4, "must be an object"),
        ('"attachments":[]', '"attachments":["x"]', 4, "list of objects"),
        ('"finished_at":"2026-11-23T01:00:00+00:00"', '"finished_at":"0001-01-01T00:00:00+14:00"', 3, "'finished_at'"),
        ('"finished_at":"2026-11-23T01:00:00+00:00"', '"finished_at":"9999-12-31"', 3, "no time zone"),
        ('"number":1', '"number":99999999999999999999', 3, "'number'"),
        ('"iteration":1', '"iteration":"first"', 4, "'iteration'"),
        ('"seq":4,"first":4', '"seq":5,"first":5', 9, "does not follow 3"),
        ('"last_seq":4,"pruned_seq"', '"last_seq":5,"pruned_seq"', 10, "should end with event 5"),
        ('"id":"one"', '"id":"a/b"', 2, "'id'"),
        ('"id":"one"', '"id":"two"', 10, "is in the file twice"),
        ('"owner":"admin"', '"owner":"nobody-here"', 2, "--owner"),
        ('"sessions":2', '"sessions":3', 18, "should have"),
    ],
)
def test_a_broken_file_is_refused_with_its_line_and_changes_nothing(written, old, new, line, words):
    text = written.read_text()
    assert old in text
    written.write_text(text.replace(old, new, 1))
    with pytest.raises(CommandError) as failure:
        import_file(written)
    assert f"line {line}: " in str(failure.value), failure.value
    assert words in str(failure.value)
    assert not Session.objects.exists() and not Run.objects.exists()


@pytest.mark.django_db
def test_a_file_that_was_cut_off_is_refused(written):
    lines = written.read_text().splitlines(keepends=True)
    for count in range(len(lines)):
        written.write_text("".join(lines[:count]))
        with pytest.raises(CommandError, match=f"line {count + 1}: .*cut off"):
            import_file(written)
    written.write_text("".join([*lines, lines[-1]]))
    with pytest.raises(CommandError, match="lines after the end"):
        import_file(written)
    assert not Session.objects.exists()


@pytest.mark.django_db
def test_another_session_of_that_name_is_left_alone(written, admin_user):
    Session.objects.create(pk="two", owner=admin_user)
    with pytest.raises(CommandError, match="another session 'two'"):
        import_file(written)
    assert list(Session.objects.values_list("pk", flat=True)) == ["two"]


@pytest.mark.django_db
def test_a_file_of_before_sessions_had_names_is_imported_once(written, admin_user):
    text = written.read_text()
    written.write_text(text.replace('"name":"one",', "", 1).replace('"name":"two",', "", 1))
    assert "2 sessions created" in import_file(written)
    sessions = Session.objects.order_by("name")
    assert [session.name for session in sessions] == ["one", "two"]
    assert all(uuid.UUID(session.pk) for session in sessions)
    assert [run.session for run in Run.objects.order_by("session__name")] == list(sessions)
    assert "0 sessions created, 2 exist already" in import_file(written)


@pytest.mark.django_db
def test_names_of_sessions_are_their_owners_own(tmp_path, admin_user, django_user_model):
    ann = django_user_model.objects.create_user("ann")
    sessions = [Session.objects.create(owner=owner, name="one") for owner in (admin_user, ann)]
    with pytest.raises(CommandError, match="Several users have a session 'one'"):
        call_command("prune", "events", days=0, session="one")
    call_command("prune", "events", days=0, session=sessions[0].pk, stdout=io.StringIO())
    lines = [line for line in export(tmp_path / "x", "one") if "session" in line]
    assert [line["session"]["owner"] for line in lines] == ["admin", "ann"]
    sessions[1].delete()
    assert "1 sessions created, 1 exist already" in import_file(tmp_path / "x")
    assert Session.objects.get(owner=ann, name="one").pk == lines[1]["session"]["id"]
    Session.objects.filter(owner=ann).delete()
    Session.objects.create(owner=ann, name="one")
    with pytest.raises(CommandError, match="another session 'one'"):
        import_file(tmp_path / "x")


@pytest.mark.django_db
def test_a_session_in_which_a_run_goes_on_is_left_out_and_named(tmp_path, written, admin_user):
    import_file(written, owner="admin")
    Run.objects.filter(session="two").update(status="running")
    output = io.StringIO()
    call_command("export", output=tmp_path / "x", stderr=output)
    assert "1 sessions exported" in output.getvalue()
    assert "not ended: two." in output.getvalue()
    with pytest.raises(CommandError, match="not ended: two"):
        call_command("export", "two", output=tmp_path / "y", stderr=io.StringIO())
    with pytest.raises(CommandError, match="no session 'three'"):
        call_command("export", "three", output=tmp_path / "z")
