"""Formatters of log records, as text or JSON, without secrets."""

import codecs
import datetime
import logging
import re
from typing import Any

import orjson

from agents_app.observability import context

_HIDDEN = "[hidden]"
_SECRETS = re.compile(
    r"""
    (?P<kept>
        (?:authorization|cookie|x-api-key|sec-websocket-protocol) ["']? \s* [:=,] \s* b?["']? (?:(?:bearer|basic)\s+)?
      | \b(?:bearer|basic)\s+
      | [?&;\s"'](?:access_token|api_?key|key|password|secret|sessionid\w*|csrftoken|ticket|token)
        ["']? \s* [=:] \s* ["']?
      | \bticket\.
    )
    (?P<secret> [^\s"'&,;]{6,} )
    | \b(?:aintandem_[0-9a-f]+ | sk-[\w-]{12,} | whsec_[\w+/=-]{12,})
    """,
    re.IGNORECASE | re.VERBOSE,
)


codecs.lookup("unicode_escape")  # or Python opens a file for it at its first use, when there may be no descriptor left

# C0, C1, and what Unicode has to break lines and to turn the direction of text; a tab does no harm.
_CONTROLS = re.compile("[\x00-\x08\n-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    """Return the text as one line that no terminal obeys: control characters are shown as Python writes them."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


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
    """One line with its ids, and the exception, indented, if there is one.

    Third parties choose parts of messages and exceptions: they forge no line, and send no terminal a command.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = escape_controls(record.message)
        ids = " ".join(f"{name.removesuffix('_id')}={value}" for name, value in current_ids().items())
        return super().formatMessage(record) + (f" [{ids}]" if ids else "")

    def formatException(self, exc_info: Any) -> str:
        lines = super().formatException(exc_info).split("\n")
        return "\n".join(f"  {escape_controls(line)}" for line in lines)

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
            **{name: redact(value) for name, value in getattr(record, "fields", {}).items()},
        }
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return orjson.dumps(entry, default=str).decode()
