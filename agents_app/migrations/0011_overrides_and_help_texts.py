"""Rename the options of a run, and give the tasks' time-outs to the runs that have not ended."""

from django.db import migrations

import agents_app.models.overrides


def copy_timeouts(apps, schema_editor):
    run_model = apps.get_model("agents_app", "Run")
    unfinished = run_model.objects.filter(
        status__in=["queued", "running", "waiting"], task__timeout__isnull=False
    ).select_related("task")
    for run in unfinished.only("overrides", "task__timeout").iterator():
        run.overrides = {**(run.overrides or {}), "timeout": run.task.timeout}
        run.save(update_fields=["overrides"])


class Migration(migrations.Migration):
    dependencies = [("agents_app", "0010_admin_indexes")]

    operations = [
        migrations.RenameField("run", "given", "overrides"),
        migrations.RunPython(copy_timeouts, migrations.RunPython.noop),
        # The column stays as it is: SQLite would copy the table.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="run",
                    name="overrides",
                    field=agents_app.models.overrides.OverridesField(
                        blank=True,
                        default=agents_app.models.overrides.Overrides,
                        help_text="Options of this run alone; see `Overrides`.",
                        null=True,
                    ),
                ),
            ]
        ),
    ]
