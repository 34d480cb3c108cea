"""Reject a malformed request in one sentence that names the field by its path, as in `messages[0].content`."""

import threading
from collections.abc import Iterable
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from agents_app.exceptions import InvalidRequest

Model = TypeVar("Model", bound=BaseModel)

_LONGEST_NAME = 64
INVALID = "invalid_value"
MISSING = "missing_required_parameter"
TOO_LONG = "string_above_max_length"
WRONG_TYPE = "invalid_type"
_OBJECT = (WRONG_TYPE, "must be an object.")
# Our code and sentence for each kind of error that pydantic reports; the braces take its context.
_SENTENCES = {
    "missing": (MISSING, "is missing."),
    "string_type": (WRONG_TYPE, "must be a string."),
    "bool_type": (WRONG_TYPE, "must be true or false."),
    "int_type": (WRONG_TYPE, "must be a whole number."),
    "float_type": (WRONG_TYPE, "must be a number."),
    "list_type": (WRONG_TYPE, "must be a list."),
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "string_too_short": (INVALID, "must not be empty."),
    "string_too_long": (TOO_LONG, "is longer than {max_length:,} characters."),
    "string_pattern_mismatch": (INVALID, "must match {pattern}"),
    "too_short": (INVALID, "must not be empty."),
    "too_long": (INVALID, "has more than {max_length} entries."),
    "greater_than_equal": (INVALID, "must be {ge:,} or more."),
    "less_than_equal": (INVALID, "must be {le:,} or less."),
    "literal_error": (INVALID, "must be {expected}."),
}
_OURS = "reject:"
_building = threading.Lock()


def refuse(param: str, problem: str, code: str = INVALID) -> NoReturn:
    """Reject the request because of one field.

    Raises:
        InvalidRequest: always.
    """
    raise InvalidRequest(f"'{param}' {problem}", param=param, code=code)


def parse(model: type[Model], body: Any) -> Model:
    """Return the body as this model.

    Raises:
        InvalidRequest: it names the first field that is wrong.
    """
    try:
        return built(model).model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    code, sentence = _explain(first)
    refuse(_path(first["loc"]), sentence, code)


def built(model: type[Model]) -> type[Model]:
    """Return the model with its validator, built now if nobody has needed it yet.

    Building all of them is 30 ms of CPU, which a start should not pay. Pydantic builds without a lock.
    """
    with _building:
        model.model_rebuild()  # does nothing for a model that is complete
    return model


def failure(problem: str, code: str = INVALID) -> PydanticCustomError:
    """Return the error that a validator of a field raises; `problem` continues "'<path>' "."""
    return PydanticCustomError(_OURS + code, "{problem}", {"problem": problem})


def one_of(values: Iterable[str], *, code: str = INVALID) -> BeforeValidator:
    """Return a validator that lists the values that a field may have."""
    allowed = tuple(values)

    def check(value: Any) -> Any:
        if value is not None and value not in allowed:
            raise failure(f"must be one of: {', '.join(allowed)}.", code)
        return value

    return BeforeValidator(check)


def _explain(error: ErrorDetails) -> tuple[str, str]:
    """Return the code and the sentence of an error. Null is the same as a field that is left out."""
    kind, location = error["type"], _without_tags(error["loc"])
    if error["input"] is None and location and isinstance(location[-1], str):
        return _SENTENCES["missing"]
    if kind.startswith(_OURS):
        return kind.removeprefix(_OURS), error["msg"]
    code, sentence = _SENTENCES.get(kind, (INVALID, "is invalid: {message}."))
    return code, sentence.format(**{"message": error["msg"], **_whole(error.get("ctx", {}))})


def _whole(context: dict[str, Any]) -> dict[str, Any]:
    """Return the context with 2 instead of 2.0: all our bounds are whole numbers."""
    return {name: int(value) if isinstance(value, float) else value for name, value in context.items()}


def _without_tags(location: tuple[int | str, ...]) -> list[int | str]:
    """Return the location without the members of unions, which are tagged <like this>."""
    return [part for part in location if isinstance(part, int) or not part.startswith("<")]


def _path(location: tuple[int | str, ...]) -> str:
    """Return the location as a path. A key is reported as its object, `stop` always as a whole."""
    if location[-1:] == ("[key]",):
        location = location[:-2]
    if location[:1] == ("stop",):
        location = location[:1]
    path = ""
    for part in _without_tags(location):
        path += f"[{part}]" if isinstance(part, int) else f".{part[:_LONGEST_NAME]}"
    return path.lstrip(".") or "body"
