from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agents_app", "0006_costs_and_workers"),
    ]

    operations = [
        migrations.AddField(
            model_name="run",
            name="cancel_requested_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="run",
            name="request_id",
            field=models.CharField(blank=True, default="", help_text="Of the request that started it.", max_length=128),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="run",
            name="traceparent",
            field=models.CharField(
                blank=True, default="", help_text="The span that started it, of OpenTelemetry.", max_length=64
            ),
            preserve_default=False,
        ),
    ]
