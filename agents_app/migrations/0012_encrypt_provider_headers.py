"""Encrypt the headers of providers, which may hold keys."""

import json

from cryptography.fernet import InvalidToken
from django.db import migrations

import agents_app.models.encryption
import agents_app.models.validation
from agents_app.models.encryption import decrypt_text, encrypt_text


def encrypt(apps, schema_editor):
    _rewrite(schema_editor, lambda text: text if _is_token(text) else encrypt_text(text))


def decrypt(apps, schema_editor):
    _rewrite(schema_editor, lambda text: decrypt_text(text) if _is_token(text) else "{}")


def _rewrite(schema_editor, change):
    """Change the column's text in each row. The field itself would read a plain text as empty."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT id, headers FROM agents_app_provider")
        for pk, text in cursor.fetchall():
            cursor.execute("UPDATE agents_app_provider SET headers = %s WHERE id = %s", [change(text or "{}"), pk])


def _is_token(text):
    try:
        json.loads(decrypt_text(text))
    except (InvalidToken, ValueError):
        return False
    return True


class Migration(migrations.Migration):
    dependencies = [("agents_app", "0011_overrides_and_help_texts")]

    operations = [
        migrations.AlterField(
            model_name="provider",
            name="headers",
            field=agents_app.models.encryption.EncryptedJSONField(
                blank=True,
                default=dict,
                help_text="HTTP headers to send with every request to the model. Encrypted at rest.",
                validators=[agents_app.models.validation.validate_headers],
            ),
        ),
        migrations.RunPython(encrypt, decrypt),
    ]
