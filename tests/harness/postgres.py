"""A PostgreSQL of one's own."""

import functools
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from tests.harness import guard
from tests.harness.daemon import Daemon, free_port, program

USER = "postgres"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "fsync": "on",
    "logging_collector": "off",
}
# Fast ends connections, immediate is a crash that it notices: the next start recovers.
MODES = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class PostgreSQL(Daemon):
    """Durable as in production, small, and with a database `agents`. Anybody on this machine may connect."""

    name = "postgres"
    stop_signal = MODES["fast"]

    def __init__(self, *, log: Path | None = None, **settings: str) -> None:
        super().__init__(log=log)
        self.port = free_port()
        self.data = self.cwd = self.folder / "data"
        self.settings = SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self.folder)} | settings
        self.url = self.url_of("agents")

    def url_of(self, database: str) -> str:
        """A DATABASE_URL."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self, timeout: float = 180) -> None:
        is_new = not self.data.exists()
        if is_new:
            self._create_data()
        super().start(timeout)
        if is_new:
            self.create_database("agents")

    def _create_data(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, USER, USER)
        subprocess.run(["cp", "--archive", _initialized_data(), self.data], check=True)

    def begin_with(self, data: Path) -> None:
        """Before the first start: have the data of another one, which was stopped."""
        shutil.copytree(data, self.data, symlinks=True)
        if os.geteuid() == 0:
            for path in (self.folder, self.data, *self.data.rglob("*")):
                shutil.chown(path, USER, USER)

    def command(self) -> list[str]:
        settings = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        return _as_postgres([program("postgres"), "-D", str(self.data), *settings])

    def is_ready(self) -> bool:
        try:
            self.connect("postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def connect(self, database: str = "agents", connect_timeout: int = 30) -> psycopg.Connection:
        return psycopg.connect(self.url_of(database), autocommit=True, connect_timeout=connect_timeout)

    def create_database(self, name: str) -> str:
        """Make a database; returns its DATABASE_URL."""
        with self.connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url_of(name)

    def restart(self, mode: str = "fast") -> None:
        if self.is_alive:
            self.process.send_signal(MODES[mode])
            self.end_stop()
        self.start()

    def close(self) -> None:
        """Its data is thrown away: no need to write it down first."""
        if self.is_alive:
            self.process.send_signal(MODES["immediate"])
            self.thaw()
            self.end_stop()
        super().close()


@functools.cache
def _initialized_data() -> Path:
    """Data that all servers of this process begin with a copy of: `initdb` computes ten times as long as `cp`."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    guard.watch(folder)
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
    how = [f"--username={USER}", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    how.append("--wal-segsize=1")  # MB: the usual sixteen were a third of all that each new one writes
    command = _as_postgres([program("initdb"), f"--pgdata={folder / 'data'}", *how])
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")
    return folder / "data"


def _as_postgres(command: list[str]) -> list[str]:
    """PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return command
    return [program("setpriv"), f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--", *command]
