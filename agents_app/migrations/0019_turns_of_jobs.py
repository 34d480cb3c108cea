"""Index the waiting jobs of the distributed queue by their owner, for `_TURN` in `agents_app.queue.postgres`.

With 10,000 waiting jobs, the first of a new owner read all of them, 20 ms for each job written: now 0.1 ms.
"""

from django.apps import apps
from django.db import migrations

CREATE = """
CREATE INDEX IF NOT EXISTS agents_app_turns_of_jobs ON procrastinate_jobs (queue_name, (args -> 'owner'), priority)
WHERE status = 'todo'
"""
IS_DISTRIBUTED = apps.is_installed("procrastinate.contrib.django")  # with PostgreSQL


def create(apps, editor):
    if IS_DISTRIBUTED:
        editor.execute(CREATE)


def drop(apps, editor):
    if IS_DISTRIBUTED:
        editor.execute("DROP INDEX IF EXISTS agents_app_turns_of_jobs")


class Migration(migrations.Migration):
    dependencies = [
        ("agents_app", "0018_run_takeovers"),
        *([("procrastinate", "0041_post_retry_failed_job")] if IS_DISTRIBUTED else []),
    ]

    operations = [migrations.RunPython(create, drop)]
