"""A client's JSON, read field by field. What is wrong is said with the field's path, as in `messages[0].content`."""

from typing import Any, NoReturn

from agents_app.exceptions import InvalidRequest


def refuse(param: str, problem: str, code: str = "invalid_value") -> NoReturn:
    """Say what is wrong with a field.

    Raises:
        InvalidRequest: always.
    """
    raise InvalidRequest(f"'{param}' {problem}", param=param, code=code)


class Fields:
    """An object of the client's. Null is the same as nothing; fields that nobody asks for are let be."""

    def __init__(self, value: Any, path: str = "") -> None:
        if not isinstance(value, dict):
            _wrong_type(path or "body", "an object")
        self._value = value
        self._path = path

    def path(self, name: str) -> str:
        return f"{self._path}.{name}".lstrip(".")

    @property
    def is_empty(self) -> bool:
        return not self._value

    def get(self, name: str) -> Any:
        return self._value.get(name)

    def required(self, name: str) -> Any:
        """The value of a field that must be there."""
        if self._value.get(name) is None:
            refuse(self.path(name), "is missing.", "missing_required_parameter")
        return self._value[name]

    def text(self, name: str, *, longest: int = 1024) -> str:
        """A string; empty where there is none."""
        value = self.get(name)
        return "" if value is None else plain_text(value, self.path(name), longest=longest)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            _wrong_type(self.path(name), "true or false")
        return value

    def number(self, name: str, most: float) -> float | None:
        """A number from 0 to `most`."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            _wrong_type(self.path(name), "a number")
        if not 0 <= value <= most:
            refuse(self.path(name), f"must be from 0 to {most:g}.")
        return float(value)

    def count(self, name: str, most: int = 2**31 - 1) -> int | None:
        """A whole number, 1 or more."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            _wrong_type(self.path(name), "a whole number")
        if not 1 <= value <= most:
            refuse(self.path(name), f"must be from 1 to {most:,}.")
        return value

    def object(self, name: str) -> "Fields":
        """An object; an empty one where there is none."""
        value = self.get(name)
        return Fields({} if value is None else value, self.path(name))

    def items(self, name: str) -> list[Any]:
        """A list; an empty one where there is none."""
        value = self.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            _wrong_type(self.path(name), "a list")
        return value

    def texts(self, name: str, most: int) -> list[str]:
        """One string or a list of them."""
        value = self.get(name)
        if value is None:
            return []
        found = value if isinstance(value, list) else [value]
        if len(found) > most:
            refuse(self.path(name), f"has more than {most} entries.")
        return [plain_text(each, self.path(name), longest=1000, least=1) for each in found]


def plain_text(value: Any, path: str, *, longest: int | None = None, least: int = 0) -> str:
    """The value, if it is a string that can be kept."""
    if not isinstance(value, str):
        _wrong_type(path, "a string")
    if "\x00" in value:
        refuse(path, "must not contain NUL characters.")
    if len(value) < least:
        refuse(path, "must not be empty.")
    if longest is not None and len(value) > longest:
        refuse(path, f"is longer than {longest:,} characters.", "string_above_max_length")
    return value


def _wrong_type(path: str, wanted: str) -> NoReturn:
    refuse(path, f"must be {wanted}.", "invalid_type")
