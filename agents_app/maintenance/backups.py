"""Back up and restore the whole database: SQLite by itself, PostgreSQL with its own programs."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.backends.postgresql.client import DatabaseClient

from agents_app.database import embedded_lock
from agents_app.maintenance.programs import find_program

KEPT = ".before-restore"


class BackupFailed(Exception):
    """A backup or restore failed; the text says why."""


def backup(target: Path) -> None:
    """Write a snapshot of the database to a file that only its owner can read, without blocking anybody.

    Raises:
        BackupFailed: no backup was written.
    """
    if target.exists():
        raise BackupFailed(f"{target} exists already.")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))
        _back_up_sqlite(part) if settings.EMBEDDED else _back_up_postgresql(part)
        part.rename(target)
    except OSError as error:
        raise BackupFailed(f"{target} cannot be written: {error.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)


def restore(source: Path) -> None:
    """Replace the database with a backup: all of it or, if anything fails, nothing.

    Raises:
        BackupFailed: the database is unchanged.
    """
    if not source.is_file():
        raise BackupFailed(f"There is no file {source}.")
    _restore_sqlite(source) if settings.EMBEDDED else _restore_postgresql(source)


# SQLite


def _file() -> Path:
    return Path(str(settings.DATABASES["default"]["NAME"]))


def _back_up_sqlite(target: Path) -> None:
    if not _file().exists():
        raise BackupFailed(f"There is no database in {_file().parent}.")
    try:
        with connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [str(target)])  # does not block readers and writers
    except DatabaseError as error:
        raise BackupFailed(f"SQLite failed: {error}.") from None


def _restore_sqlite(source: Path) -> None:
    embedded_lock.take()  # held until this process ends, so that no server starts meanwhile
    connection.close()
    file = _file()
    part = file.with_name(f"{file.name}.part")
    try:
        shutil.copyfile(source, part)
        _check_sqlite(part)
        part.chmod(0o600)
        _settle(file)
        if file.exists():
            file.replace(file.with_name(f"{file.name}{KEPT}"))
        part.replace(file)
    except OSError as error:
        raise BackupFailed(f"{file} cannot be written: {error.strerror}.") from None
    finally:
        part.unlink(missing_ok=True)


def _settle(file: Path) -> None:
    """Move what a killed server left in SQLite's log into the old file: none of it may reach the new one."""
    if file.exists():
        with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(file)) as old:
            old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for ending in ("-wal", "-shm"):
        file.with_name(f"{file.name}{ending}").unlink(missing_ok=True)


def _check_sqlite(file: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(file)) as copy:
            damage = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            copy.execute("SELECT 1 FROM agents_app_session LIMIT 1")
    except sqlite3.DatabaseError as error:
        raise BackupFailed(f"This is not a backup of this product: {error}.") from None
    if damage != "ok":
        raise BackupFailed(f"The backup is damaged: {damage}.")


# PostgreSQL


def _program(name: str) -> str:
    path = find_program(name)
    if path is None:
        raise BackupFailed(f"{name} is not installed: install PostgreSQL's client (Debian: postgresql-client).")
    return path


def _run(name: str, arguments: Sequence[str], *, connects: bool = True) -> None:
    """Run one of PostgreSQL's programs. The password is in its environment, where no list of processes shows it."""
    client, environment = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    command = [_program(name), *arguments, *(client[1:] if connects else [])]
    done = subprocess.run(  # noqa: S603
        command, env=os.environ | (environment or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BackupFailed(f"{name} failed: {done.stderr.strip()[-1000:] or done.returncode}")


def _back_up_postgresql(target: Path) -> None:
    _run("pg_dump", ["--format=custom", "--no-owner", "--no-privileges", f"--file={target}"])


_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_EMPTY = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"  # tables of a newer version must not stay


def _restore_postgresql(source: Path) -> None:
    """Restore in one transaction, through psql: pg_restore alone would keep tables that the backup lacks."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_OTHERS)
            if others := cursor.fetchone()[0]:
                raise BackupFailed(f"{others} other connections are open: stop all web processes and workers first.")
    except DatabaseError as error:
        raise BackupFailed(f"The database does not answer: {error}") from None
    finally:
        connection.close()
    with tempfile.TemporaryDirectory(dir=settings.VAR_DIR) as folder:
        script = f"{folder}/restore.sql"
        options = ["--no-owner", "--no-privileges", f"--file={script}", str(source)]
        _run("pg_restore", options, connects=False)
        careful = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction"]
        _run("psql", [*careful, f"--command={_EMPTY}", f"--file={script}"])
