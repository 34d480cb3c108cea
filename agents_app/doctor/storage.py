"""The database with its migrations, clock and secrets, and the disk."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from agents_app.database import private_files
from agents_app.database.readiness import pending_migrations, unknown_migrations
from agents_app.doctor.findings import Finding, broken, ok, one_line, plural, warning
from agents_app.models import encryption

OLDEST_POSTGRESQL = 150_000  # as in server_version_num
_MOST_CONNECTIONS = 0.8  # share of max_connections
_LARGEST_CHECKED = 200 * 1024**2  # bytes of an SQLite file that are read through
_SKEW_WARNING, _SKEW_BROKEN = 1.0, 5.0  # seconds; a lease is 10
_DISK_LOW, _DISK_FULL = 1024**3, 100 * 1024**2  # bytes
_MOST_NAMES = 3


def exists() -> bool:
    """Return whether there is a database: the first start of the server makes an SQLite file."""
    return not settings.EMBEDDED or Path(str(settings.DATABASES["default"]["NAME"])).exists()


def database() -> Iterator[Finding]:
    """Check that the database answers and accepts writes."""
    if not exists():
        yield warning("database", "It does not exist yet.", "The first `manage.py serve` creates it.")
        return
    try:
        yield from _sqlite() if settings.EMBEDDED else _postgresql()
    except DatabaseError as error:
        connection.close()
        yield broken("database", f"It does not answer: {_reason(error)}.", _DATABASE_REMEDY)


_DATABASE_REMEDY = "Start it, or fix DATABASE_URL; until then requests are refused and running runs wait."


def _reason(error: DatabaseError) -> str:
    """Return the cause: a pool only says that it got no connection."""
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
    with transaction.atomic(), connection.cursor() as cursor:  # IMMEDIATE: fails if the file is locked or read-only
        version, mode = _row(cursor, "SELECT sqlite_version(), journal_mode FROM pragma_journal_mode")
    size = file.stat().st_size
    with connection.cursor() as cursor:  # outside of the transaction, so that no writer waits for it
        damage = _row(cursor, "PRAGMA quick_check(1)")[0] if size <= _LARGEST_CHECKED else "ok"
    if damage != "ok":
        yield broken("database", f"The file is damaged: {one_line(damage)}.", "Restore a backup: docs/data-care.md.")
    elif mode != "wal":
        yield warning(
            "database", f"SQLite {version} is in journal mode {mode}, not WAL.", "Put VAR_DIR on a local disk."
        )
    else:
        yield ok("database", f"SQLite {version}, {size / 1024**2:.1f} MiB, accepts writes.")


_POSTGRESQL = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int, pg_is_in_recovery(),
    current_setting('transaction_read_only') = 'on', current_setting('fsync') = 'off',
    current_setting('max_connections')::int,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), pg_database_size(current_database())
"""


def _postgresql() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        version, number, is_replica, is_read_only, has_no_fsync, most, used, size = _row(cursor, _POSTGRESQL)
    summary = f"PostgreSQL {version.split()[0]}, {size / 1024**2:.0f} MiB, {used} of {most} connections in use"
    if is_replica or is_read_only:
        yield broken("database", f"{summary}: it is read-only.", "Set DATABASE_URL to the primary.")
    elif number < OLDEST_POSTGRESQL:
        yield broken("database", f"{summary}: too old.", "Use PostgreSQL 15 or newer.")
    elif has_no_fsync:
        yield warning("database", f"{summary}; fsync is off: a crash loses saved data.", "Set fsync = on.")
    elif used > most * _MOST_CONNECTIONS:
        yield warning("database", f"{summary}.", "Raise max_connections: each process may use 20 or more.")
    else:
        yield ok("database", f"{summary}.")


def _row(cursor: Any, statement: str) -> Any:
    cursor.execute(statement)
    return cursor.fetchone()


