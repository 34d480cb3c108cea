"""Apply items to the database in one transaction: all of them or none."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from django.db import connection, transaction
from django.db.models import ProtectedError
from rest_framework import serializers

from agents_app.access.callers import local_administrator
from agents_app.api.serializers.agents import AgentSerializer
from agents_app.api.serializers.budgets import BudgetSerializer
from agents_app.api.serializers.mcp_servers import McpServerSerializer
from agents_app.api.serializers.providers import ProviderSerializer
from agents_app.api.serializers.tasks import TaskSerializer
from agents_app.configuration.parsing import KINDS, ConfigurationError, Item, Problem
from agents_app.database.errors import storage_errors
from agents_app.models import Agent, Budget, McpServer, Provider, Run, ScheduledTask
from agents_app.models.agent_versions import LONGEST_NOTE, one_version

SERIALIZERS: dict[str, type[serializers.ModelSerializer]] = {
    "providers": ProviderSerializer,
    "mcp_servers": McpServerSerializer,
    "agents": AgentSerializer,
    "tasks": TaskSerializer,
    "budgets": BudgetSerializer,
}
ROWS: dict[str, Any] = {
    "providers": Provider,
    "mcp_servers": McpServer,
    "agents": Agent,
    "tasks": ScheduledTask,
    "budgets": Budget,
}
_LOADING = 0x41494E56  # of PostgreSQL's advisory locks
NOT_CONFIGURATION = {
    "id", "version", "created_at", "updated_at", "has_api_key", "circuit",
    "checked_at", "check_ok", "check_message", "tool_names",
    "next_run_at", "last_run_at", "last_status", "last_result", "last_error",
    "spent", "spent_tokens", "left", "left_tokens", "resets_at",
    "total_runs", "successful_runs", "failed_runs", "skipped_runs",
}  # fmt: skip
_SECRET = {"api_key", "webhook_secret", "env", "headers"}


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one row: `+` created, `~` changed, `-` deleted. `fields` has name, before and after."""

    sign: str
    kind: str
    name: str
    fields: tuple[tuple[str, Any, Any], ...] = ()

    def lines(self) -> Iterable[str]:
        yield f"{self.sign} {self.kind}.{self.name}"
        for name, before, after in self.fields:
            if name in _SECRET:
                yield f"    {name}: (not shown)"
            elif self.sign == "+":
                yield f"    {name}: {_short(after)}"
            else:
                yield f"    {name}: {_short(before)} → {_short(after)}"


@dataclass(slots=True)
class Outcome:
    """The changes that were made, or would be."""

    changes: list[Change] = field(default_factory=list)
    unchanged: int = 0

    def __str__(self) -> str:
        count = {sign: sum(change.sign == sign for change in self.changes) for sign in "+~-"}
        lines = [line for change in self.changes for line in change.lines()]
        lines.append(f"{count['+']} created, {count['~']} changed, {count['-']} deleted, {self.unchanged} unchanged.")
        return "\n".join(lines)


class _Undo(Exception):
    """Rolls the transaction back."""


def apply(items: list[Item], *, dry_run: bool = False, prune: bool = False) -> Outcome:
    """Write the rows of the items, all or none. `prune` deletes the other rows of the kinds that the items have.

    Raises:
        ConfigurationError: an item is invalid; nothing was changed.
    """
    outcome = Outcome()
    problems: list[Problem] = []
    try:
        with storage_errors(), transaction.atomic():
            if connection.vendor == "postgresql":  # several instances may load the same files at the same time
                connection.cursor().execute("SELECT pg_advisory_xact_lock(%s)", [_LOADING])
            for item in items:
                _write(item, outcome, problems)
            if prune and not problems:
                _prune(items, outcome, problems)
            if problems or dry_run:
                raise _Undo
    except _Undo:
        pass
    if problems:
        raise ConfigurationError(problems)
    return outcome


def _write(item: Item, outcome: Outcome, problems: list[Problem]) -> None:
    """Save the row. If that changes nothing, roll back, so that its `updated_at` stays."""
    existing = ROWS[item.kind].objects.filter(name=item.name).first()
    context = {"request": SimpleNamespace(user=local_administrator(), auth=None, method="PUT" if existing else "POST")}
    serializer = SERIALIZERS[item.kind](existing, data={"name": item.name, **item.fields}, context=context)
    if not serializer.is_valid():
        problems += _problems(item, serializer.errors)
        return
    before = _values(item.kind, existing.pk, context) if existing else {}
    point = transaction.savepoint()
    with one_version(note=f"Loaded from {item.file}"[:LONGEST_NOTE]):
        row = serializer.save(**({"owner": local_administrator()} if item.kind == "tasks" and existing is None else {}))
    after = _values(item.kind, row.pk, context)
    changed = tuple(
        (name, before.get(name), value)
        for name, value in after.items()
        if (before.get(name) != value if existing else name in item.fields)
    )
    if existing is not None and not changed:
        transaction.savepoint_rollback(point)
        outcome.unchanged += 1
    else:
        transaction.savepoint_commit(point)
        outcome.changes.append(Change("~" if existing else "+", item.kind, item.name, changed))


def _values(kind: str, pk: Any, context: dict[str, Any]) -> dict[str, Any]:
    """Return all fields of the row that a file can set, with secrets."""
    row = ROWS[kind].objects.get(pk=pk)
    data = SERIALIZERS[kind](row, context=context).data
    values = {name: value for name, value in data.items() if name not in NOT_CONFIGURATION}
    return values | {name: getattr(row, name) for name in _SECRET if hasattr(row, name)}


def _prune(items: list[Item], outcome: Outcome, problems: list[Problem]) -> None:
    for kind in reversed(KINDS):
        names = {item.name for item in items if item.kind == kind}
        if not names:
            continue
        for row in ROWS[kind].objects.exclude(name__in=names):
            name, file = row.name, next(item.file for item in items if item.kind == kind)
            try:
                if kind == "agents" and Run.objects.unfinished().filter(agent=row).exists():
                    raise ProtectedError("unfinished", set(Run.objects.unfinished().filter(agent=row)[:3]))
                with transaction.atomic():
                    row.delete()
            except ProtectedError as error:
                users = sorted(f"{row._meta.verbose_name} {str(row)[:60]!r}" for row in error.protected_objects)
                problems.append(Problem(file, 0, f"{kind}.{name} cannot be deleted: it is used by {', '.join(users)}."))
            else:
                outcome.changes.append(Change("-", kind, name))


def _problems(item: Item, errors: Any, path: str = "") -> Iterable[Problem]:
    for name, messages in errors.items():
        top = path or name
        if isinstance(messages, dict):
            yield from _problems(item, {f"{name}.{inner}": details for inner, details in messages.items()}, top)
            continue
        for message in messages if isinstance(messages, list) else [messages]:
            where = "" if name in ("non_field_errors", "__all__") else f"{name}: "
            yield item.problem(f"{item.kind}.{item.name}: {where}{message}", top)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
