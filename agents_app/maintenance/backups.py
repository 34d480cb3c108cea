"""Back up and restore the whole database: SQLite by itself, PostgreSQL with its own programs; and the files."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.backends.postgresql.client import DatabaseClient

from agents_app.database import embedded_lock
from agents_app.files import inventory
from agents_app.maintenance.programs import find_program

KEPT = ".before-restore"


class BackupFailed(Exception):
    """A backup or restore failed; the text says why."""


def files_folder(backup_file: Path) -> Path:
    """Return the folder beside a backup that has the contents of files."""
    return backup_file.with_name(f"{backup_file.name}.files")


def has_own_files() -> bool:
    """Whether contents of files are in a folder of ours, and not in the database or where FILES_URL says."""
    return settings.EMBEDDED and not settings.FILES_URL


def backup(target: Path) -> None:
    """Write a snapshot of the database to a file that only its owner can read, without blocking anybody.

    Contents of files in VAR_DIR go to a folder beside it. None of them ever changes.

    Raises:
        BackupFailed: no backup was written.
    """
    if target.exists():
        raise BackupFailed(f"{target} exists already.")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))
        _copy_files(target)  # most of them before the snapshot: what is deleted meanwhile is in it
        _back_up_sqlite(part) if settings.EMBEDDED else _back_up_postgresql(part)
        _copy_files(target)
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


def _copy_files(target: Path) -> None:
    if not has_own_files() or not _file().exists():
        return
    try:
        has_table = "agents_app_storedbytes" in connection.introspection.table_names()
        keys = list(inventory.complete_keys()) if has_table else []
    except DatabaseError as error:
        raise BackupFailed(f"SQLite failed: {error}.") from None
    _copy_missing(settings.VAR_DIR / "files", files_folder(target), keys)


def _copy_missing(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy those files that the target lacks, each under its name once it is complete."""
    for name in names:
        if (target / name).exists() or not (source / name).exists():
            continue
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = target / f"{name}.part"
        shutil.copyfile(source / name, part)
        part.chmod(0o600)
        part.rename(target / name)


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
        if has_own_files() and (contents := files_folder(source)).is_dir():
            _copy_missing(contents, settings.VAR_DIR / "files", (path.name for path in contents.iterdir()))
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
