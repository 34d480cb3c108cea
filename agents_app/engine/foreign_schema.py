"""Check arguments against a JSON Schema of somebody else: nothing is fetched, no expression of theirs is evaluated,
and it ends soon.

Nothing else in the product imports jsonschema. The server behind a tool checks its own arguments; what is left out
here is left to it.
"""

import asyncio
import contextlib
import functools
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import attrs
import jsonschema
import referencing
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64
MAX_ERRORS = 50
MAX_STEPS = 100_000
MAX_SECONDS = 0.25  # of the thread's CPU time
# What the event loop does itself: a thread costs more than most checks.
LOOP_VALUES = 1000  # of a schema, of arguments
LOOP_STEPS = 500
LOOP_SECONDS = 0.002

_DIALECTS: dict[str, Any] = {
    "https://json-schema.org/draft/2020-12/schema": jsonschema.Draft202012Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema.Draft201909Validator,
    "http://json-schema.org/draft-07/schema": jsonschema.Draft7Validator,
    "http://json-schema.org/draft-06/schema": jsonschema.Draft6Validator,
    "http://json-schema.org/draft-04/schema": jsonschema.Draft4Validator,
}
_DEFAULT_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_DATA = ("const", "enum", "default", "examples")  # keywords whose values are no schemas
_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
_WALKS_ARGUMENTS = (
    "items",
    "prefixItems",
    "additionalItems",
    "contains",
    "additionalProperties",
    "propertyNames",
)
# They run an expression of the schema's author, or take a time that grows with the square of the arguments.
_NOT_EVALUATED = (
    "pattern",
    "patternProperties",
    "format",
    "uniqueItems",
    "unevaluatedItems",
    "unevaluatedProperties",
)


class UnusableSchema(Exception):
    """The schema cannot be used. The text says why, as the end of a sentence, and quotes nothing of the schema."""


class TakesTooLong(UnusableSchema):
    """The check takes longer than it may."""


class _Budget:
    """What one check may cost."""

    def __init__(self, steps: int, seconds: float) -> None:
        self._steps = steps
        self._until = time.thread_time() + seconds

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0 or time.thread_time() > self._until:
            raise TakesTooLong("checking these arguments takes too long")


_budget: ContextVar[_Budget] = ContextVar("budget of a check")


def problem(schema: dict[str, Any]) -> str:
    """Return why the schema is not to be used, as the end of a sentence; empty if it is fine."""
    try:
        _inspect(schema)
    except UnusableSchema as error:
        return str(error)
    return ""


def check_bounds(schema: dict[str, Any]) -> None:
    """Check that a schema is of a size and depth that a recursive function may walk through.

    Raises:
        UnusableSchema: it is larger or deeper.
    """
    _check_size(schema)
    _check_depth(schema)


async def afirst_error(schema: dict[str, Any], arguments: Any) -> ValidationError | None:
    """Return what `first_error` does. The event loop waits a few milliseconds at most: all else is for a thread."""
    if _is_small(schema) and _is_small(arguments):
        with contextlib.suppress(TakesTooLong):
            return _first_error(schema, arguments, _Budget(LOOP_STEPS, LOOP_SECONDS))
    return await asyncio.to_thread(first_error, schema, arguments)


def _is_small(value: Any) -> bool:
    """Return whether this has few values and short texts."""
    left, waiting = LOOP_VALUES, [value]
    while waiting and left > 0:
        inner = waiting.pop()
        left -= 1
        if isinstance(inner, str):
            left -= len(inner) // 100
        elif isinstance(inner, dict | list):
            if len(inner) > left:
                return False
            waiting.extend(inner.values() if isinstance(inner, dict) else inner)
    return left > 0


def first_error(schema: dict[str, Any], arguments: Any) -> ValidationError | None:
    """Return the error that explains best why the arguments do not fit; None if they fit.

    Raises:
        UnusableSchema: the schema is broken, or the check takes too long.
    """
    return _first_error(schema, arguments, _Budget(MAX_STEPS, MAX_SECONDS))


