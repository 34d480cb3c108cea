"""CONFIG_DIR: loaded when the server starts, and again whenever a file in it is saved."""

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection

from agents_app.configuration import watching
from agents_app.configuration.located import ConfigurationError, Problem
from agents_app.exceptions import AgentError

if TYPE_CHECKING:
    from agents_app.configuration.apply import Outcome

logger = logging.getLogger(__name__)


class ConfigDir:
    """The folder that CONFIG_DIR names, and how its last load went.

    `problem` says what is wrong with the files, and where; it is empty if nothing is. `is_loaded` says whether they
    were ever loaded.
    """

    def __init__(self) -> None:
        self.problem = ""
        self.is_loaded = False
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Load CONFIG_DIR if it is set, and watch it if CONFIG_WATCH is."""
        if not settings.CONFIG_DIR or self._watcher is not None:
            return
        folder = Path(settings.CONFIG_DIR)
        loaded = watching.stamp([folder])
        self._load(folder)
        self._watcher = threading.Thread(target=self._watch, args=(folder, loaded), name="config-watcher", daemon=True)
        if settings.CONFIG_WATCH:
            self._watcher.start()

    def _watch(self, folder: Path, loaded: watching.Stamp) -> None:
        for stamp in watching.changes([folder]):
            if stamp != loaded:
                self._load(folder)
            loaded = ()

    def _load(self, folder: Path) -> None:
        """Load the files. If that fails, the configuration stays as it is."""
        try:
            outcome = _apply(folder)
        except (ConfigurationError, AgentError) as error:
            self.problem = str(error)
        except Exception:
            logger.exception("CONFIG_DIR could not be loaded")
            self.problem = "It could not be loaded (internal error): see the log."
        else:
            self.problem, self.is_loaded = "", True
            if outcome.changes:
                logger.info("Configuration loaded:\n%s", outcome)
        finally:
            connection.close()
        if self.problem:
            logger.error("Nothing was changed by CONFIG_DIR:\n%s", self.problem)


def _apply(folder: Path) -> "Outcome":
    # Reading YAML and the serializers of the REST API: most starts have no CONFIG_DIR and do without.
    from agents_app.configuration.apply import apply
    from agents_app.configuration.parsing import read

    files = watching.expanded([folder])
    if not folder.is_dir() or not files:
        raise ConfigurationError([Problem(str(folder), 0, "CONFIG_DIR has no *.yaml files.")])
    return apply(read(files))


config_dir = ConfigDir()
