"""Which tests are slow by what they use: `make test-fast` leaves them out without a mark in their files.

A test starts processes if the code that it can reach does: its function, its fixtures, and what these name in the
modules of `tests`. A process that the session shares (`product`, `model`) is started once and does not count.
"""

import functools
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

STARTS = {"Popen", "check_output", "check_call", "create_subprocess_exec", "sync_playwright"}
BROWSER = "chromium_url"  # is the session's; but a page in it takes a second
OUTSIDE = {"shared_product", "closed_product", "model", "django_db_setup"}  # servers and the database


def mark_processes(tests: list[pytest.Item]) -> None:
    """Mark the tests that start processes."""
    for test in tests:
        if test.path.parent.name == "cluster" or (isinstance(test, pytest.Function) and starts_processes(test)):
            test.add_marker("slow")


def mark_more_cases(tests: list[pytest.Item]) -> None:
    """Mark all cases but the first of each test that talks to a server or the database."""
    begun: set[Any] = set()
    for test in tests:
        if isinstance(test, pytest.Function) and OUTSIDE & test._fixtureinfo.name2fixturedefs.keys():
            if test.function in begun:
                test.add_marker("slow")
            begun.add(test.function)


def starts_processes(test: pytest.Function) -> bool:
    fixtures = test._fixtureinfo.name2fixturedefs
    if BROWSER in fixtures:
        return True
    functions = [each.func for chain in fixtures.values() for each in chain if each.scope != "session"]
    return any(map(reaches_a_start, [test.function, *functions]))


@functools.cache
def reaches_a_start(function: Any) -> bool:
    """Return whether a function, or what it names, starts a process."""
    seen: set[Any] = set()
    todo = [function]
    while todo:
        value = todo.pop()
        if value in seen:
            continue
        seen.add(value)
        if isinstance(value, type):
            todo += _methods(value)
        elif isinstance(value, FunctionType):
            names = set(_names(value.__code__))
            if names & STARTS or {"subprocess", "run"} <= names:
                return True
            todo += _named(value, names)
    return False


def _methods(cls: type) -> Iterator[Any]:
    for base in cls.__mro__:
        if _is_ours(base):
            for member in vars(base).values():
                function = inspect.unwrap(getattr(member, "fget", None) or getattr(member, "__func__", member))
                if isinstance(function, FunctionType):
                    yield function


def _named(function: FunctionType, names: set[str]) -> Iterator[Any]:
    """Yield the functions and classes of `tests` that a function names."""
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        of_module = names & vars(value).keys() if isinstance(value, ModuleType) and _is_ours(value) else ()
        for each in [value, *(getattr(value, member) for member in of_module)]:
            if isinstance(each, type | FunctionType) and _is_ours(each):
                yield inspect.unwrap(each)


def _is_ours(value: Any) -> bool:
    module = value.__name__ if isinstance(value, ModuleType) else value.__module__
    return module.startswith("tests.")


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
