"""Static files, each of which is prepared at its first request."""

from collections.abc import Callable
from typing import Any

from servestatic.middleware import ServeStaticMiddleware


class _Files(dict[str, Any]):
    """Static files by path. One that was not requested yet is a function that adds it."""

    def __init__(self) -> None:
        self.unprepared: dict[str, Callable[[], None]] = {}

    def get(self, path: str, default: Any = None) -> Any:
        if prepare := self.unprepared.pop(path, None):
            prepare()
        return super().get(path, default)


class StaticFilesMiddleware(ServeStaticMiddleware):
    """As the library's, but for the start.

    The library resolves links and makes headers for two hundred files there, of which a page requests thirty: a tenth
    of the CPU time of a start.
    """

    def add_files_from_finders(self) -> None:
        self.files: _Files = _Files()
        super().add_files_from_finders()

    def add_file_to_dictionary(self, url: str, path: str, root: Any = None, stat_cache: Any = None) -> None:
        add = super().add_file_to_dictionary
        self.files.unprepared[url] = lambda: add(url, path, root, stat_cache)
