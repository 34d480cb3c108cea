"""The event log: what every watcher reads."""

from agents_app.event_log.following import before_run, follow, follow_run
from agents_app.event_log.lifetime import announce, wait_until_created
from agents_app.event_log.lineage import pruned_seq
from agents_app.event_log.pruning import prune
from agents_app.event_log.reading import Row, heads, read
from agents_app.event_log.recording import record
from agents_app.event_log.vocabulary import Event, EventData, EventType
from agents_app.event_log.writer import LogWriter, RunLog

__all__ = [
    "Event",
    "EventData",
    "EventType",
    "LogWriter",
    "Row",
    "RunLog",
    "announce",
    "before_run",
    "follow",
    "follow_run",
    "heads",
    "prune",
    "pruned_seq",
    "read",
    "record",
    "wait_until_created",
]
