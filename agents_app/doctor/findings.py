"""What the doctor finds: each in one line, with what is to be done about it."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How grave it is. Only what is broken makes the command fail."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


SIGNS = {State.OK: "✓", State.WARNING: "!", State.BROKEN: "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `remedy`: what to do about it."""

    name: str
    state: State
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, [SIGNS[self.state], f"{self.name}:", self.message, self.remedy]))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ok(name: str, message: str) -> Finding:
    """It is as it should be."""
    return Finding(name, State.OK, message)


def warning(name: str, message: str, remedy: str = "") -> Finding:
    """It works, or nobody knows; it should be looked at."""
    return Finding(name, State.WARNING, message, remedy)


def broken(name: str, message: str, remedy: str = "") -> Finding:
    """It does not work, or is dangerous."""
    return Finding(name, State.BROKEN, message, remedy)


def one_line(text: object, longest: int = 300) -> str:
    """Somebody else's words, as part of a line of ours."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """`1 run`, `2 runs`, `2 processes`."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"
