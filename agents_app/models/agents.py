"""Agents: a prompt, a model and tools."""

from types import SimpleNamespace
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction

from agents_app.database.prepared import Parameter, Prepared
from agents_app.engine import client_tools
from agents_app.engine.builtin_tools import BUILTIN_TOOLS, PLATFORM_TOOLS
from agents_app.exceptions import Conflict, InvalidRequest
from agents_app.models import fallback_models
from agents_app.models.agent_versions import (
    COLUMNS,
    LATER_COLUMNS,
    AgentVersion,
    agent_changed,
    one_version,
    provider_ids_of,
)
from agents_app.models.mcp_servers import McpServer
from agents_app.models.prompt_variables import validate_prompt
from agents_app.models.providers import Provider
from agents_app.models.running_limits import forget_limits
from agents_app.models.validation import slug_validator, validate_accepts, validate_patterns

# What only administrators see of an agent. Who may use it need not know how it is made, or who else may use it.
ADMINISTRATORS_FIELDS = (
    "system_prompt",
    "mcp_servers",
    "allowed_tools",
    "denied_tools",
    "approval_required",
    "allowed_users",
    "allowed_groups",
)


def validate_builtin_tools(value) -> None:
    """Reject names that are not built-in tools."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValidationError("Enter a list of tool names.")
    for name in value:
        if name not in BUILTIN_TOOLS and name not in PLATFORM_TOOLS:
            existing = ", ".join(sorted({*BUILTIN_TOOLS, *PLATFORM_TOOLS}))
            raise ValidationError(f"There is no built-in tool {name[:64]!r}. There are: {existing}.")


def validate_client_tools(value) -> None:
    """Reject what are not definitions of tools."""
    try:
        client_tools.checked(value, "client_tools")
    except InvalidRequest as error:
        raise ValidationError(str(error)) from None


class AgentQuerySet(models.QuerySet["Agent"]):
    def visible_to(self, user: Any) -> "AgentQuerySet":
        """Return the agents that `user` may see and talk to; all for an administrator."""
        if user.is_superuser:
            return self
        granted = models.Q(allowed_users=user.pk) | models.Q(allowed_groups__user=user.pk) | models.Q(owner=user.pk)
        restricted = Agent.objects.filter(granted, access=Agent.Access.RESTRICTED)
        return self.filter(models.Q(access=Agent.Access.PUBLIC) | models.Q(pk__in=restricted.values("pk")))

    def enabled(self) -> "AgentQuerySet":
        return self.filter(enabled=True)

    def default(self) -> "Agent | None":
        """Return the agent of messages that name none: the one marked as default, else the oldest enabled one."""
        return self.enabled().in_order_of_default().first()

    def in_order_of_default(self) -> "AgentQuerySet":
        return self.order_by("-is_default", "id")


class Agent(models.Model):
    """A prompt, a model and tools, under a name."""

    class Access(models.TextChoices):
        PUBLIC = "public", "everyone who can sign in"
        RESTRICTED = "restricted", "administrators, its owner, and the users and groups below"

    class Compaction(models.TextChoices):
        OFF = "off", "leave the oldest messages out"
        TOOLS = "tools", "replace old results of tools by a line each"
        SUMMARY = "summary", "the same, then summarize the older messages"

    name = models.CharField(
        max_length=64, unique=True, validators=[slug_validator], help_text="Unique name, used by clients."
    )
    role = models.CharField(max_length=200, blank=True, help_text="Role in a few words.")
    description = models.TextField(blank=True, help_text="Description for people who choose an agent.")
    system_prompt = models.TextField(
        blank=True,
        validators=[validate_prompt],
        help_text="Instructions for the model before the conversation. Variables such as {{agent_name}} are filled in.",
    )
    provider = models.ForeignKey(
        Provider,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="agents",
        help_text="Leave empty to use the default provider.",
    )
    model = models.CharField(max_length=200, blank=True, help_text="Leave empty to use the provider's default model.")
    temperature = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(2)],
        help_text="0 to 2. Leave empty to use the model's own.",
    )
    top_p = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="0 to 1. Leave empty to use the model's own.",
    )
    max_tokens = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Limit on the tokens of one model turn.",
    )
    reasoning_effort = models.CharField(
        max_length=16,
        blank=True,
        choices=[(c, c) for c in ("none", "minimal", "low", "medium", "high", "xhigh")],
        help_text="Effort of models that reason. Leave empty to use the model's own.",
    )
    thinking_budget = models.PositiveIntegerField(
        null=True, blank=True, help_text="Tokens for thinking, for providers that accept a budget."
    )
    accepts = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_accepts],
        help_text='What the model accepts, for example ["text", "image", "pdf", "audio"]. Leave empty if it is known.',
    )
    builtin_tools = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_builtin_tools],
        help_text='Names of built-in tools, for example ["current_time", "calculate"].',
    )
    client_tools = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_client_tools],
        help_text='Tools that the calling program executes, for example [{"name": "open_page", "description": "Open a '
        'page.", "parameters": {"type": "object"}}].',
    )
    mcp_servers = models.ManyToManyField(
        McpServer, blank=True, related_name="agents", help_text="Servers whose tools the agent has, named server__tool."
    )
    allowed_tools = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_patterns],
        help_text='Patterns of allowed tools, for example ["files__read_*"]. Leave empty to allow all.',
    )
    denied_tools = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_patterns],
        help_text='Patterns of denied tools, for example ["files__delete_*"].',
    )
    approval_required = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_patterns],
        help_text='Patterns of tools that a person must approve before each call, for example ["files__write_*"].',
    )
    approval_timeout = models.PositiveIntegerField(
        default=86_400,
        validators=[MinValueValidator(1), MaxValueValidator(30 * 86_400)],
        help_text="Seconds that a call waits for approval before it counts as denied.",
    )
    max_iterations = models.PositiveIntegerField(
        default=20,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Limit on the model turns of one run.",
    )
    timeout = models.PositiveIntegerField(
        default=300,
        validators=[MinValueValidator(1), MaxValueValidator(86_400)],
        help_text="Limit on the seconds of one run.",
    )
    max_total_tokens = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Limit on the tokens of one run, input and output.",
    )
    max_running = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Limit on its runs in progress at a time; the others wait. Leave empty for no limit.",
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="agents",
        help_text="User who made it and may change it, within what users may use. Leave empty for an agent of the "
        "administrators.",
    )
    compaction = models.CharField(
        max_length=16,
        choices=Compaction,
        default=Compaction.SUMMARY,
        db_default="summary",
        help_text="What to do before a conversation fills the model's context.",
    )
    compact_at = models.PositiveIntegerField(
        default=80,
        db_default=80,
        validators=[MinValueValidator(20), MaxValueValidator(95)],
        help_text="Percent of the model's context from which on the conversation is summarized.",
    )
    access = models.CharField(max_length=16, choices=Access, default=Access.PUBLIC, help_text="Who may use the agent.")
    allowed_users = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="+", help_text="Users of a restricted agent."
    )
    allowed_groups = models.ManyToManyField(
        Group, blank=True, related_name="+", help_text="Groups whose members may use a restricted agent."
    )
    enabled = models.BooleanField(default=True, help_text="A disabled agent accepts no new runs.")
    is_default = models.BooleanField(default=False, help_text="Answer messages that name no agent.")
    current_version = models.ForeignKey(
        AgentVersion, null=True, editable=False, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = AgentQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="agent_one_default"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **options: Any) -> None:
        """Save the agent, and its version if it really changed."""
        with transaction.atomic():
            super().save(*args, **options)
            agent_changed(self)
            transaction.on_commit(forget_limits)

    def clean(self) -> None:
        try:  # a form calls this with whatever its fields have, and then lists what is wrong with each
            validate_builtin_tools(self.builtin_tools)
            tools = client_tools.checked(self.client_tools)
        except (ValidationError, InvalidRequest):
            return
        if name := client_tools.taken_name((tool["name"] for tool in tools), self.builtin_tools, ()):
            raise ValidationError({"client_tools": f"The agent has a built-in tool {name!r} already."})

    def activate(self, version: AgentVersion, *, by: Any, note: str = "") -> None:
        """Take over the spec of an earlier version, as a new version. If it is the present spec, do nothing.

        Raises:
            Conflict: a provider or an MCP server of the version was deleted.
        """
        spec = version.spec
        with one_version(by=by, note=note or f"Version {version.number} again"):
            self.refresh_from_db(from_queryset=Agent.objects.select_for_update())
            ids = [server["id"] for server in spec["mcp_servers"]]
            servers = McpServer.objects.filter(pk__in=ids)
            provider_ids = set(provider_ids_of(spec))
            providers = Provider.objects.in_bulk(provider_ids)
            if len(servers) < len(ids) or len(providers) < len(provider_ids):
                text = f"Version {version.number} cannot be used again: a provider or an MCP server was deleted."
                raise Conflict(text)
            for name in COLUMNS:
                setattr(self, name, spec.get(name, LATER_COLUMNS.get(name)))
            self.provider = providers[spec["provider"]["id"]] if spec["provider"] else None
            self.save()
            self.mcp_servers.set(servers)
            fallback_models.replace(self, fallback_models.of_spec(spec, providers))


class EnabledAgents:
    """The enabled agents that users of a kind may use. Each query set takes `user`, the id.

    They read what a start needs of an agent; the rest is in its version.
    """

    def __init__(self, users: Any) -> None:
        def agents() -> AgentQuerySet:
            return Agent.objects.visible_to(users).enabled().only("id", "name", "created_at", "current_version")

        self.named = Prepared(lambda: agents().filter(name=Parameter("name")))
        self.of_id = Prepared(lambda: agents().filter(pk=Parameter("pk")))
        self.default = Prepared(lambda: agents().in_order_of_default()[:1])


_OF_ADMINISTRATORS = EnabledAgents(SimpleNamespace(is_superuser=True))
_OF_USERS = EnabledAgents(SimpleNamespace(is_superuser=False, pk=Parameter("user")))


def enabled_agents(user: Any) -> EnabledAgents:
    """Return the enabled agents that `user` may use."""
    return _OF_ADMINISTRATORS if user.is_superuser else _OF_USERS
