"""Convert rows to JSON objects and back: every column that has a meaning in another deployment."""

import base64
import datetime
import decimal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from agents_app.models import Approval, Event, File, Run, Session, SteeredMessage, Step

FORMAT, VERSION = "aintandem-sessions", 1
_MOST_TOKENS = 2**53  # of a run: JavaScript's largest exact number


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of line. `skip`: columns that are written differently, or have no meaning elsewhere."""

    model: type[models.Model]
    skip: frozenset[str]

    def columns(self) -> Iterable[models.Field]:
        fields = self.model._meta.concrete_fields
        return [field for field in fields if field.name not in self.skip and not field.generated]


KINDS = {
    "session": Kind(Session, frozenset({"owner", "agent", "parent"})),
    # Owner, agent, its version, task and worker are rows of the deployment that it comes from.
    "run": Kind(
        Run,
        frozenset(
            {
                "session",
                "agent",
                "agent_version",
                "task",
                "parent",
                "worker",
                "lease_until",
                "takeovers",
                "settled",
                "is_steered",
            }
        ),
    ),
    "step": Kind(Step, frozenset({"id", "run"})),
    "steered": Kind(SteeredMessage, frozenset({"id", "run", "session"})),
    "approval": Kind(Approval, frozenset({"id", "run"})),
    "file": Kind(File, frozenset({"owner", "stored", "run"})),  # and its bytes, as `data` in base64
    "event": Kind(Event, frozenset({"id", "session", "data"})),
}


def to_dict(kind: str, row: models.Model) -> dict[str, Any]:
    """Return the row's columns, for orjson with `to_json`."""
    return {field.name: field.value_from_object(row) for field in KINDS[kind].columns()}


def to_json(value: object) -> object:
    """Convert a value that JSON lacks."""
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def from_dict(kind: str, data: Mapping[str, Any], /, **others: Any) -> Any:
    """Return an unsaved row of a line's data, validated like a form. `others`: columns that the line lacks.

    Raises:
        ValidationError: a column is missing, unknown or invalid; the message names it.
    """
    columns = {field.name: field for field in KINDS[kind].columns()}
    if unknown := sorted(set(data) - set(columns)):
        raise ValidationError(f"Unknown column {unknown[0]!r}: is the file of a newer version?")
    if missing := [name for name, field in columns.items() if name not in data and _is_required(field)]:
        raise ValidationError(f"{missing[0]!r} is missing.")
    values = {name: _value(columns[name], value) for name, value in data.items()}
    return KINDS[kind].model(**values, **others)


def _is_required(field: models.Field) -> bool:
    may_be_empty = field.blank and not isinstance(field, models.DateTimeField)
    return not (field.null or field.has_default() or may_be_empty)


def _value(field: models.Field, raw: Any) -> Any:
    if _has_nul(raw):
        raise ValidationError(f"{field.name!r} contains a NUL character.")
    try:
        value = field.to_python(raw)
        if value is None and not field.null:
            raise ValidationError("it must not be null.")
        if value not in field.empty_values:
            field.validate(value, None)
            field.run_validators(value)
        if isinstance(value, datetime.datetime):
            value = _moment(value)
        if type(field) is models.JSONField and value is not None:
            _check_json(field, value)
    except ValidationError as error:
        raise ValidationError(f"{field.name!r}: {' '.join(error.messages)}") from None
    except (TypeError, ValueError, OverflowError):
        raise ValidationError(f"{field.name!r} cannot be {str(raw)[:60]!r}.") from None
    return value


def _check_json(field: models.Field, value: Any) -> None:
    """Check the shape of a JSON column, which every reader of the row relies on, and sums in SQL."""
    if field.name == "parts":
        if not (isinstance(value, list) and all(map(_is_part, value))):
            raise ValidationError("it must be a list of texts and files.")
        return
    if field.get_default() == []:
        if not (isinstance(value, list) and all(isinstance(each, dict) for each in value)):
            raise ValidationError("it must be a list of objects.")
        return
    if not isinstance(value, dict):
        raise ValidationError("it must be an object.")
    if field.name == "usage" and not all(type(each) is int and 0 <= each <= _MOST_TOKENS for each in value.values()):
        raise ValidationError("its values must be numbers of tokens.")


def _is_part(value: Any) -> bool:
    """Whether the value is a part of a message, as rows hold them."""
    if not isinstance(value, dict):
        return False
    if value.get("type") == "text":
        return isinstance(value.get("text"), str)
    if value.get("type") != "file" or type(value.get("size")) is not int:
        return False
    return all(isinstance(value.get(name), str) for name in ("file_id", "media_type", "name"))


def _moment(value: datetime.datetime) -> datetime.datetime:
    """Return the moment in UTC, where the first and last of other time zones do not exist."""
    if value.tzinfo is None:
        raise ValidationError("it has no time zone.")
    return value.astimezone(datetime.UTC)


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(inner) for key, inner in value.items())
    return isinstance(value, list) and any(map(_has_nul, value))
