"""The version of the contract in docs/protocol.md. It counts up if a change can break a client."""

PROTOCOL_VERSION = 1
