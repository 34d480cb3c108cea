"""Count the workers in a row that a run has stalled."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents_app', '0017_session_names'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='takeovers',
            field=models.PositiveSmallIntegerField(db_default=0, default=0, help_text='Number of workers in a row that stopped answering while they executed the run.'),
        ),
    ]
