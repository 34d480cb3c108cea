"""What a run does otherwise than its agent and its session say: one typed record in one column."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

from django.core.exceptions import ValidationError
from django.db import models


class MadeCall(TypedDict):
    """A call of a tool in a message of the assistant. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


class EarlierMessage(TypedDict):
    """A message of the conversation before the prompt: of the user, the assistant or a tool.

    `parts`: as of `Run.parts`, if it has files.
    """

    role: str
    content: str
    parts: NotRequired[list[Any]]
    tool_calls: NotRequired[list[MadeCall]]
    tool_call_id: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Overrides:
    """Options of one run. Each that is empty leaves the matter to the agent or the session.

    `instructions` follow the agent's own. `parameters` replace the agent's, by name. `messages` are the conversation
    before the prompt, after those of the session; if they end with results of tools, there may be no prompt. `follows`
    is the number of the session's run that this one continues, instead of the one before it. `timeout` is in seconds.
    `client_tools` are those that the caller executes, as `client_tools.checked` returned them. `stateless`: nobody but
    the client that waits can ask for the answer. `response` is what the Responses API repeats of its request.
    `compaction`: the caller gets summaries of the conversation, which is summarized from `threshold` tokens on unless
    that is null.
    """

    instructions: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    messages: tuple[EarlierMessage, ...] = ()
    follows: int | None = None
    timeout: float | None = None
    client_tools: tuple[dict[str, Any], ...] = ()
    stateless: bool = False
    response: dict[str, Any] = field(default_factory=dict)
    compaction: dict[str, Any] = field(default_factory=dict)

    def within(self, *, timeout: float, max_tokens: int | None) -> "Overrides":
        """Return these options with no more time or tokens than that: an agent's own limits are for its users."""
        parameters = self.parameters
        if max_tokens is not None and (tokens := parameters.get("max_tokens")) is not None:
            parameters = parameters | {"max_tokens": min(tokens, max_tokens)}
        limited = self.timeout and min(self.timeout, timeout)
        return dataclasses.replace(self, parameters=parameters, timeout=limited)

    @property
    def end_with_results(self) -> bool:
        """Whether the messages end with results of tools, which a model can answer without a prompt."""
        return bool(self.messages) and self.messages[-1]["role"] == "tool"

    def as_json(self) -> dict[str, Any] | None:
        """Return the options that are set; None if none is."""
        values = ((each.name, getattr(self, each.name)) for each in dataclasses.fields(self))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values if value} or None

    def is_sound(self) -> bool:
        """Whether each option is of its type, also what was read from a file."""
        texts = all(
            isinstance(each, dict)
            and isinstance(each.get("role"), str)
            and isinstance(each.get("content"), str)
            and isinstance(each.get("parts", []), list)
            for each in self.messages
        )
        numbers = isinstance(self.follows, int | None) and isinstance(self.timeout, int | float | None)
        values = (self.parameters, self.response, self.compaction)
        objects = all(isinstance(value, dict) for value in values)
        objects = objects and all(map(_is_definition, self.client_tools)) and isinstance(self.stateless, bool)
        return texts and numbers and objects and isinstance(self.instructions, str)

    @classmethod
    def from_json(cls, value: dict[str, Any] | None) -> "Overrides":
        """Read what `as_json` returned."""
        if not value:
            return NO_OVERRIDES
        lists = {name: tuple(value.get(name, ())) for name in ("messages", "client_tools")}
        return cls(**{**value, **lists})


def _is_definition(tool: Any) -> bool:
    types = {"name": str, "description": str, "parameters": dict}
    return isinstance(tool, dict) and all(isinstance(tool.get(name), kind) for name, kind in types.items())


NO_OVERRIDES = Overrides()


class OverridesField(models.JSONField):
    """A column of `Overrides`; NULL if none is set."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Overrides:
        return Overrides.from_json(super().from_db_value(value, expression, connection))

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        value = value.as_json() if isinstance(value, Overrides) else value
        return super().get_db_prep_value(value, connection, prepared)

    def to_python(self, value: Any) -> Overrides:
        if isinstance(value, Overrides):
            return value
        try:
            overrides = Overrides.from_json(value)
        except (TypeError, AttributeError):
            overrides = None
        if overrides is None or not overrides.is_sound():
            raise ValidationError("it is not an object of options that a run can have.")
        return overrides

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        super().validate(value.as_json() if isinstance(value, Overrides) else value, model_instance)

    def value_from_object(self, obj: models.Model) -> Any:
        value = super().value_from_object(obj)
        return value.as_json() if isinstance(value, Overrides) else value
