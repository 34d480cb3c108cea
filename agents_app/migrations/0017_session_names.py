"""Give every session an id that is never used again. What was its id becomes its name, which is its owner's own."""

import django.core.validators
from django.conf import settings
from django.db import migrations, models

import agents_app.models.sessions

SESSION_ID = r"\A(?!\.{1,2}\Z)[A-Za-z0-9_.:-]{1,128}\Z"
REFERENCES = (
    ("agents_app_run", "session_id"),
    ("agents_app_event", "session_id"),
    ("agents_app_scheduledtask", "kept_session_id"),
)
# Set by set: a statement for each of many sessions would take hours.
NEW_ID = {
    "postgresql": "gen_random_uuid()::text",
    "sqlite": "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'"
    " || substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))",
}
FOREIGN_KEYS = """
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype = 'f' AND confrelid = 'agents_app_session'::regclass
"""


def rename(apps, schema_editor):
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        # PostgreSQL changes no table that has unchecked rows, and checks each row of a constraint by itself: drop the
        # constraints, and let it check all rows at once. Django switches SQLite's off for a migration.
        constraints = []
        if connection.vendor == "postgresql":
            cursor.execute(FOREIGN_KEYS)
            constraints = cursor.fetchall()
        for table, name, _ in constraints:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        cursor.execute(f"UPDATE agents_app_session SET name = id, id = {NEW_ID[connection.vendor]}")
        cursor.execute("CREATE UNIQUE INDEX session_of_old_id ON agents_app_session (name)")
        for table, column in REFERENCES:
            cursor.execute(
                f"UPDATE {table} SET {column} = session.id FROM agents_app_session AS session"
                f" WHERE session.name = {table}.{column}"
            )
        cursor.execute("DROP INDEX session_of_old_id")
        for table, name, definition in constraints:
            cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")


class Migration(migrations.Migration):
    dependencies = [
        ("agents_app", "0016_token_scope"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="session",
            name="id",
            field=models.CharField(
                default=agents_app.models.sessions.make_session_id,
                max_length=128,
                primary_key=True,
                serialize=False,
                validators=[django.core.validators.RegexValidator(SESSION_ID)],
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="name",
            field=models.CharField(
                blank=True,
                default="",
                help_text="Name that its owner addresses it by. Leave empty to use the id.",
                max_length=128,
                validators=[django.core.validators.RegexValidator(SESSION_ID)],
            ),
            preserve_default=False,
        ),
        # Older code takes these ids as it took the names, so there is nothing to undo.
        migrations.RunPython(rename, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.UniqueConstraint(fields=("name", "owner"), name="session_name_of_owner"),
        ),
        migrations.AddConstraint(
            model_name="session",
            constraint=models.UniqueConstraint(
                condition=models.Q(("owner", None)), fields=("name",), name="session_name_of_nobody"
            ),
        ),
    ]
