"""The version of the contract in docs/protocol.md. It counts up if a change can break a client."""

from typing import Final

PROTOCOL_VERSION: Final = 1
