"""`manage.py serve` that tells, at SIGUSR1, what only a search for reference cycles can free."""

import collections
import gc
import json
import os
import signal
import sys
from pathlib import Path

GARBAGE = "GARBAGE_FILE"


def tell(*_: object) -> None:
    """Write the number of objects by class, and free them."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    names = collections.Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
    gc.garbage.clear()
    file = Path(os.environ[GARBAGE])
    file.with_suffix(".new").write_text(json.dumps(names))
    file.with_suffix(".new").rename(file)


if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    signal.signal(signal.SIGUSR1, tell)
    execute_from_command_line(sys.argv)
