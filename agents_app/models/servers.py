"""MCP servers: where tools come from."""

import os
import re
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models

from agents_app.engine.spec import ProcessLimits, ServerSpec
from agents_app.models.secrets import EncryptedJSONField
from agents_app.models.validation import validate_base_url, validate_headers, validate_patterns

# Its tools are called `name__tool`, so it must leave room for theirs, and be unmistakable.
server_name_validator = RegexValidator(
    r"\A(?!.*__)[A-Za-z0-9](?:[A-Za-z0-9_-]{0,30}[A-Za-z0-9])?\Z",
    "Use 1 to 32 letters, digits, '_' or '-', beginning and ending with a letter or digit, without '__'.",
)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class UndefinedVariable(Exception):
    """A `${VAR}` without a default names a variable that the server's environment does not have."""


def expand(text: str) -> str:
    """The text with `${VAR}` and `${VAR:-default}` replaced from this process's environment.

    As in a shell, the default also stands in for a variable that is empty.

    Raises:
        UndefinedVariable: the text names it.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name, "")
        if found or (default is None and name in os.environ):
            return found
        if default is None:
            raise UndefinedVariable(f"The environment variable {name} is not set.")
        return default

    return _VARIABLE.sub(value, text)


def validate_arguments(value) -> None:
    """Refuse what is no list of a command's arguments."""
    if not isinstance(value, list) or not all(isinstance(a, str) and "\x00" not in a for a in value):
        raise ValidationError('Give a list of texts, for example ["-y", "@modelcontextprotocol/server-everything"].')


def validate_environment(value) -> None:
    """Refuse what is no object of environment variables."""
    if not isinstance(value, dict) or not all(
        isinstance(v, str) and "\x00" not in v and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", k) for k, v in value.items()
    ):
        raise ValidationError('Give an object of texts, for example {"API_KEY": "${API_KEY}"}.')


def validate_timeouts(value) -> None:
    """Refuse what is no object of seconds by the names of tools."""
    if not isinstance(value, dict) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) and 0 < v <= 86_400 for v in value.values()
    ):
        raise ValidationError('Give an object of seconds, up to 86,400, by tool, for example {"crawl": 300}.')


class McpServerQuerySet(models.QuerySet["McpServer"]):
    def enabled(self) -> "McpServerQuerySet":
        return self.filter(enabled=True)


class McpServer(models.Model):
    """A server of the Model Context Protocol: a process that we start here, or an address."""

    class Transport(models.TextChoices):
        STDIO = "stdio", "stdio (a command on this machine)"
        SSE = "sse", "SSE (older HTTP servers)"
        STREAMABLE_HTTP = "streamable_http", "Streamable HTTP"

    name = models.CharField(
        max_length=32,
        unique=True,
        validators=[server_name_validator],
        help_text="Unique; its tools are called name__tool.",
    )
    description = models.TextField(blank=True)
    transport = models.CharField(max_length=16, choices=Transport, default=Transport.STDIO)
    command = models.CharField(max_length=500, blank=True, help_text="Of stdio: the program, for example npx.")
    args = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_arguments],
        help_text="Of stdio: its arguments. ${VAR} and ${VAR:-default} are replaced, here and below.",
    )
    env = EncryptedJSONField(
        default=dict,
        blank=True,
        validators=[validate_environment],
        help_text="Of stdio: its environment, beside PATH, HOME and LANG. Encrypted at rest.",
    )
    url = models.CharField(max_length=1000, blank=True, help_text="Of SSE and streamable HTTP: the address.")
    headers = EncryptedJSONField(
        default=dict,
        blank=True,
        validators=[validate_headers],
        help_text="Of SSE and streamable HTTP: sent with each request. Encrypted at rest.",
    )
    timeout = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(86_400)],
        help_text="Seconds of one call.",
    )
    tool_timeouts = models.JSONField(
        default=dict, blank=True, validators=[validate_timeouts], help_text="Seconds by tool, where it needs its own."
    )
    allowed_tools = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_patterns],
        help_text="Patterns of its tools that may be used, by its own names; empty: all.",
    )
    denied_tools = models.JSONField(
        default=list, blank=True, validators=[validate_patterns], help_text="Patterns of its tools that may not."
    )
    max_memory_mb = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=2048,
        validators=[MinValueValidator(16)],
        help_text="Of stdio: memory of each of its processes; empty: no limit of ours.",
    )
    max_cpu_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Of stdio: CPU time of each of its processes; empty: no limit of ours.",
    )
    max_processes = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=512,
        validators=[MinValueValidator(1)],
        help_text="Of stdio: processes and threads of its user; empty: no limit of ours.",
    )
    max_open_files = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=1024,
        validators=[MinValueValidator(16)],
        help_text="Of stdio: open files of each of its processes; empty: no limit of ours.",
    )
    enabled = models.BooleanField(default=True, help_text="The tools of a disabled server are not there.")
    checked_at = models.DateTimeField(null=True, blank=True)
    check_ok = models.BooleanField(null=True, blank=True)
    check_message = models.TextField(blank=True)
    tool_names = models.JSONField(default=list, blank=True, help_text="Its tools, as of the last check.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = McpServerQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        verbose_name = "MCP server"

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if self.transport == self.Transport.STDIO:
            if not self.command.strip():
                raise ValidationError({"command": "Say which program to start."})
            if self.url or self.headers:
                raise ValidationError({"url": "A stdio server has no address and no headers: leave them empty."})
            return
        if not self.url:
            raise ValidationError({"url": "Say where the server is, for example https://example.com/mcp."})
        if self.command or self.args or self.env:
            raise ValidationError({"command": "Only a stdio server has a command: leave command, args and env empty."})
        try:
            validate_base_url(_VARIABLE.sub("x", self.url).split("?")[0])
        except ValidationError as error:
            raise ValidationError({"url": error.messages}) from None

    def spec(self) -> ServerSpec:
        """All that the engine needs to know, variables expanded; what cannot be is its `problem`."""
        fixed: dict[str, Any] = {
            "name": self.name,
            "transport": self.transport,
            "timeout": float(self.timeout),
            "tool_timeouts": tuple(sorted(self.tool_timeouts.items())),
            "allowed": tuple(self.allowed_tools),
            "denied": tuple(self.denied_tools),
            "folder": str(Path(settings.VAR_DIR) / "mcp" / self.name),
            "limits": ProcessLimits(
                memory=self.max_memory_mb * 1024**2 if self.max_memory_mb else None,
                cpu_seconds=self.max_cpu_seconds,
                processes=self.max_processes,
                open_files=self.max_open_files,
            ),
        }
        try:
            return ServerSpec(
                **fixed,
                command=expand(self.command),
                args=tuple(map(expand, self.args)),
                env=tuple(sorted((key, expand(value)) for key, value in self.env.items())),
                url=expand(self.url),
                headers=tuple(sorted((key, expand(value)) for key, value in self.headers.items())),
            )
        except UndefinedVariable as error:
            return ServerSpec(**fixed, problem=f"The MCP server {self.name!r} is not available: {error}")
