"""MCP servers, which provide tools."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils import timezone

from agents_app.engine.spec import ProcessLimits, SandboxSpec, ServerSpec
from agents_app.engine.toolset import matches
from agents_app.models.encryption import EncryptedJSONField
from agents_app.models.env_variables import VARIABLE, UndefinedVariable, expand
from agents_app.models.sandboxes import Sandbox, sandbox_spec, validate_folders, validate_hosts
from agents_app.models.stored_secrets import SecretsOfAnAddress
from agents_app.models.validation import validate_base_url, validate_headers, validate_patterns

# Its tools are named `name__tool`, so the name must leave room for theirs and be unambiguous.
server_name_validator = RegexValidator(
    r"\A(?!.*__)[A-Za-z0-9](?:[A-Za-z0-9_-]{0,30}[A-Za-z0-9])?\Z",
    "Use 1 to 32 letters, digits, '_' or '-', starting and ending with a letter or digit, without '__'.",
)
LONGEST_TOOL_NAME = 64  # every provider of models accepts this
_CONNECTION = ("transport", "command", "args", "env", "url", "headers", "sandbox", "allowed_hosts", "folders")
OUTCOME = ("checked_at", "check_ok", "check_message", "tool_names")


def tool_name(server: str, tool: str) -> str:
    """Return the name of a server's tool for the model, unless it is too long."""
    return f"{server}__{re.sub(r'[^A-Za-z0-9_-]', '_', tool)}"


def clashes(server: str, tools: Iterable[str]) -> list[list[str]]:
    """Return groups of a server's tools that would have the same name for the model."""
    groups: dict[str, list[str]] = defaultdict(list)
    for tool in tools:
        groups[tool_name(server, tool)].append(tool)
    return [group for group in groups.values() if len(group) > 1]


def _is_text(value: object) -> bool:
    """Return whether every database and every process accepts the value."""
    return isinstance(value, str) and "\x00" not in value


def validate_arguments(value) -> None:
    """Reject what is not a list of a command's arguments."""
    if not isinstance(value, list) or not all(map(_is_text, value)):
        raise ValidationError('Enter a list of strings, for example ["-y", "@modelcontextprotocol/server-everything"].')


def validate_environment(value) -> None:
    """Reject what is not an object of environment variables."""
    if not isinstance(value, dict) or not all(
        _is_text(v) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", k) for k, v in value.items()
    ):
        raise ValidationError('Enter an object of strings, for example {"API_KEY": "${API_KEY}"}.')


def validate_timeouts(value) -> None:
    """Reject what is not an object of seconds by tool name."""
    if not isinstance(value, dict) or not all(
        _is_text(k) and isinstance(v, int | float) and not isinstance(v, bool) and 0 < v <= 86_400
        for k, v in value.items()
    ):
        raise ValidationError('Enter an object of seconds, up to 86,400, by tool, for example {"crawl": 300}.')


def _validate_address(url: str) -> None:
    """Reject what is not the address of an MCP server. Unlike a base_url it may have a query."""
    try:
        validate_base_url(url.split("?")[0])
        usable = not re.search(r"[^\x21-\x7e]|#", url)
    except ValidationError:
        usable = False
    if not usable:
        text = "Enter an address such as https://example.com/mcp, without '#'. Put user and password into the headers."
        raise ValidationError({"url": text})


class Scope(models.TextChoices):
    """Who shares a connection to a server, and what the server remembers in it."""

    SHARED = "shared", "shared (one for everybody)"
    USER = "user", "user (one for each user)"
    SESSION = "session", "session (one for each session)"


class McpServerQuerySet(models.QuerySet["McpServer"]):
    def enabled(self) -> "McpServerQuerySet":
        return self.filter(enabled=True)


