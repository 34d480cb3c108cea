"""The database's errors in our words."""

import contextlib
from collections.abc import Iterator

from django.db import DatabaseError, IntegrityError

from agents_app.exceptions import StorageUnavailable
from agents_app.observability import metrics


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Say in our words that the database refused."""
    try:
        yield
    except IntegrityError:
        raise
    except DatabaseError as error:
        metrics.DATABASE_ERRORS.labels("verb").inc()
        raise StorageUnavailable("The database refused the write; nothing was saved. Try again.") from error
