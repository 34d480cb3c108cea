"""Keep what MCP servers say of their tools, as digests, with their checks and with calls that wait for approval."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents_app', '0014_pending_deliveries'),
    ]

    operations = [
        migrations.AddField(
            model_name='approval',
            name='tool_digest',
            field=models.CharField(blank=True, default='', editable=False, help_text='What an MCP server said of the tool at the call, as a digest: a changed tool is not called.', max_length=32),
        ),
        migrations.AddField(
            model_name='mcpserver',
            name='tool_digests',
            field=models.JSONField(blank=True, default=dict, editable=False, help_text='What it said of its tools at the last check, as digests.'),
        ),
    ]