class McpServer(SecretsOfAnAddress, models.Model):
    """A server of the Model Context Protocol: a process that we start, or an address."""

    class Transport(models.TextChoices):
        STDIO = "stdio", "stdio (a command on this machine)"
        SSE = "sse", "SSE (older HTTP servers)"
        STREAMABLE_HTTP = "streamable_http", "Streamable HTTP"

    address_field = "url"
    secret_fields = ("headers",)
    masked_fields = ("env", "headers")

    name = models.CharField(
        max_length=32,
        unique=True,
        validators=[server_name_validator],
        help_text="Unique name. Its tools are named name__tool.",
    )
    description = models.TextField(blank=True)
    transport = models.CharField(max_length=16, choices=Transport, default=Transport.STDIO)
    command = models.CharField(max_length=500, blank=True, help_text="Program of a stdio server, for example npx.")
    args = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_arguments],
        help_text="Arguments of the command. ${VAR} and ${VAR:-default} are expanded, here and below.",
    )
    env = EncryptedJSONField(
        default=dict,
        blank=True,
        validators=[validate_environment],
        help_text="Environment of the command, beside PATH, HOME and LANG. Encrypted at rest.",
    )
    url = models.CharField(max_length=1000, blank=True, help_text="Address of an SSE or streamable HTTP server.")
    headers = EncryptedJSONField(
        default=dict,
        blank=True,
        validators=[validate_headers],
        help_text="HTTP headers to send with each request. Encrypted at rest.",
    )
    timeout = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(86_400)],
        help_text="Limit on the seconds of one call.",
    )
    tool_timeouts = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_timeouts],
        help_text="Limits on the seconds of one call, for tools that need their own.",
    )
    allowed_tools = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_patterns],
        help_text="Patterns of allowed tools, by the server's own names. Leave empty to allow all.",
    )
    denied_tools = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_patterns],
        help_text="Patterns of denied tools, by the server's own names.",
    )
    max_memory_mb = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=2048,
        validators=[MinValueValidator(16), MaxValueValidator(1_048_576)],
        help_text="Memory limit of each process of a stdio server. Leave empty for no limit.",
    )
    max_cpu_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(31_536_000)],
        help_text="CPU time limit of each process of a stdio server. Leave empty for no limit.",
    )
    max_processes = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=512,
        validators=[MinValueValidator(1), MaxValueValidator(1_048_576)],
        help_text="Limit on processes and threads of a stdio server's user. Leave empty for no limit.",
    )
    max_open_files = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=1024,
        validators=[MinValueValidator(16), MaxValueValidator(1_048_576)],
        help_text="Limit on open files of each process of a stdio server. Leave empty for no limit.",
    )
    scope = models.CharField(
        max_length=16,
        choices=Scope,
        default=Scope.USER,
        help_text="Whose calls one connection, and so one process of a command, serves.",
    )
    sandbox = models.CharField(
        max_length=16,
        choices=Sandbox,
        default=Sandbox.NETWORK,
        help_text="What the command of a stdio server may reach, beside the system's programs and its own folder.",
    )
    allowed_hosts = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_hosts],
        help_text="Hosts that its sandbox may connect to: names, patterns or networks. Leave empty for the internet.",
    )
    folders = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_folders],
        help_text='Folders that its sandbox shows, for example [{"path": "/srv/files", "write": true}].',
    )
    enabled = models.BooleanField(default=True, help_text="Agents have no tools of a disabled server.")
    open_to_users = models.BooleanField(
        default=False, help_text="Let users give its tools to agents of their own, without approval if they like."
    )
    checked_at = models.DateTimeField(null=True, blank=True)
    check_ok = models.BooleanField(null=True, blank=True)
    check_message = models.TextField(blank=True)
    tool_names = models.JSONField(default=list, blank=True, help_text="Tools as of the last check.")
    tool_digests = models.JSONField(
        default=dict, blank=True, editable=False, help_text="What it said of its tools at the last check, as digests."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = McpServerQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        verbose_name = "MCP server"

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **options: Any) -> None:
        """Save the row. If the connection changes, clear the result of the last check."""
        before = McpServer.objects.filter(pk=self.pk).first()
        if before and any(getattr(self, name) != getattr(before, name) for name in _CONNECTION):
            self.checked_at, self.check_ok, self.check_message, self.tool_names = None, None, "", []
            self.tool_digests = {}
        super().save(*args, **options)

    def clean(self) -> None:
        if self.transport == self.Transport.STDIO:
            self._clean_command()
        else:
            self._clean_address()
        self._clean_tool_names()

    def _clean_command(self) -> None:
        words = self.command.split()
        if not words:
            raise ValidationError({"command": "Enter the program to start."})
        if len(words) > 1 and "/" not in words[0]:
            raise ValidationError({"command": "Enter only the program here. Put its arguments into args, one by one."})
        for name in ("url", "headers"):
            if getattr(self, name):
                raise ValidationError({name: "A stdio server has no address and no headers: leave them empty."})
        if self.sandbox == Sandbox.STRICT and self.allowed_hosts:
            raise ValidationError({"allowed_hosts": "A strict sandbox reaches no hosts: leave them empty."})

    def _clean_address(self) -> None:
        if not self.url:
            raise ValidationError({"url": "Enter the address of the server, for example https://example.com/mcp."})
        for name in ("command", "args", "env"):
            if getattr(self, name):
                raise ValidationError({name: "Only a stdio server has a command: leave command, args and env empty."})
        for name in ("allowed_hosts", "folders"):
            if getattr(self, name):
                raise ValidationError(
                    {name: "Only a stdio server has a sandbox: leave allowed_hosts and folders empty."}
                )
        # 1 is valid for every variable, whether host, port or path.
        _validate_address(VARIABLE.sub("1", re.sub(rf"\A{VARIABLE.pattern}", "http://1", self.url)))

    def _clean_tool_names(self) -> None:
        """Reject a change that makes a tool, as of the last check, lose its name name__tool.

        The check reports a tool that never had that name; it is no reason to reject other changes.
        """
        if self.tool_names and (problems := self._name_problems()):
            before = McpServer.objects.filter(pk=self.pk).first()
            existing = before._name_problems() if before else {}
            for key, problem in problems.items():
                if key not in existing:
                    raise ValidationError(problem)

    def _name_problems(self) -> dict[tuple[str, ...], dict[str, str]]:
        """Return the tools whose name for the model is too long or not unique, each with its error by field."""
        usable = self.usable(self.tool_names) if self.enabled else []
        problems: dict[tuple[str, ...], dict[str, str]] = {}
        for group in clashes(self.name, usable):
            named = " and ".join(repr(tool[:100]) for tool in group[:3])
            text = f"Its tools {named} would all be named {tool_name(self.name, group[0])[:100]}: deny all but one."
            problems[tuple(group)] = {"denied_tools": text}
        for tool in usable:
            if len(tool_name(self.name, tool)) > LONGEST_TOOL_NAME:
                text = f"Too long for its tool {tool[:100]!r}: name__tool may have {LONGEST_TOOL_NAME} characters."
                problems[(tool,)] = {"name": text}
        return problems

    def used_by(self) -> list[str]:
        """Return the names of the agents that have its tools."""
        return list(self.agents.order_by("name").values_list("name", flat=True))

    def usable(self, tools: Iterable[str]) -> list[str]:
        """Return the tools, by the server's own names, that the patterns allow."""
        return [
            tool
            for tool in tools
            if (not self.allowed_tools or matches(tool, self.allowed_tools)) and not matches(tool, self.denied_tools)
        ]

    def record_check(self, *, ok: bool, message: str, tool_names: list[str], tool_digests: Any = None) -> None:
        """Save the result of a check, unless the row changed since the check read it."""
        self.checked_at, self.check_ok, self.check_message = timezone.now(), ok, message
        if ok:
            self.tool_names, self.tool_digests = tool_names, tool_digests or {}
        outcome = {name: getattr(self, name) for name in (*OUTCOME, "tool_digests")}
        McpServer.objects.filter(pk=self.pk, updated_at=self.updated_at).update(**outcome)

    def spec(self, *, user_id: int | None = None, session_id: str = "") -> ServerSpec:
        """Return what the engine needs, with variables expanded. If that fails, the error is its `problem`.

        Without a user it is for a check, or a call by hand, which has a connection of its own.
        """
        scope = self._scope_key(user_id, session_id)
        fixed: dict[str, Any] = {
            "name": self.name,
            "transport": self.transport,
            "timeout": float(self.timeout),
            "tool_timeouts": tuple(sorted(self.tool_timeouts.items())),
            "allowed": tuple(self.allowed_tools),
            "denied": tuple(self.denied_tools),
            "tool_digests": tuple(sorted(self.tool_digests.items())),
            "scope": scope,
            # Not in one another: what is shared must not show what is a user's. No name of a server has a dot.
            "folder": str(Path(settings.VAR_DIR) / "mcp" / ".".join(filter(None, (self.name, scope)))),
            "sandbox": self._sandbox_spec(),
            "limits": ProcessLimits(
                memory=self.max_memory_mb * 1024**2 if self.max_memory_mb else None,
                cpu_seconds=self.max_cpu_seconds,
                processes=self.max_processes,
                open_files=self.max_open_files,
            ),
        }
        try:
            spec = ServerSpec(
                **fixed,
                command=expand(self.command.strip()),
                args=tuple(map(expand, self.args)),
                env=tuple(sorted((key, expand(value)) for key, value in self.env.items())),
                url=expand(self.url),
                headers=tuple(sorted((key, expand(value)) for key, value in self.headers.items())),
            )
            if spec.url:
                _validate_address(spec.url)
                validate_headers(dict(spec.headers))
        except UndefinedVariable as error:
            return ServerSpec(**fixed, problem=self._unavailable(str(error)))
        except ValidationError as error:
            reason = f"With its variables expanded, it cannot be used. {error.messages[0]}"
            return ServerSpec(**fixed, problem=self._unavailable(reason))
        return spec

    def _scope_key(self, user_id: int | None, session_id: str) -> str:
        if user_id is None or self.scope == Scope.SHARED:
            return ""
        return f"session-{session_id}" if self.scope == Scope.SESSION else f"user-{user_id}"

    def _sandbox_spec(self) -> SandboxSpec | None:
        is_command = self.transport == self.Transport.STDIO
        return sandbox_spec(self.sandbox, self.allowed_hosts, self.folders) if is_command else None

    def _unavailable(self, reason: str) -> str:
        return f"The MCP server {self.name!r} is not available: {reason}"
