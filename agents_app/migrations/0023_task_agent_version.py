"""Pin a task to a version of its agent."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents_app', '0022_first_versions'),
    ]

    operations = [
        migrations.AddField(
            model_name='scheduledtask',
            name='agent_version',
            field=models.ForeignKey(db_index=False, editable=False, help_text='Version of the agent that does it. Empty for the one that is current when a run starts.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='agents_app.agentversion'),
        ),
    ]
