"""Stored secrets belong to one address: whoever changes the address has to send them again."""

from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from agents_app.models.env_variables import MASK, masked, unmasked

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def origin(address: str) -> str:
    """Return scheme, host and port of an address; the address itself if it has no host that can be seen."""
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return address
    host = parts.netloc.rpartition("@")[2].lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ":"))
    return f"{parts.scheme}://{host}" if host else address


class SecretsOfAnAddress:
    """Mixin for rows with an address and secrets that are sent there.

    `masked_fields`: objects whose values are shown as MASK.
    """

    address_field: ClassVar[str]
    secret_fields: ClassVar[tuple[str, ...]]
    masked_fields: ClassVar[tuple[str, ...]]
    notice: str  # only after a change that cleared something

    def with_secrets(self, changes: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """Return the changes to save, and a sentence about what they clear; empty if that is nothing.

        MASK stands for the stored value. If scheme, host or port of the address change, no stored secret is kept:
        the changes clear what they do not send again.

        Raises:
            ValidationError: nothing is stored that a MASK could stand for.
        """
        moves = self._moves(changes)
        result = dict(changes)
        for name in self.masked_fields:
            if name in changes:
                result[name] = self._unmasked(name, changes[name], moves=moves and name in self.secret_fields)
        cleared = {name: self._without_secrets(name) for name in self.secret_fields if moves and name not in changes}
        cleared = {name: value for name, value in cleared.items() if value != getattr(self, name)}
        return result | cleared, self._notice(list(cleared))

    def _moves(self, changes: dict[str, Any]) -> bool:
        before = getattr(self, self.address_field)
        return bool(getattr(self, "pk", None)) and origin(changes.get(self.address_field, before)) != origin(before)

    def _unmasked(self, name: str, values: dict[str, str], *, moves: bool) -> dict[str, str]:
        stored = getattr(self, name)
        if moves and MASK in values.values():
            text = f"{MASK} keeps no value if {self.address_field} changes scheme, host or port: send it again."
            raise ValidationError({name: text})
        try:
            return unmasked(values, stored)
        except ValidationError as error:
            raise ValidationError({name: error.messages}) from None

    def _without_secrets(self, name: str) -> Any:
        value = getattr(self, name)
        if isinstance(value, dict):
            return {key: shown for key, shown in masked(value).items() if shown != MASK}
        return ""

    def _notice(self, cleared: list[str]) -> str:
        if not cleared:
            return ""
        names, address = " and ".join(cleared), self.address_field
        return (
            f"Cleared the stored {names}, because scheme, host or port of {address} changed: "
            "send them again if the new address may have them."
        )
