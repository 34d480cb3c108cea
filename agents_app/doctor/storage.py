"""The database: does it answer, is it the right one, do its clock and its secrets fit ours? And the disk."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from agents_app.doctor.findings import Finding, broken, ok, one_line, plural, warning
from agents_app.models import encryption

OLDEST_POSTGRESQL = 150_000  # as server_version_num says it
_CROWDED = 0.8  # of PostgreSQL's connections
_LARGEST_CHECKED = 200 * 1024**2  # bytes of an SQLite file that are read through
_SKEW_NOTED, _SKEW_BROKEN = 1.0, 5.0  # seconds; a lease is 10
_DISK_LOW, _DISK_FULL = 1024**3, 100 * 1024**2  # bytes
_NAMED = 3


def exists() -> bool:
    """Whether there is a database to ask: an SQLite file is made by the first start of the server."""
    return not settings.EMBEDDED or Path(str(settings.DATABASES["default"]["NAME"])).exists()


def database() -> Iterator[Finding]:
    """Whether the database answers and takes what is written."""
    if not exists():
        yield warning("database", "There is none yet.", "The first `manage.py serve` makes it.")
        return
    try:
        yield from _sqlite() if settings.EMBEDDED else _postgresql()
    except DatabaseError as error:
        connection.close()
        yield broken("database", f"It does not answer: {_reason(error)}.", _DATABASE_REMEDY)


_DATABASE_REMEDY = "Start it, or mend DATABASE_URL; until then nothing is accepted, and running runs wait."


def _reason(error: DatabaseError) -> str:
    """Why: a pool only says that it got no connection."""
    if not settings.EMBEDDED:
        try:
            psycopg.connect(settings.DATABASE_URL, connect_timeout=3).close()
        except psycopg.Error as cause:
            error = cause  # type: ignore[assignment]
    password = str(settings.DATABASES["default"].get("PASSWORD") or "")
    text = one_line(str(error).split("\n")[0]).rstrip(".")
    return text.replace(password, "***") if password else text


def _sqlite() -> Iterator[Finding]:
    file = Path(str(settings.DATABASES["default"]["NAME"]))
    with transaction.atomic(), connection.cursor() as cursor:  # begins as a writer: a locked or read-only file fails
        version, mode = _row(cursor, "SELECT sqlite_version(), journal_mode FROM pragma_journal_mode")
    size = file.stat().st_size
    with connection.cursor() as cursor:  # nobody waits for this one
        damage = _row(cursor, "PRAGMA quick_check(1)")[0] if size <= _LARGEST_CHECKED else "ok"
    if damage != "ok":
        yield broken("database", f"The file is damaged: {one_line(damage)}.", "Restore a backup: docs/data-care.md.")
    elif mode != "wal":
        yield warning(
            "database", f"SQLite {version} is in journal mode {mode}, not WAL.", "Put VAR_DIR on a local disk."
        )
    else:
        yield ok("database", f"SQLite {version}, {size / 1024**2:.1f} MiB, takes writes.")


_POSTGRESQL = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int, pg_is_in_recovery(),
    current_setting('transaction_read_only') = 'on', current_setting('fsync') = 'off',
    current_setting('max_connections')::int,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), pg_database_size(current_database())
"""


def _postgresql() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        version, number, is_replica, is_read_only, is_forgetful, most, used, size = _row(cursor, _POSTGRESQL)
    about = f"PostgreSQL {version.split()[0]}, {size / 1024**2:.0f} MiB, {used} of {most} connections in use"
    if is_replica or is_read_only:
        yield broken("database", f"{about}: it is read-only.", "Let DATABASE_URL name the primary.")
    elif number < OLDEST_POSTGRESQL:
        yield broken("database", f"{about}: too old.", "Use PostgreSQL 15 or newer.")
    elif is_forgetful:
        yield warning("database", f"{about}; fsync is off: a crash loses what was saved.", "Set fsync = on.")
    elif used > most * _CROWDED:
        yield warning("database", f"{about}.", "Raise max_connections: each process may take 20 and more.")
    else:
        yield ok("database", f"{about}.")


