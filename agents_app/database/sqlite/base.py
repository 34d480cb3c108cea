"""SQLite has one writer: the transactions of this process take turns, in whatever code they begin.

SQLite's own way, retries after sleeps that grow to 100 ms, made tokens wait behind a burst of new runs. The turn
belongs to the connection's transaction, not to a block of code: a block inside another transaction would wait for a
turn while it holds SQLite's lock, which the thread whose turn it is waits for.
"""

import functools
import threading
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

_one_writer = threading.Lock()


class Cursor(base.SQLiteCursorWrapper):
    """Rewrites each statement's placeholders once, not at each use."""

    def convert_query(self, query: str, *, param_names: list[str] | None = None) -> str:
        return _converted(query, tuple(param_names) if param_names else None)


@functools.lru_cache(maxsize=1024)
def _converted(query: str, param_names: tuple[str, ...] | None) -> str:
    convert: Any = base.SQLiteCursorWrapper.convert_query
    return convert(None, query, param_names=param_names)


class DatabaseWrapper(base.DatabaseWrapper):
    """Transactions are IMMEDIATE here: each takes SQLite's lock when it begins, so it waits for its turn before."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._has_turn = False

    def create_cursor(self, name: str | None = None) -> Cursor:
        return self.connection.cursor(factory=Cursor)

    def _start_transaction_under_autocommit(self) -> None:
        """Begin a transaction.

        Raises:
            OperationalError: The others wrote for longer than the connection's `timeout` (seconds).
        """
        if not _one_writer.acquire(timeout=self.settings_dict["OPTIONS"]["timeout"]):
            raise OperationalError("database is locked")
        self._has_turn = True
        try:
            super()._start_transaction_under_autocommit()
        except BaseException:
            self._end_turn()
            raise

    def _set_autocommit(self, autocommit: bool) -> None:
        # Called at the end of a transaction, before the functions that wait for its commit: these may begin another.
        try:
            super()._set_autocommit(autocommit)
        finally:
            if autocommit:
                self._end_turn()

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            _one_writer.release()