def _first_error(schema: dict[str, Any], arguments: Any, budget: _Budget) -> ValidationError | None:
    validator = _validator(schema)
    token = _budget.set(budget)
    try:
        return best_match(itertools.islice(validator.iter_errors(arguments), MAX_ERRORS))
    except UnusableSchema:
        raise
    except Exception as error:  # the schema may be anything; the error's text may quote it
        raise UnusableSchema(f"it breaks the rules of JSON Schema ({type(error).__name__})") from None
    finally:
        _budget.reset(token)


def _validator(schema: dict[str, Any]) -> Validator:
    """Return a validator that fetches nothing: its registry is empty, and has no function that retrieves."""
    return _validator_class(_dialect(schema))(schema, registry=referencing.Registry())


@functools.cache
def _validator_class(dialect: str) -> Any:
    base = _DIALECTS[dialect]
    keywords = {name: _counted(name, function) for name, function in base.VALIDATORS.items()}
    keywords |= dict.fromkeys(_NOT_EVALUATED, _ignore)
    keywords["additionalProperties"] = _additional_properties(keywords["additionalProperties"])
    validator_class = jsonschema.validators.extend(base, validators=keywords)
    validator_class.evolve = _evolve
    return validator_class


def _evolve(validator: Any, **changes: Any) -> Any:
    """Return the validator of a part. The original would evaluate everything of a part that has its own `$schema`."""
    for column in attrs.fields(type(validator)):
        if column.init:
            changes.setdefault(column.alias, getattr(validator, column.name))
    return type(validator)(**changes)


Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


def _counted(name: str, function: Any) -> Keyword:
    """Wrap a keyword, so that each evaluation of it spends."""
    walks = name in _WALKS_ARGUMENTS

    def keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        _budget.get().spend(1 + _length(value) + (_length(instance) if walks else 0))
        return function(validator, value, instance, schema)

    return keyword


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _ignore(*_: object) -> None:
    """Accept everything."""


def _additional_properties(function: Keyword) -> Keyword:
    """Leave out the keyword beside `patternProperties`, whose expressions it would evaluate."""

    def keyword(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        return None if schema.get("patternProperties") else function(validator, value, instance, schema)

    return keyword


def _inspect(schema: dict[str, Any]) -> None:
    check_bounds(schema)
    for part in parts(schema):
        _dialect(part)
        if any(isinstance(part.get(name), str) and not part[name].startswith("#") for name in _REFERENCES):
            raise UnusableSchema("it refers to a schema that is somewhere else")


def _check_size(schema: dict[str, Any]) -> None:
    try:
        size = len(json.dumps(schema))
    except (ValueError, TypeError, RecursionError):
        raise UnusableSchema("it is not JSON") from None
    if size > MAX_BYTES:
        raise UnusableSchema(f"it is larger than {MAX_BYTES // 1024} KiB")


def _check_depth(schema: dict[str, Any]) -> None:
    level: list[Any] = [schema]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _inner_values(value)]
        if not level:
            return
    raise UnusableSchema(f"it is deeper than {MAX_DEPTH} levels")


def _inner_values(value: Any) -> list[Any]:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [inner for inner in values if isinstance(inner, dict | list)]


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Return the schema, and each schema in it."""
    if isinstance(schema, list):
        for inner in schema:
            yield from parts(inner)
    elif isinstance(schema, dict):
        yield schema
        for name, value in schema.items():
            if name in _BY_NAME and isinstance(value, dict):
                yield from parts(list(value.values()))
            elif name not in _DATA:
                yield from parts(value)


def _dialect(schema: dict[str, Any]) -> str:
    name = schema.get("$schema", _DEFAULT_DIALECT)
    if not isinstance(name, str) or (dialect := name.removesuffix("#")) not in _DIALECTS:
        raise UnusableSchema("its $schema is unknown: use JSON Schema 2020-12, 2019-09, or draft 7, 6 or 4")
    return dialect
