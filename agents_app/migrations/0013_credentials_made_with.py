"""Keep what tickets and tokens were made with, so that they end with it."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agents_app", "0012_encrypt_provider_headers"),
    ]

    operations = [
        migrations.AddField(
            model_name="apitoken",
            name="made_with",
            field=models.ForeignKey(
                blank=True,
                editable=False,
                help_text="API token that created this one, and takes it along when it is revoked.",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to=settings.KNOX_TOKEN_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="ticket",
            name="session_hash",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Hash of the key of the browser's session that requested the ticket.",
                max_length=40,
            ),
        ),
    ]
