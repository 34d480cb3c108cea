"""CONFIG_DIR: loaded when the server starts, and again whenever a file in it is saved."""

import logging
import threading
from pathlib import Path

from django.conf import settings
from django.db import connection

from agents_app.configuration import watching
from agents_app.configuration.apply import apply
from agents_app.configuration.parsing import ConfigurationError, read
from agents_app.exceptions import AgentError

logger = logging.getLogger(__name__)

_problem = ""
_loaded = False
_watcher: threading.Thread | None = None


def start() -> None:
    """Load CONFIG_DIR, if there is one, and watch it where CONFIG_WATCH says so."""
    global _watcher
    if not settings.CONFIG_DIR or _watcher is not None:
        return
    folder = Path(settings.CONFIG_DIR)
    seen = watching.stamp([folder])
    _load(folder)
    _watcher = threading.Thread(target=_watch, args=(folder, seen), name="config-watcher", daemon=True)
    if settings.CONFIG_WATCH:
        _watcher.start()


def problem() -> str:
    """What is wrong with the files, and where; empty where nothing is."""
    return _problem


def never_loaded() -> bool:
    """Whether there is a CONFIG_DIR that could not be loaded even once."""
    return bool(_problem) and not _loaded


def _watch(folder: Path, seen: watching.Stamp) -> None:
    for stamp in watching.changes([folder]):
        if stamp != seen:
            _load(folder)
        seen = ()


def _load(folder: Path) -> None:
    """Whatever goes wrong, what was configured before stays."""
    global _problem, _loaded
    try:
        files = watching.expanded([folder])
        if not folder.is_dir() or not files:
            raise ConfigurationError([])
        outcome = apply(read(files))
    except ConfigurationError as error:
        _problem = str(error) or f"CONFIG_DIR {folder} has no *.yaml files."
    except AgentError as error:
        _problem = str(error)
    except Exception:
        logger.exception("CONFIG_DIR could not be loaded")
        _problem = "It could not be loaded (internal error): see the log."
    else:
        _problem, _loaded = "", True
        if outcome.changes:
            logger.info("Configuration loaded:\n%s", outcome)
    finally:
        connection.close()
    if _problem:
        logger.error("Nothing was changed by CONFIG_DIR:\n%s", _problem)
