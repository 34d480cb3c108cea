"""Problems with their file and line, and mappings that know their lines."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a file. `line` counts from 1; 0 stands for the whole file."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


class ConfigurationError(Exception):
    """The files cannot be used, for these problems. Nothing was changed."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Located(dict[str, Any]):
    """A mapping that knows the line of each of its keys, and its own."""

    line = 0
    lines: dict[str, int]

    @classmethod
    def empty(cls, line: int) -> Self:
        """Return an empty mapping that stands in that line."""
        mapping = cls()
        mapping.line, mapping.lines = line, {}
        return mapping

    def without(self, key: str) -> Self:
        """Return a copy that lacks `key`."""
        copy = type(self)({name: value for name, value in self.items() if name != key})
        copy.line, copy.lines = self.line, self.lines
        return copy
