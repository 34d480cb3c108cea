"""Keep every change of an agent as a version, and the version of each run."""

import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents_app', '0020_unfinished_runs_of_a_session'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AgentVersion',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField(help_text='1, 2, 3 … for each agent.')),
                ('spec', models.JSONField()),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('note', models.CharField(blank=True, help_text='Reason of the change.', max_length=200)),
                ('agent', models.ForeignKey(help_text='Empty if deleted.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='versions', to='agents_app.agent')),
                ('created_by', models.ForeignKey(help_text='Empty if a program or a file changed the agent.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-number'],
            },
        ),
        migrations.AddField(
            model_name='agent',
            name='current_version',
            field=models.ForeignKey(db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='agents_app.agentversion'),
        ),
        migrations.AddField(
            model_name='run',
            name='agent_version',
            field=models.ForeignKey(db_index=False, editable=False, help_text='Version of the agent when the run was accepted, which it keeps.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='runs', to='agents_app.agentversion'),
        ),
        migrations.AddConstraint(
            model_name='agentversion',
            constraint=models.UniqueConstraint(fields=('agent', 'number'), name='agent_version_number'),
        ),
    ]
