"""What tools returned before there were files becomes files."""

import uuid

import msgspec
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from agents_app.event_log import vocabulary
from agents_app.files import storage
from agents_app.models import File, StoredBytes

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 2000  # more than a chunk


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
@pytest.mark.both
def test_an_upgrade_makes_files_of_artifacts(django_user_model):
    before = [("agents_app", "0029_model_accepts")]
    executor = MigrationExecutor(connection)
    executor.migrate(before)
    owner = django_user_model.objects.create_user("ann")
    ids = [uuid.uuid4() for _ in range(3)]
    try:
        old = executor.loader.project_state(before).apps
        artifacts = ((PNG, "image", "text/html", ""), (PNG, "file", "x/y", "a/b.png"), (b"", "text", "a/b", ""))
        for pk, (data, kind, media_type, name) in zip(ids, artifacts, strict=True):
            session = old.get_model("agents_app", "Session").objects.create(id=str(pk), name=str(pk), owner_id=owner.pk)
            fields = {"number": 1, "agent_name": "a", "prompt": "p"}
            run = old.get_model("agents_app", "Run").objects.create(session=session, **fields)
            fields = {"kind": kind, "media_type": media_type, "name": name, "size": len(data), "data": data}
            old.get_model("agents_app", "Artifact").objects.create(id=pk, run=run, **fields)
    finally:
        call_command("migrate", verbosity=0)

    files = [File.objects.get(pk=f"file-{pk.hex}") for pk in ids]
    assert [(file.kind, file.media_type, file.name) for file in files] == [
        ("image", "image/png", ""),
        ("resource", "image/png", "b.png"),
        ("text", "text/plain", ""),
    ]
    assert {file.owner for file in files} == {owner}
    assert StoredBytes.objects.count() == 2, "the same content once"
    for file, data in zip(files, (PNG, PNG, b""), strict=True):
        with storage.open_bytes(file.stored.key) as source:
            assert source.read() == data
        assert file.size == len(data) and file.run.session.owner == owner


def test_steps_of_older_logs_are_still_understood():
    attachment = {"id": str(uuid.uuid4()), "kind": "image", "media_type": "image/png", "name": "", "size": 3}
    fields = {"step": 1, "type": "tool_result", "content": "c", "iteration": 1, "timestamp": 1.0}
    step = msgspec.convert(fields | {"attachments": [attachment]}, vocabulary.ReasoningStep)
    assert step.attachments == [attachment]
