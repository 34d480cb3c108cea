"""Findings of the doctor: one line each, with a remedy."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The severity. Only BROKEN makes the command fail."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


SIGNS = {State.OK: "✓", State.WARNING: "!", State.BROKEN: "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `remedy` says what to do."""

    name: str
    state: State
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, [SIGNS[self.state], f"{self.name}:", self.message, self.remedy]))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ok(name: str, message: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(name, State.OK, message)


def warning(name: str, message: str, remedy: str = "") -> Finding:
    """Return a finding about something that works, or may work, and needs attention."""
    return Finding(name, State.WARNING, message, remedy)


def broken(name: str, message: str, remedy: str = "") -> Finding:
    """Return a finding about something that does not work or is dangerous."""
    return Finding(name, State.BROKEN, message, remedy)


def one_line(text: object, longest: int = 300) -> str:
    """Return foreign text as part of a line, shortened."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Return the count with its noun: `1 run`, `2 runs`, `2 processes`."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"