def migrations() -> Iterator[Finding]:
    """Check that the tables are those of this version."""
    missing, unknown = pending_migrations(), unknown_migrations("agents_app")
    if unknown:
        text = f"The database has migrations of a newer version: {', '.join(unknown[-_MOST_NAMES:])}."
        yield broken("migrations", text, "Install the newer version here too, or restore an older backup.")
    if missing:
        names = ", ".join(missing[:_MOST_NAMES])
        more = " and more" if len(missing) > _MOST_NAMES else ""
        text = f"{plural(len(missing), 'migration')} not applied: {names}{more}."
        yield broken("migrations", text, "Run `manage.py migrate`.")
    if not unknown and not missing:
        yield ok("migrations", f"All migrations of {settings.VERSION} are applied.")


def clock() -> Iterator[Finding]:
    """Check that our clock and the database's agree: leases and schedules depend on them."""
    if settings.EMBEDDED:
        return
    before = time.time()
    with connection.cursor() as cursor:
        database_time = _row(cursor, "SELECT extract(epoch FROM clock_timestamp())::float8")[0]
    after = time.time()
    difference = database_time - (before + after) / 2
    yield clock_finding("clock", "the database's clock", difference, (after - before) / 2)


def clock_finding(name: str, whose: str, difference: float, uncertainty: float = 0.0) -> Finding:
    """Return the finding on a clock that is `difference` seconds ahead of ours."""
    size = max(0.0, abs(difference) - uncertainty)
    text = (
        f"{whose[0].upper()}{whose[1:]} is {abs(difference):.2f} s {'ahead of' if difference > 0 else 'behind'} ours."
    )
    if size > _SKEW_BROKEN:
        return broken(name, text, "Set both by NTP (chrony, systemd-timesyncd): leases of 10 s depend on them.")
    if size > _SKEW_WARNING:
        return warning(name, text, "Set both by NTP: schedules depend on them.")
    return ok(name, text)


def stored_secrets() -> Iterator[Finding]:
    """Check that SECRET_KEY decrypts the stored secrets."""
    inspection = encryption.inspect()
    if inspection.lost:
        names = ", ".join(inspection.lost[:_MOST_NAMES]) + (" and more" if len(inspection.lost) > _MOST_NAMES else "")
        yield broken(
            "secrets",
            f"SECRET_KEY does not decrypt {plural(len(inspection.lost), 'stored secret')}: {names}.",
            "Add the key they were stored with to SECRET_KEY_FALLBACKS and run `manage.py rotate_secrets`, "
            "or enter them again.",
        )
    else:
        yield ok("secrets", "SECRET_KEY decrypts all stored secrets.")


def files() -> Iterator[Finding]:
    """Check that no other user of this machine may read the database, the keys and the backups."""
    exposed = private_files.exposed()
    if exposed:
        names = ", ".join(map(str, exposed[:_MOST_NAMES]))
        remedy = "Run `chmod go= PATH…`; `manage.py serve` does so when it starts."
        yield broken("files", one_line(f"Other users of this machine may use {names}."), remedy)
    else:
        yield ok("files", "No other user of this machine may read VAR_DIR and the database.")


def disk() -> Iterator[Finding]:
    """Check that VAR_DIR accepts writes, and has free space."""
    try:
        with tempfile.TemporaryFile(dir=settings.VAR_DIR) as probe:
            probe.write(b"\0" * 65_536)
            probe.flush()
    except OSError as error:
        yield broken("disk", f"VAR_DIR cannot be written to: {error.strerror}.", "Fix its owner, or free space.")
        return
    free = shutil.disk_usage(settings.VAR_DIR).free
    text = f"{free / 1024**3:.1f} GiB are free on the disk of VAR_DIR."
    if free < _DISK_FULL:
        yield broken("disk", text, "Free space; `manage.py prune` deletes old data.")
    elif free < _DISK_LOW:
        yield warning("disk", text, "Free space; `manage.py prune` deletes old data.")
    else:
        yield ok("disk", text)
