"""How log records are written: as text or JSON, and never with what would let its reader in."""

import logging
import re

import orjson

_HIDDEN = "[hidden]"
_SECRETS = re.compile(
    r"""
    (?P<kept>
        (?:authorization|cookie|x-api-key|sec-websocket-protocol) ["']? \s* [:=,] \s* b?["']? (?:(?:bearer|basic)\s+)?
      | \b(?:bearer|basic)\s+
      | [?&;\s"'](?:access_token|api_?key|key|password|secret|sessionid|csrftoken|ticket|token) ["']? \s* [=:] \s* ["']?
      | \bticket\.
    )
    (?P<secret> [^\s"'&,;]{6,} )
    | \b(?:aintandem_[0-9a-f]+ | sk-[\w-]{12,} | whsec_[\w+/=-]{12,})
    """,
    re.IGNORECASE | re.VERBOSE,
)


def redacted(text: str) -> str:
    """The text without tokens, tickets, keys and cookies: headers, queries of addresses, and what looks like one."""
    return _SECRETS.sub(lambda found: (found["kept"] or "") + _HIDDEN, text)


class TextFormatter(logging.Formatter):
    """One line, and the exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname,
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = redacted(self.formatException(record.exc_info))
        return orjson.dumps(entry, default=str).decode()
