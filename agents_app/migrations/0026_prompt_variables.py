"""Variables of prompts: their values on a run, and metadata of sessions."""

import agents_app.models.metadata
import agents_app.models.prompt_variables
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents_app', '0025_window_help_text'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='variables',
            field=models.JSONField(blank=True, editable=False, help_text="Values of the prompt's variables when the run was accepted.", null=True),
        ),
        migrations.AddField(
            model_name='session',
            name='metadata',
            field=models.JSONField(blank=True, help_text='Texts that prompts of agents name as {{metadata.KEY}}.', null=True, validators=[agents_app.models.metadata.validate_metadata]),
        ),
        migrations.AlterField(
            model_name='agent',
            name='system_prompt',
            field=models.TextField(blank=True, help_text='Instructions for the model before the conversation. Variables such as {{agent_name}} are filled in.', validators=[agents_app.models.prompt_variables.validate_prompt]),
        ),
    ]
