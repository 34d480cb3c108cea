"""What is wrong with files, and where; and mappings that know their lines."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where. `line` counts from 1; 0 is the file as a whole."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


class ConfigurationError(Exception):
    """The files cannot be used: `problems` says why. Nothing was changed."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Located(dict[str, Any]):
    """A mapping that knows in which line it and each of its keys begin."""

    line = 0
    lines: dict[str, int]
