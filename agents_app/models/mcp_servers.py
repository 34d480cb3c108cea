"""MCP servers: where tools come from."""

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

from agents_app.engine.spec import ProcessLimits, ServerSpec
from agents_app.engine.toolset import matches
from agents_app.models.encryption import EncryptedJSONField
from agents_app.models.env_variables import VARIABLE, UndefinedVariable, expand
from agents_app.models.validation import validate_base_url, validate_headers, validate_patterns

# Its tools are called `name__tool`, so it must leave room for theirs, and be unmistakable.
server_name_validator = RegexValidator(
    r"\A(?!.*__)[A-Za-z0-9](?:[A-Za-z0-9_-]{0,30}[A-Za-z0-9])?\Z",
    "Use 1 to 32 letters, digits, '_' or '-', beginning and ending with a letter or digit, without '__'.",
)
LONGEST_TOOL_NAME = 64  # that every provider of models takes
_CONNECTION = ("transport", "command", "args", "env", "url", "headers")
OUTCOME = ("checked_at", "check_ok", "check_message", "tool_names")


def tool_name(server: str, tool: str) -> str:
    """What a model calls a server's tool, unless that is too long."""
    return f"{server}__{re.sub(r'[^A-Za-z0-9_-]', '_', tool)}"


def clashes(server: str, tools: Iterable[str]) -> list[list[str]]:
    """Tools of a server that a model would know by one name, in groups."""
    groups: dict[str, list[str]] = defaultdict(list)
    for tool in tools:
        groups[tool_name(server, tool)].append(tool)
    return [group for group in groups.values() if len(group) > 1]


def _is_text(value: object) -> bool:
    """Whether every database and every process takes it."""
    return isinstance(value, str) and "\x00" not in value


def validate_arguments(value) -> None:
    """Refuse what is no list of a command's arguments."""
    if not isinstance(value, list) or not all(map(_is_text, value)):
        raise ValidationError('Give a list of texts, for example ["-y", "@modelcontextprotocol/server-everything"].')


def validate_environment(value) -> None:
    """Refuse what is no object of environment variables."""
    if not isinstance(value, dict) or not all(
        _is_text(v) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", k) for k, v in value.items()
    ):
        raise ValidationError('Give an object of texts, for example {"API_KEY": "${API_KEY}"}.')


def validate_timeouts(value) -> None:
    """Refuse what is no object of seconds by the names of tools."""
    if not isinstance(value, dict) or not all(
        _is_text(k) and isinstance(v, int | float) and not isinstance(v, bool) and 0 < v <= 86_400
        for k, v in value.items()
    ):
        raise ValidationError('Give an object of seconds, up to 86,400, by tool, for example {"crawl": 300}.')


def _validate_address(url: str) -> None:
    """Refuse what is no address of an MCP server. Unlike a base_url it may have a query."""
    try:
        validate_base_url(url.split("?")[0])
        usable = not re.search(r"[^\x21-\x7e]|#", url)
    except ValidationError:
        usable = False
    if not usable:
        text = "Give an address such as https://example.com/mcp, without '#', and user and password in the headers."
        raise ValidationError({"url": text})


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
        validators=[MinValueValidator(16), MaxValueValidator(1_048_576)],
        help_text="Of stdio: memory of each of its processes; empty: no limit of ours.",
    )
    max_cpu_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(31_536_000)],
        help_text="Of stdio: CPU time of each of its processes; empty: no limit of ours.",
    )
    max_processes = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=512,
        validators=[MinValueValidator(1), MaxValueValidator(1_048_576)],
        help_text="Of stdio: processes and threads of its user; empty: no limit of ours.",
    )
    max_open_files = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=1024,
        validators=[MinValueValidator(16), MaxValueValidator(1_048_576)],
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

    def save(self, *args: Any, **options: Any) -> None:
        """Save it; where something else is behind the name from now on, what a check found is forgotten."""
        before = McpServer.objects.filter(pk=self.pk).first()
        if before and any(getattr(self, name) != getattr(before, name) for name in _CONNECTION):
            self.checked_at, self.check_ok, self.check_message, self.tool_names = None, None, "", []
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
            raise ValidationError({"command": "Say which program to start."})
        if len(words) > 1 and "/" not in words[0]:
            raise ValidationError({"command": "Give only the program here; its arguments go into args, one by one."})
        for name in ("url", "headers"):
            if getattr(self, name):
                raise ValidationError({name: "A stdio server has no address and no headers: leave them empty."})

    def _clean_address(self) -> None:
        if not self.url:
            raise ValidationError({"url": "Say where the server is, for example https://example.com/mcp."})
        for name in ("command", "args", "env"):
            if getattr(self, name):
                raise ValidationError({name: "Only a stdio server has a command: leave command, args and env empty."})
        # Any number does for a variable, be it of a host, a port or a path.
        _validate_address(VARIABLE.sub("1", re.sub(rf"\A{VARIABLE.pattern}", "http://1", self.url)))

    def _clean_tool_names(self) -> None:
        """Refuse a change after which a tool, as of the last check, is not called name__tool any more.

        One that never was is named by the check, and no reason to refuse other changes.
        """
        if self.tool_names and (problems := self._name_problems()):
            before = McpServer.objects.filter(pk=self.pk).first()
            known = before._name_problems() if before else {}
            for key, problem in problems.items():
                if key not in known:
                    raise ValidationError(problem)

    def _name_problems(self) -> dict[tuple[str, ...], dict[str, str]]:
        """Tools that a model knows by a name that is not theirs alone: what is wrong, by field."""
        usable = self.usable(self.tool_names) if self.enabled else []
        problems: dict[tuple[str, ...], dict[str, str]] = {}
        for group in clashes(self.name, usable):
            named = " and ".join(repr(tool[:100]) for tool in group[:3])
            text = f"Its tools {named} would all be called {tool_name(self.name, group[0])[:100]}: deny all but one."
            problems[tuple(group)] = {"denied_tools": text}
        for tool in usable:
            if len(tool_name(self.name, tool)) > LONGEST_TOOL_NAME:
                text = f"Too long for its tool {tool[:100]!r}: name__tool has room for {LONGEST_TOOL_NAME} characters."
                problems[(tool,)] = {"name": text}
        return problems

    def used_by(self) -> list[str]:
        """The names of the agents that have its tools."""
        return list(self.agents.order_by("name").values_list("name", flat=True))

    def usable(self, tools: Iterable[str]) -> list[str]:
        """Those of its tools, by its own names, that its patterns let through."""
        return [
            tool
            for tool in tools
            if (not self.allowed_tools or matches(tool, self.allowed_tools)) and not matches(tool, self.denied_tools)
        ]

    def record_check(self, *, ok: bool, message: str, tool_names: list[str]) -> None:
        """Keep what came of a check. A row that was changed meanwhile is not what was checked, and stays."""
        self.checked_at, self.check_ok, self.check_message = timezone.now(), ok, message
        if ok:
            self.tool_names = tool_names
        outcome = {name: getattr(self, name) for name in OUTCOME}
        McpServer.objects.filter(pk=self.pk, updated_at=self.updated_at).update(**outcome)

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
            why = f"With its variables filled in, it cannot be used. {error.messages[0]}"
            return ServerSpec(**fixed, problem=self._unavailable(why))
        return spec

    def _unavailable(self, why: str) -> str:
        return f"The MCP server {self.name!r} is not available: {why}"
