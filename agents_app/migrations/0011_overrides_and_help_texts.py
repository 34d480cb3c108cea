"""Rename the options of a run, and give the tasks' time-outs to the runs that have not ended."""

from decimal import Decimal

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import agents_app.models.encryption
import agents_app.models.mcp_servers
import agents_app.models.overrides
import agents_app.models.tasks
import agents_app.models.validation


def copy_timeouts(apps, schema_editor):
    run_model = apps.get_model("agents_app", "Run")
    unfinished = run_model.objects.filter(
        status__in=["queued", "running", "waiting"], task__timeout__isnull=False
    ).select_related("task")
    for run in unfinished.only("overrides", "task__timeout").iterator():
        run.overrides = {**(run.overrides or {}), "timeout": run.task.timeout}
        run.save(update_fields=["overrides"])


class StateOnly(migrations.SeparateDatabaseAndState):
    """Change the models and not the database."""

    def state_forwards(self, app_label, state):
        state.__dict__.pop("apps", None)  # else each operation renders all models again: seconds of CPU at a first start
        super().state_forwards(app_label, state)


class Migration(migrations.Migration):
    dependencies = [
        ("agents_app", "0010_admin_indexes"),
        ("auth", "0012_alter_user_first_name_max_length"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RenameField("run", "given", "overrides"),
        migrations.RunPython(copy_timeouts, migrations.RunPython.noop),
        # Neither the column's type nor the texts for people change in the database, and SQLite would copy the table.
        StateOnly(
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
                migrations.AlterField(
                    model_name='agent',
                    name='access',
                    field=models.CharField(choices=[('public', 'everyone who can sign in'), ('restricted', 'administrators, and the users and groups below')], default='public', help_text='Who may use the agent.', max_length=16),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='allowed_groups',
                    field=models.ManyToManyField(blank=True, help_text='Groups whose members may use a restricted agent.', related_name='+', to='auth.group'),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='allowed_tools',
                    field=models.JSONField(blank=True, default=list, help_text='Patterns of allowed tools, for example ["files__read_*"]. Leave empty to allow all.', validators=[agents_app.models.validation.validate_patterns]),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='allowed_users',
                    field=models.ManyToManyField(blank=True, help_text='Users of a restricted agent.', related_name='+', to=settings.AUTH_USER_MODEL),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='approval_timeout',
                    field=models.PositiveIntegerField(default=86400, help_text='Seconds that a call waits for approval before it counts as denied.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(2592000)]),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='denied_tools',
                    field=models.JSONField(blank=True, default=list, help_text='Patterns of denied tools, for example ["files__delete_*"].', validators=[agents_app.models.validation.validate_patterns]),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='description',
                    field=models.TextField(blank=True, help_text='Description for people who choose an agent.'),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='enabled',
                    field=models.BooleanField(default=True, help_text='A disabled agent accepts no new runs.'),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='is_default',
                    field=models.BooleanField(default=False, help_text='Answer messages that name no agent.'),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='max_iterations',
                    field=models.PositiveIntegerField(default=20, help_text='Limit on the model turns of one run.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000)]),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='max_tokens',
                    field=models.PositiveIntegerField(blank=True, help_text='Limit on the tokens of one model turn.', null=True, validators=[django.core.validators.MinValueValidator(1)]),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='max_total_tokens',
                    field=models.PositiveIntegerField(blank=True, help_text='Limit on the tokens of one run, input and output.', null=True, validators=[django.core.validators.MinValueValidator(1)]),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='mcp_servers',
                    field=models.ManyToManyField(blank=True, help_text='Servers whose tools the agent has, named server__tool.', related_name='agents', to='agents_app.mcpserver'),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='model',
                    field=models.CharField(blank=True, help_text="Leave empty to use the provider's default model.", max_length=200),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='name',
                    field=models.CharField(help_text='Unique name, used by clients.', max_length=64, unique=True, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\\Z', "Use 1 to 64 letters, digits, '_', '.' or '-', starting with a letter or digit.")]),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='provider',
                    field=models.ForeignKey(blank=True, help_text='Leave empty to use the default provider.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='agents', to='agents_app.provider'),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='reasoning_effort',
                    field=models.CharField(blank=True, choices=[('none', 'none'), ('minimal', 'minimal'), ('low', 'low'), ('medium', 'medium'), ('high', 'high'), ('xhigh', 'xhigh')], help_text="Effort of models that reason. Leave empty to use the model's own.", max_length=16),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='role',
                    field=models.CharField(blank=True, help_text='Role in a few words.', max_length=200),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='system_prompt',
                    field=models.TextField(blank=True, help_text='Instructions for the model before the conversation.'),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='temperature',
                    field=models.FloatField(blank=True, help_text="0 to 2. Leave empty to use the model's own.", null=True, validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(2)]),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='thinking_budget',
                    field=models.PositiveIntegerField(blank=True, help_text='Tokens for thinking, for providers that accept a budget.', null=True),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='timeout',
                    field=models.PositiveIntegerField(default=300, help_text='Limit on the seconds of one run.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(86400)]),
                ),
                migrations.AlterField(
                    model_name='agent',
                    name='top_p',
                    field=models.FloatField(blank=True, help_text="0 to 1. Leave empty to use the model's own.", null=True, validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1)]),
                ),
                migrations.AlterField(
                    model_name='apitoken',
                    name='last_used_at',
                    field=models.DateTimeField(blank=True, help_text='Last use, to the minute.', null=True),
                ),
                migrations.AlterField(
                    model_name='apitoken',
                    name='name',
                    field=models.CharField(help_text='Purpose of the token.', max_length=100),
                ),
                migrations.AlterField(
                    model_name='approval',
                    name='by',
                    field=models.CharField(blank=True, help_text='User who answered; empty if nobody did in time.', max_length=150),
                ),
                migrations.AlterField(
                    model_name='approval',
                    name='for_run',
                    field=models.BooleanField(default=False, help_text='Approve the tool for the rest of the run.'),
                ),
                migrations.AlterField(
                    model_name='chore',
                    name='done_at',
                    field=models.DateTimeField(blank=True, help_text='Time of the last completion.', null=True),
                ),
                migrations.AlterField(
                    model_name='chore',
                    name='result',
                    field=models.TextField(blank=True, help_text='Result of the last completion.'),
                ),
                migrations.AlterField(
                    model_name='delivery',
                    name='error',
                    field=models.TextField(blank=True, help_text='Error of the last attempt.'),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='allowed_tools',
                    field=models.JSONField(blank=True, default=list, help_text="Patterns of allowed tools, by the server's own names. Leave empty to allow all.", validators=[agents_app.models.validation.validate_patterns]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='args',
                    field=models.JSONField(blank=True, default=list, help_text='Arguments of the command. ${VAR} and ${VAR:-default} are expanded, here and below.', validators=[agents_app.models.mcp_servers.validate_arguments]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='command',
                    field=models.CharField(blank=True, help_text='Program of a stdio server, for example npx.', max_length=500),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='denied_tools',
                    field=models.JSONField(blank=True, default=list, help_text="Patterns of denied tools, by the server's own names.", validators=[agents_app.models.validation.validate_patterns]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='enabled',
                    field=models.BooleanField(default=True, help_text='Agents have no tools of a disabled server.'),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='env',
                    field=agents_app.models.encryption.EncryptedJSONField(blank=True, default=dict, help_text='Environment of the command, beside PATH, HOME and LANG. Encrypted at rest.', validators=[agents_app.models.mcp_servers.validate_environment]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='headers',
                    field=agents_app.models.encryption.EncryptedJSONField(blank=True, default=dict, help_text='HTTP headers to send with each request. Encrypted at rest.', validators=[agents_app.models.validation.validate_headers]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='max_cpu_seconds',
                    field=models.PositiveIntegerField(blank=True, help_text='CPU time limit of each process of a stdio server. Leave empty for no limit.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(31536000)]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='max_memory_mb',
                    field=models.PositiveIntegerField(blank=True, default=2048, help_text='Memory limit of each process of a stdio server. Leave empty for no limit.', null=True, validators=[django.core.validators.MinValueValidator(16), django.core.validators.MaxValueValidator(1048576)]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='max_open_files',
                    field=models.PositiveIntegerField(blank=True, default=1024, help_text='Limit on open files of each process of a stdio server. Leave empty for no limit.', null=True, validators=[django.core.validators.MinValueValidator(16), django.core.validators.MaxValueValidator(1048576)]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='max_processes',
                    field=models.PositiveIntegerField(blank=True, default=512, help_text="Limit on processes and threads of a stdio server's user. Leave empty for no limit.", null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1048576)]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='name',
                    field=models.CharField(help_text='Unique name. Its tools are named name__tool.', max_length=32, unique=True, validators=[django.core.validators.RegexValidator('\\A(?!.*__)[A-Za-z0-9](?:[A-Za-z0-9_-]{0,30}[A-Za-z0-9])?\\Z', "Use 1 to 32 letters, digits, '_' or '-', starting and ending with a letter or digit, without '__'.")]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='timeout',
                    field=models.PositiveIntegerField(default=60, help_text='Limit on the seconds of one call.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(86400)]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='tool_names',
                    field=models.JSONField(blank=True, default=list, help_text='Tools as of the last check.'),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='tool_timeouts',
                    field=models.JSONField(blank=True, default=dict, help_text='Limits on the seconds of one call, for tools that need their own.', validators=[agents_app.models.mcp_servers.validate_timeouts]),
                ),
                migrations.AlterField(
                    model_name='mcpserver',
                    name='url',
                    field=models.CharField(blank=True, help_text='Address of an SSE or streamable HTTP server.', max_length=1000),
                ),
                migrations.AlterField(
                    model_name='price',
                    name='cached_input',
                    field=models.DecimalField(blank=True, decimal_places=6, help_text="US dollars per million tokens of input from the provider's cache. Leave empty to use the price of other input.", max_digits=14, null=True, validators=[django.core.validators.MinValueValidator(Decimal('0'))]),
                ),
                migrations.AlterField(
                    model_name='price',
                    name='input',
                    field=models.DecimalField(decimal_places=6, help_text='US dollars per million tokens of input.', max_digits=14, validators=[django.core.validators.MinValueValidator(Decimal('0'))]),
                ),
                migrations.AlterField(
                    model_name='price',
                    name='model',
                    field=models.CharField(help_text='Name of the model, or a pattern such as gpt-5* or *.', max_length=200),
                ),
                migrations.AlterField(
                    model_name='price',
                    name='output',
                    field=models.DecimalField(decimal_places=6, help_text='US dollars per million tokens of output, thinking included.', max_digits=14, validators=[django.core.validators.MinValueValidator(Decimal('0'))]),
                ),
                migrations.AlterField(
                    model_name='price',
                    name='provider',
                    field=models.ForeignKey(blank=True, help_text='Leave empty for any provider.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='prices', to='agents_app.provider'),
                ),
                migrations.AlterField(
                    model_name='provider',
                    name='api_key',
                    field=agents_app.models.encryption.EncryptedTextField(blank=True, help_text='The key itself. Encrypted at rest, never shown again.'),
                ),
                migrations.AlterField(
                    model_name='provider',
                    name='api_key_env',
                    field=models.CharField(blank=True, help_text='Name of the environment variable that holds the key. It takes precedence over a stored key.', max_length=128),
                ),
                migrations.AlterField(
                    model_name='provider',
                    name='base_url',
                    field=models.CharField(blank=True, help_text="For example https://api.openai.com/v1 or http://localhost:11434/v1. Leave empty for 'local'.", max_length=500, validators=[agents_app.models.validation.validate_base_url]),
                ),
                migrations.AlterField(
                    model_name='provider',
                    name='context_tokens',
                    field=models.PositiveIntegerField(default=8192, help_text='Context window of the models, in tokens. A longer history loses its oldest messages.', validators=[django.core.validators.MinValueValidator(512)]),
                ),
                migrations.AlterField(
                    model_name='provider',
                    name='default_model',
                    field=models.CharField(blank=True, help_text='Model of agents that name none.', max_length=200),
                ),
                migrations.AlterField(
                    model_name='provider',
                    name='headers',
                    field=models.JSONField(blank=True, default=dict, help_text='HTTP headers to send with every request to the model.', validators=[agents_app.models.validation.validate_headers]),
                ),
                migrations.AlterField(
                    model_name='provider',
                    name='is_default',
                    field=models.BooleanField(default=False, help_text='Serve the agents that name no provider.'),
                ),
                migrations.AlterField(
                    model_name='provider',
                    name='kind',
                    field=models.CharField(choices=[('openai', 'OpenAI-compatible'), ('anthropic', 'Anthropic'), ('local', 'Local (llama.cpp in this process)')], default='openai', help_text='API of the server.', max_length=16),
                ),
                migrations.AlterField(
                    model_name='provider',
                    name='name',
                    field=models.CharField(help_text='Unique name, used by agents.', max_length=64, unique=True, validators=[django.core.validators.RegexValidator('\\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\\Z', "Use 1 to 64 letters, digits, '_', '.' or '-', starting with a letter or digit.")]),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='agent_name',
                    field=models.CharField(help_text='Name of the agent when the run was accepted.', max_length=64),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='attempt',
                    field=models.PositiveIntegerField(default=0, help_text='Number of workers that have claimed the run.'),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='cost',
                    field=models.DecimalField(blank=True, decimal_places=10, help_text='US dollars; empty if the price of the model is unknown.', max_digits=20, null=True),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='fence',
                    field=models.BigIntegerField(default=0, help_text='Counts claims. A worker with an older number can write nothing.'),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='first_seq',
                    field=models.BigIntegerField(blank=True, help_text="Number of the run's first event in the log of the session.", null=True),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='last_seq',
                    field=models.BigIntegerField(blank=True, help_text="Number of the run's last event in the log of the session.", null=True),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='lease_until',
                    field=models.DateTimeField(blank=True, help_text='Moment after which the worker counts as dead.', null=True),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='model',
                    field=models.CharField(blank=True, help_text='Model that answered.', max_length=200),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='number',
                    field=models.BigIntegerField(help_text='Place in the session: 1, 2, 3 …. Runs are executed in this order.'),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='parent',
                    field=models.ForeignKey(blank=True, help_text='Run whose agent started this one.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='children', to='agents_app.run'),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='request_id',
                    field=models.CharField(blank=True, help_text='Id of the request that started the run.', max_length=128),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='retry',
                    field=models.PositiveIntegerField(default=0, help_text='Number of the retry after a failure; 0 for the first attempt.'),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='scheduled_for',
                    field=models.DateTimeField(blank=True, help_text='Moment at which the task was due.', null=True),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='settled',
                    field=models.BooleanField(default=False, help_text='Whether the scheduler has processed the end of the run.'),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='task',
                    field=models.ForeignKey(blank=True, db_index=False, help_text='Task that started the run.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='runs', to='agents_app.scheduledtask'),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='traceparent',
                    field=models.CharField(blank=True, help_text='OpenTelemetry span that started the run.', max_length=64),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='truncated',
                    field=models.BooleanField(default=False, help_text="Whether the answer reached the model's length limit."),
                ),
                migrations.AlterField(
                    model_name='run',
                    name='worker',
                    field=models.CharField(blank=True, help_text='Worker process that executes the run.', max_length=64),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='agent',
                    field=models.ForeignKey(help_text='Agent that does it.', on_delete=django.db.models.deletion.PROTECT, related_name='tasks', to='agents_app.agent'),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='anchor',
                    field=models.DateTimeField(editable=False, help_text='Moment from which an interval counts.'),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='creation_mark',
                    field=models.CharField(blank=True, editable=False, help_text='Digest of the request with that key.', max_length=64),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='description',
                    field=models.TextField(blank=True, help_text='Purpose of the task.'),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='jitter',
                    field=models.PositiveIntegerField(default=0, help_text='Start up to this many seconds late, at random, so that tasks do not all start together.', validators=[django.core.validators.MaxValueValidator(86400)]),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='kept_session',
                    field=models.ForeignKey(blank=True, help_text="For 'kept': the session. Leave empty to let the first run create one.", null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='tasks', to='agents_app.session'),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='last_due',
                    field=models.DateTimeField(editable=False, help_text='Last due moment.', null=True),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='max_retries',
                    field=models.PositiveIntegerField(default=0, help_text='Number of retries after a failed run.', validators=[django.core.validators.MaxValueValidator(20)]),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='misfire',
                    field=models.CharField(choices=[('skip', 'skip: do not run missed moments'), ('once', 'once: one run for all missed moments'), ('all', 'all: one run for each missed moment, up to the limit')], default='once', help_text='What to do about moments at which no server ran.', max_length=16),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='misfire_grace',
                    field=models.PositiveIntegerField(default=60, help_text='Grace period in seconds: a moment that is later than this counts as missed.', validators=[django.core.validators.MaxValueValidator(2592000)]),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='misfire_limit',
                    field=models.PositiveIntegerField(default=10, help_text="For 'all': limit on the missed moments to run, newest first.", validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000)]),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='name',
                    field=models.CharField(help_text='Name for people.', max_length=200),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='next_due',
                    field=models.DateTimeField(editable=False, help_text='Next due moment.', null=True),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='next_run_at',
                    field=models.DateTimeField(editable=False, help_text='Next due moment plus jitter.', null=True),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='overlap',
                    field=models.CharField(choices=[('allow', 'allow: start in parallel'), ('skip', 'skip: do not run this moment'), ('queue', 'queue: start after the previous run'), ('cancel_previous', 'cancel_previous: stop the previous run')], default='skip', help_text='What to do if the previous run is still in progress.', max_length=16),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='owner',
                    field=models.ForeignKey(help_text='User who owns the sessions of its runs.', on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='retry_delay',
                    field=models.PositiveIntegerField(default=30, help_text='Seconds before the first retry. The delay doubles with each retry, up to a day.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(86400)]),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='schedule_type',
                    field=models.CharField(choices=[('cron', 'cron line'), ('interval', 'every so many seconds'), ('once', 'once')], default='cron', help_text='Type of the schedule.', max_length=16),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='session',
                    field=models.CharField(choices=[('new', 'new: a new session for each run'), ('kept', 'kept: one session, so that each run remembers the previous ones')], default='new', help_text='Sessions of its runs.', max_length=8),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='task_prompt',
                    field=models.TextField(help_text='Prompt for the agent each time.', validators=[django.core.validators.MaxLengthValidator(100000)]),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='timeout',
                    field=models.PositiveIntegerField(blank=True, help_text="Limit on the seconds of one run. Leave empty to use the agent's.", null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(86400)]),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='timezone',
                    field=models.CharField(default='UTC', help_text='Time zone of the schedule, an IANA name such as Europe/Berlin.', max_length=64),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='webhook_secret',
                    field=agents_app.models.encryption.EncryptedTextField(blank=True, help_text='Secret that signs the POST: whsec_ and 24 to 64 random bytes in base64. Encrypted at rest.', validators=[agents_app.models.tasks.validate_webhook_secret]),
                ),
                migrations.AlterField(
                    model_name='scheduledtask',
                    name='webhook_url',
                    field=models.CharField(blank=True, help_text='Address that gets a signed POST after each run.', max_length=1000, validators=[agents_app.models.tasks.validate_webhook_url]),
                ),
                migrations.AlterField(
                    model_name='session',
                    name='agent',
                    field=models.ForeignKey(help_text='Agent of messages that name none.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='agents_app.agent'),
                ),
                migrations.AlterField(
                    model_name='session',
                    name='last_seq',
                    field=models.BigIntegerField(default=0, help_text='Number of the newest event.'),
                ),
                migrations.AlterField(
                    model_name='session',
                    name='pruned_seq',
                    field=models.BigIntegerField(default=0, help_text='Number of the newest pruned event.'),
                ),
                migrations.AlterField(
                    model_name='session',
                    name='run_count',
                    field=models.BigIntegerField(default=0, help_text='Number of the newest run.'),
                ),
                migrations.AlterField(
                    model_name='skip',
                    name='count',
                    field=models.PositiveIntegerField(default=1, help_text='Number of these moments; a lower bound if there are very many.'),
                ),
                migrations.AlterField(
                    model_name='skip',
                    name='reason',
                    field=models.CharField(choices=[('missed', 'no server ran, and the misfire policy skips it'), ('overlap', 'the previous run was in progress'), ('queue_full', 'too many moments were waiting'), ('replaced', 'a later moment replaced it'), ('disabled', 'the task was disabled while it waited'), ('agent_unavailable', 'the agent is disabled'), ('session_unavailable', 'somebody else owns its session'), ('owner_inactive', 'its owner can no longer sign in'), ('not_started', 'it could not be started')], max_length=32),
                ),
                migrations.AlterField(
                    model_name='skip',
                    name='scheduled_for',
                    field=models.DateTimeField(help_text='First of these moments.'),
                ),
                migrations.AlterField(
                    model_name='skip',
                    name='until',
                    field=models.DateTimeField(help_text='Last of these moments.'),
                ),
                migrations.AlterField(
                    model_name='step',
                    name='attachments',
                    field=models.JSONField(blank=True, default=list, help_text='Artifacts that the tool returned.'),
                ),
                migrations.AlterField(
                    model_name='step',
                    name='iteration',
                    field=models.PositiveIntegerField(help_text='Model turn of the step: 1, 2, 3 …'),
                ),
                migrations.AlterField(
                    model_name='step',
                    name='provider_data',
                    field=models.JSONField(blank=True, default=dict, help_text="Data that the model's API needs back unchanged."),
                ),
                migrations.AlterField(
                    model_name='step',
                    name='usage',
                    field=models.JSONField(blank=True, default=dict, help_text='Tokens of the run up to this step, inclusive.'),
                ),
                migrations.AlterField(
                    model_name='ticket',
                    name='token',
                    field=models.ForeignKey(help_text='API token that requested the ticket.', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.KNOX_TOKEN_MODEL),
                ),
                migrations.AlterField(
                    model_name='tokenuse',
                    name='tokens',
                    field=models.BigIntegerField(help_text='Input and output tokens of the runs that ended on this day.'),
                ),
                migrations.AlterField(
                    model_name='workerprocess',
                    name='concurrency',
                    field=models.PositiveIntegerField(help_text='Limit on runs at a time.'),
                ),
                migrations.AlterField(
                    model_name='workerprocess',
                    name='running',
                    field=models.PositiveIntegerField(default=0, help_text='Number of runs in progress.'),
                ),
                migrations.AlterConstraint(
                    model_name='price',
                    name='price_once_per_model',
                    constraint=models.UniqueConstraint(condition=models.Q(('provider', None)), fields=('model',), name='price_once_per_model', violation_error_message='A price for this model at any provider already exists.'),
                ),
            ]
        ),
    ]
