"""Let tokens have a scope: older ones may do all that their users may."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents_app', '0015_tool_digests'),
    ]

    operations = [
        migrations.AddField(
            model_name='apitoken',
            name='scope',
            field=models.CharField(choices=[('manage', 'manage: all that its user may do'), ('run', 'run: no changes of agents, providers, MCP servers and tokens')], default='manage', help_text='What programs may do with it.', max_length=16),
        ),
    ]
