"""Serializers that convert nothing: a number is a number, white space stays, an unknown field is a 400."""

import copy
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import models, transaction
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.settings import api_settings

from agents_app.exceptions import InvalidRequest
from agents_app.models.default_rows import make_default
from agents_app.models.env_variables import MASK
from agents_app.models.metadata import LONGEST_VALUE, validate_metadata
from agents_app.models.validation import validate_patterns
from agents_app.runs import client_tools

_LONGEST_NAME = 100
_MOST_NAMES = 20
MASKED = f"Encrypted at rest. Values other than ${{VAR}} are shown as {MASK!r}; send that to keep them."
_WHOLE = api_settings.NON_FIELD_ERRORS_KEY


class Text(serializers.CharField):
    """A string with its white space."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, **options})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WholeNumber(serializers.IntegerField):
    """A JSON integer."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class Number(serializers.FloatField):
    """A JSON number."""

    def to_internal_value(self, data: Any) -> float:
        if not isinstance(data, int | float) or isinstance(data, bool) or not math.isfinite(data):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """`true` or `false`."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=str(data)[:_LONGEST_NAME])
        return data


class Choice(serializers.ChoiceField):
    """One of several strings; the error lists them."""

    def to_internal_value(self, data: Any) -> str:
        if data == "" and self.allow_blank:
            return ""
        if not isinstance(data, str) or data not in self.choices:
            choices = ", ".join(repr(choice) for choice in self.choices)
            raise ValidationError(f"Must be one of: {choices}.", code="invalid_choice")
        return data


class Metadata(serializers.DictField):
    """Metadata of a session. Checked as a whole: each of many wrong entries would be an error of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=Text(max_length=LONGEST_VALUE), required=False, **options)

    def get_attribute(self, instance: Any) -> dict[str, str]:
        return super().get_attribute(instance) or {}

    def to_internal_value(self, data: Any) -> dict[str, str]:
        validate_metadata(data)
        return data


class Patterns(serializers.ListField):
    """Patterns of tool names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=Text(), required=False, validators=[validate_patterns], **options)


@extend_schema_field(
    {
        "type": "array",
        "maxItems": client_tools.MOST_TOOLS,
        "items": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": ["function"]},
                "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
                "description": {"type": "string", "maxLength": client_tools.LONGEST_DESCRIPTION},
                "parameters": {"type": "object", "description": "JSON Schema of the arguments, which are an object."},
                "strict": {"type": "boolean"},
            },
            "required": ["name"],
        },
    }
)
class ClientTools(serializers.Field):
    """Tools that the calling program executes."""

    def to_internal_value(self, data: Any) -> list[dict[str, Any]]:
        try:
            return client_tools.checked(data, self.field_name or "tools")
        except InvalidRequest as error:
            raise ValidationError(str(error), code="invalid") from None

    def to_representation(self, value: Any) -> Any:
        return value


class Strict(serializers.Serializer):
    """Reject unknown fields. Read-only fields may be sent back and are ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise ValidationError({"non_field_errors": [ErrorDetail("Expected a JSON object.", code="invalid")]})
        if unknown := [name[:_LONGEST_NAME] for name in data if name not in self.fields]:
            raise ValidationError(
                {name: [ErrorDetail("Unknown field.", code="unknown_field")] for name in unknown[:_MOST_NAMES]}
            )
        return super().to_internal_value(data)


class StrictModel(Strict, serializers.ModelSerializer):
    """A strict serializer of a row, which also calls the row's `clean`. A PUT resets the fields that it leaves out.

    `sticky_fields`: fields that such a PUT does not reset.
    """

    serializer_field_mapping: ClassVar = serializers.ModelSerializer.serializer_field_mapping | {
        models.CharField: Text,
        models.TextField: Text,
        models.FloatField: Number,
        models.PositiveIntegerField: WholeNumber,
        models.BooleanField: Flag,
    }
    serializer_choice_field = Choice
    sticky_fields: ClassVar[set[str]] = set()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if self.instance is not None and not self.partial:
            attrs = self._defaults() | attrs
        row = copy.copy(self.instance) if self.instance is not None else self._model()
        for name in attrs.keys() - self._many():  # an unsaved row has no related rows
            setattr(row, name, attrs[name])
        row.clean()
        return attrs

    @property
    def _model(self) -> Any:
        return self.Meta.model

    def _defaults(self) -> dict[str, Any]:
        fields = self._model._meta.concrete_fields
        plain = {
            f.name: f.get_default()
            for f in fields
            if f.editable and not f.primary_key and f.name not in self.sticky_fields
        }
        return plain | {name: [] for name in self._many() & self.fields.keys()}

    def _many(self) -> set[str]:
        return {f.name for f in self._model._meta.many_to_many}


class WithDefault(StrictModel):
    """A row that can be the default: setting `is_default` unsets it on the other row."""

    is_default = Flag(required=False, help_text="Setting it unsets it on the row that has it.")
    sticky_fields: ClassVar = {"is_default"}

    @transaction.atomic
    def save(self, **kwargs: Any) -> Any:
        becomes_default = self.validated_data.get("is_default")
        if becomes_default:
            kwargs["is_default"] = bool(self.instance and self.instance.is_default)
        row = super().save(**kwargs)
        if becomes_default:
            make_default(row)
        return row


class Notice(serializers.CharField):
    """A sentence about what the change cleared; empty if it cleared nothing."""

    def __init__(self, **options: Any) -> None:
        help_text = "What a change of the address cleared; empty if that was nothing."
        super().__init__(**{"read_only": True, "help_text": help_text, **options})

    def get_attribute(self, instance: Any) -> str:
        return str(getattr(instance, "notice", ""))


def with_secrets(serializer: StrictModel, attrs: dict[str, Any]) -> dict[str, Any]:
    """Return the changes of a row with secrets, see `SecretsOfAnAddress.with_secrets`."""
    row: Any = serializer.instance if serializer.instance is not None else serializer.Meta.model()  # type: ignore[misc]
    changes, notice = row.with_secrets(attrs)
    if notice:
        row.notice = notice
    if serializer.partial:
        return changes
    # A PUT resets what it leaves out, beside the sticky fields.
    return {name: value for name, value in changes.items() if name in {*attrs, *serializer.sticky_fields}}
