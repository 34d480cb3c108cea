"""Translate errors of the database into those of the domain."""

import contextlib
from collections.abc import Iterator

from django.db import DatabaseError, IntegrityError

from agents_app.exceptions import StorageUnavailable
from agents_app.observability import metrics


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Raise StorageUnavailable for an error of the database in the block, except a violated constraint."""
    try:
        yield
    except IntegrityError:
        raise
    except DatabaseError as error:
        metrics.DATABASE_ERRORS.labels("verb").inc()
        raise StorageUnavailable("The database refused the write; nothing was saved. Try again.") from error
