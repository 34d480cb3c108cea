"""Formatters of log records, as text or JSON, without secrets."""

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


def redact(text: str) -> str:
    """Return the text without tokens, tickets, keys and cookies in headers, URLs or elsewhere."""
    return _SECRETS.sub(lambda match: (match["kept"] or "") + _HIDDEN, text)


def current_ids() -> dict[str, str]:
    """Return the ids of the run, session, request and trace that the log line belongs to."""
    ids = context.current()
    fields = {
        "run_id": ids.run_id,
        "session_id": ids.session_id,
        "request_id": ids.request_id,
        "trace_id": ids.traceparent[3:35],  # W3C: version-trace-span-flags
    }
    return {name: value for name, value in fields.items() if value}


class TextFormatter(logging.Formatter):
    """One line with its ids, and the exception if there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        ids = " ".join(f"{name.removesuffix('_id')}={value}" for name, value in current_ids().items())
        return super().formatMessage(record) + (f" [{ids}]" if ids else "")

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class JSONFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, ids, and the exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")[
                :-6
            ]
            + "Z",
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            **current_ids(),
        }
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return orjson.dumps(entry, default=str).decode()
