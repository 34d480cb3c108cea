"""The event log: what every watcher reads."""

from agents_app.event_log.following import follow
from agents_app.event_log.pruning import prune
from agents_app.event_log.reading import Row, heads, read
from agents_app.event_log.recording import record
from agents_app.event_log.writer import LogWriter, RunLog

__all__ = ["LogWriter", "Row", "RunLog", "follow", "heads", "prune", "read", "record"]
