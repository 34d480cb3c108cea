"""How log records are written: as text or JSON, and never with what would let its reader in."""

import datetime
import logging
import re

import orjson

from agents_app.observability import context

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


def about() -> dict[str, str]:
    """What the line that is being written is about: its run, session, request and trace, as far as there are any."""
    ids = context.current()
    told = {
        "run_id": ids.run_id,
        "session_id": ids.session_id,
        "request_id": ids.request_id,
        "trace_id": ids.traceparent[3:35],  # W3C: version-trace-span-flags
    }
    return {name: value for name, value in told.items() if value}


class TextFormatter(logging.Formatter):
    """One line with the ids of what it is about, and the exception where there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        ids = " ".join(f"{name.removesuffix('_id')}={value}" for name, value in about().items())
        return super().formatMessage(record) + (f" [{ids}]" if ids else "")

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, ids, and the exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")[
                :-6
            ]
            + "Z",
            "level": record.levelname,
            "logger": record.name,
            "message": redacted(record.getMessage()),
            **about(),
        }
        if record.exc_info:
            entry["exception"] = redacted(self.formatException(record.exc_info))
        return orjson.dumps(entry, default=str).decode()