def _row(cursor: Any, statement: str) -> Any:
    cursor.execute(statement)
    return cursor.fetchone()


def migrations() -> Iterator[Finding]:
    """Whether the tables are those of this version."""
    executor = MigrationExecutor(connection)
    loader = executor.loader
    missing = executor.migration_plan(loader.graph.leaf_nodes())
    ours = {key for key in loader.applied_migrations if key[0] == "agents_app"}
    unknown = sorted(name for _, name in ours - set(loader.disk_migrations))
    if unknown:
        text = f"The database is of a newer version: it has {', '.join(unknown[-_NAMED:])}, which this code lacks."
        yield broken("migrations", text, "Install the newer version here too, or restore the backup from before.")
    if missing:
        names = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in missing[:_NAMED])
        more = " and more" if len(missing) > _NAMED else ""
        text = f"{plural(len(missing), 'migration')} not applied: {names}{more}."
        yield broken("migrations", text, "Run `manage.py migrate`.")
    if not unknown and not missing:
        yield ok("migrations", f"All of {settings.VERSION} are applied.")


def clock() -> Iterator[Finding]:
    """Whether our clock and the database's agree: leases and schedules go by them."""
    if settings.EMBEDDED:
        return
    before = time.time()
    with connection.cursor() as cursor:
        said = _row(cursor, "SELECT extract(epoch FROM clock_timestamp())::float8")[0]
    after = time.time()
    difference = said - (before + after) / 2
    yield skewed("clock", "the database's clock", difference, (after - before) / 2)


def skewed(name: str, whose: str, difference: float, uncertainty: float = 0.0) -> Finding:
    """What a clock that is `difference` seconds ahead of ours means."""
    size = max(0.0, abs(difference) - uncertainty)
    text = (
        f"{whose[0].upper()}{whose[1:]} is {abs(difference):.2f} s {'ahead of' if difference > 0 else 'behind'} ours."
    )
    if size > _SKEW_BROKEN:
        return broken(name, text, "Let NTP (chrony, systemd-timesyncd) set both: leases of 10 s go by them.")
    if size > _SKEW_NOTED:
        return warning(name, text, "Let NTP set both: schedules fire by them.")
    return ok(name, text)


def stored_secrets() -> Iterator[Finding]:
    """Whether SECRET_KEY opens the secrets that are stored."""
    found = encryption.inspect()
    if found.lost:
        named = ", ".join(found.lost[:_NAMED]) + (" and more" if len(found.lost) > _NAMED else "")
        yield broken(
            "secrets",
            f"SECRET_KEY does not open {plural(len(found.lost), 'stored secret')}: {named}.",
            "Put the key they were stored with into SECRET_KEY_FALLBACKS and run `manage.py rotate_secrets`, "
            "or enter them anew.",
        )
    else:
        yield ok("secrets", "SECRET_KEY opens all that is stored encrypted.")


def disk() -> Iterator[Finding]:
    """Whether VAR_DIR can be written to, and for how long."""
    try:
        with tempfile.TemporaryFile(dir=settings.VAR_DIR) as probe:
            probe.write(b"\0" * 65_536)
            probe.flush()
    except OSError as error:
        yield broken("disk", f"VAR_DIR cannot be written to: {error.strerror}.", "Mend its owner, or make room.")
        return
    free = shutil.disk_usage(settings.VAR_DIR).free
    text = f"{free / 1024**3:.1f} GiB are free where VAR_DIR is."
    if free < _DISK_FULL:
        yield broken("disk", text, "Make room; `manage.py prune` deletes what is old.")
    elif free < _DISK_LOW:
        yield warning("disk", text, "Make room; `manage.py prune` deletes what is old.")
    else:
        yield ok("disk", text)
