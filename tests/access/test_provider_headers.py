"""Headers of providers hold keys: encrypted at rest, and shown to nobody."""

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse

from agents_app.configuration.dumping import dump
from agents_app.models import Provider
from agents_app.models.encryption import rotate

JSON = "application/json"
BODY = {"name": "lab", "base_url": "http://lab/v1", "headers": {"api-key": "stored-secret", "X-Team": "${TEAM}"}}
SHOWN = {"api-key": "***", "X-Team": "${TEAM}"}


def stored() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT headers FROM agents_app_provider")
        return str(cursor.fetchall())


@pytest.mark.django_db
@pytest.mark.both
@pytest.mark.usefixtures("admin_user")
def test_headers_are_written_and_never_read(client, admin_client):
    assert client.post("/v1/providers", BODY, content_type=JSON).json()["headers"] == SHOWN
    provider = Provider.objects.get()
    answers = [
        client.get("/v1/providers/lab").content.decode(),
        client.get("/v1/providers").content.decode(),
        admin_client.get(reverse("admin:agents_app_provider_change", args=[provider.pk])).content.decode(),
        dump(),
        stored(),
    ]
    assert [text for text in answers if "stored-secret" in text] == []
    kept = client.patch("/v1/providers/lab", {"headers": {"api-key": "***", "X-New": "b"}}, content_type=JSON)
    assert kept.json()["headers"] == {"api-key": "***", "X-New": "***"}
    provider.refresh_from_db()
    assert provider.headers == {"api-key": "stored-secret", "X-New": "b"}
    assert rotate().lost == []
    refused = client.patch("/v1/providers/lab", {"headers": {"other": "***"}}, content_type=JSON)
    assert refused.json()["error"]["param"] == "headers"


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
@pytest.mark.both
def test_an_upgrade_encrypts_the_headers_that_are_there():
    before = [("agents_app", "0011_overrides_and_help_texts")]
    executor = MigrationExecutor(connection)
    executor.migrate(before)
    try:
        old = executor.loader.project_state(before).apps.get_model("agents_app", "Provider")
        old.objects.create(name="lab", base_url="http://lab/v1", headers={"api-key": "stored-secret"})
        old.objects.create(name="plain", base_url="http://lab/v1")
        assert "stored-secret" in stored()
    finally:
        call_command("migrate", verbosity=0)

    assert "stored-secret" not in stored()
    assert Provider.objects.get(name="lab").headers == {"api-key": "stored-secret"}
    assert Provider.objects.get(name="plain").headers == {}
