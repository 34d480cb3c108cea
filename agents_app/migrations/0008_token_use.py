import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

# What runs have used up so far, so that nobody begins the day anew.
COUNT = """
INSERT INTO agents_app_tokenuse (user_id, day, tokens)
SELECT session.owner_id, {day}, SUM(
    COALESCE(CAST(run.usage->>'input_tokens' AS BIGINT), 0) + COALESCE(CAST(run.usage->>'output_tokens' AS BIGINT), 0))
FROM agents_app_run run JOIN agents_app_session session ON session.id = run.session_id
WHERE run.finished_at IS NOT NULL AND session.owner_id IS NOT NULL
GROUP BY session.owner_id, {day}
"""
DAY = {"sqlite": "date(run.finished_at)", "postgresql": "CAST(run.finished_at AT TIME ZONE 'UTC' AS date)"}


def count(apps, editor):
    editor.execute(COUNT.format(day=DAY[editor.connection.vendor]))


class Migration(migrations.Migration):
    dependencies = [
        ("agents_app", "0007_request_and_trace_ids"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="TokenUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(help_text="In UTC.")),
                ("tokens", models.BigIntegerField(help_text="In and out, of the runs that ended on this day.")),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"verbose_name_plural": "token use", "ordering": ["-day", "user"]},
        ),
        migrations.AddConstraint(
            model_name="tokenuse",
            constraint=models.UniqueConstraint(fields=("user", "day"), name="token_use_once_a_day"),
        ),
        migrations.AlterField(
            model_name="session",
            name="id",
            field=models.CharField(
                max_length=128,
                primary_key=True,
                serialize=False,
                validators=[django.core.validators.RegexValidator("\\A(?!\\.{1,2}\\Z)[A-Za-z0-9_.:-]{1,128}\\Z")],
            ),
        ),
        migrations.RunPython(count, migrations.RunPython.noop),
    ]
