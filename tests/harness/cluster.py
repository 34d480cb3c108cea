"""The product as many processes: PostgreSQL, Redis, web × N, worker × M, nginx, on loopback ports."""

import contextlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from tests.harness import guard, zygote
from tests.harness.daemon import Daemon, free_port
from tests.harness.nginx import Nginx
from tests.harness.postgres import PostgreSQL
from tests.harness.product import Product, migrated
from tests.harness.redis import Redis

# What a developer's shell may say, and what must not reach the processes.
FOREIGN = ("OPENAI_", "ANTHROPIC_", "DJANGO_", "PG", "CLUSTER_")


class Cluster:
    """A running cluster. Its processes have names: `postgres`, `redis`, `nginx`, `web-1` …, `worker-1` …

    Logs and `processes.json` are in `folder`. `environment` is for web processes and workers alike.
    """

    def __init__(self, folder: Path | None = None, *, web: int = 2, workers: int = 2, **environment: str) -> None:
        self._is_folder_ours = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="cluster-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.processes_file = self.folder / "processes.json"
        self.token = ""  # an administrator's, where AUTH_REQUIRED says that there must be one
        self._overrides = environment

        self.postgres = PostgreSQL(log=self._log("postgres"))
        self.redis = Redis(log=self._log("redis"))
        self.webs = [Web(self, number) for number in range(1, web + 1)]
        self.workers = [Worker(self, number) for number in range(1, workers + 1)]
        self.nginx = Nginx([web.port for web in self.webs], log=self._log("nginx"))
        everything = [self.postgres, self.redis, *self.webs, *self.workers, self.nginx]
        self.processes: dict[str, Daemon] = {process.name: process for process in everything}

        self.port = self.nginx.port
        self.url = self.nginx.url
        self.web_urls = [web.url for web in self.webs]
        self.environment = self._environment()

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)},
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "SECRET_KEY": secrets.token_urlsafe(40),
            "VAR_DIR": str(self.folder / "var"),
            "CHAT_RATE_PER_MINUTE": "100000",
            # Whoever knows loopback's ports is the administrator, unless told otherwise.
            "AUTH_REQUIRED": os.environ.get("AUTH_REQUIRED") or "false",
            "TRUSTED_PROXIES": "1",
            "OPEN_TO": "127.0.0.1",  # whom nginx names
            **self._overrides,
        }

    def manage(self, *arguments: str) -> list[str]:
        """The command of web processes and workers; a subclass may run them with faults."""
        return [sys.executable, "manage.py", *arguments]

    def command(self, *arguments: str) -> list[str]:
        """The same, by the name that it has of a product in one process."""
        return self.manage(*arguments)

    def __enter__(self) -> Self:
        try:
            self.start_all()
        except BaseException as error:
            error.add_note(f"The logs are in {self.folder}")
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(f"The logs are in {self.folder}")
        self.close()
        if error is None and self._is_folder_ours:
            shutil.rmtree(self.folder)

    def start_all(self) -> None:
        """Start everything; returns when all are ready."""
        if not self.postgres.data.exists():
            self.postgres.begin_with(migrated_data())
        for process in self.processes.values():
            process.spawn()  # whoever needs the database waits for it
        for process in self.processes.values():
            process.wait_until_ready()
        if self.environment["AUTH_REQUIRED"].lower() not in ("false", "0", "no", "off"):
            self.token = self._run("create_token", "admin", "--name", "cluster").strip()
        self._write_processes()

    def migrate(self) -> None:
        self._run("migrate", "--no-input")

    def _run(self, *arguments: str) -> str:
        """What a command prints; its log is named after it."""
        environment = self.environment | {guard.MARK: str(self.postgres.folder)}
        done = zygote.run(self.manage(*arguments), env=environment)
        self._log(arguments[0]).write_text(done.stderr)
        if done.returncode:
            raise RuntimeError(f"{arguments[0]} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout

    def close(self) -> None:
        """Take everything down: first those who ask, then those who answer."""
        with contextlib.ExitStack() as stack:  # each is tried, whatever happens to the others
            for process in self.processes.values():
                stack.callback(process.close)
            for process in (self.nginx, *self.webs, *self.workers):
                process.begin_stop()
            for process in (self.nginx, *self.workers, *self.webs):
                process.end_stop()

    # One process

    def kill(self, name: str) -> None:
        """kill -9, to it and its children."""
        self.processes[name].kill()

    def stop(self, name: str, timeout: float = 60) -> int | None:
        """SIGTERM; returns the exit status."""
        return self.processes[name].stop(timeout)

    def freeze(self, name: str) -> None:
        self.processes[name].freeze()

    def thaw(self, name: str) -> None:
        self.processes[name].thaw()

    def start(self, name: str, timeout: float = 180) -> None:
        """Start again what was stopped or killed; returns when it is ready."""
        self.processes[name].start(timeout)
        self._write_processes()

    def restart(self, name: str) -> None:
        self.processes[name].restart()
        self._write_processes()

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def log(self, name: str) -> Path:
        return self.processes[name].log

    def logged(self) -> str:
        """All that web processes and workers have logged."""
        names = [name for name in self.processes if name.startswith(("web", "worker"))]
        return "".join(self.log(name).read_text() for name in names)

    def ended(self) -> list[str]:
        """Who does not run. Asking also buries the dead: until then, their ids look alive."""
        return [name for name, process in self.processes.items() if not process.is_alive]

    def _write_processes(self) -> None:
        processes = {
            name: _restart_information(process)
            for name, process in self.processes.items()
            if process.process is not None
        }
        new = self.processes_file.with_suffix(".new")
        new.touch(mode=0o600)  # it has the secret key in it
        new.write_text(json.dumps(processes, indent=1))
        new.replace(self.processes_file)

    def variables(self) -> dict[str, str]:
        """What a command is told of the cluster."""
        return {
            "CLUSTER_URL": self.url,
            **{f"CLUSTER_WEB_{number}": url for number, url in enumerate(self.web_urls, 1)},
            "CLUSTER_TOKEN": self.token,
            "CLUSTER_PROCESSES": str(self.processes_file),
        }

    # As a Product's, through nginx

    socket_url = Product.socket_url
    request = Product.request
    add_agent = Product.add_agent


def migrated_data() -> Path:
    """Of a PostgreSQL whose tables are there: to make it anew costs each cluster several seconds of computing."""
    made = migrated("pgdata")
    if not made.exists():
        with tempfile.TemporaryDirectory(dir=made.parent) as folder, contextlib.ExitStack() as stack:
            cluster = Cluster(Path(folder, "cluster"), web=0, workers=0)
            stack.callback(cluster.close)
            cluster.postgres.start()
            cluster.migrate()
            cluster.postgres.stop()
            shutil.copytree(cluster.postgres.data, f"{folder}/data", symlinks=True)
            with contextlib.suppress(OSError):  # another process was quicker
                Path(folder, "data").rename(made)
    return made


class Web(Daemon):
    """`manage.py serve`, one of several."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.name = f"web-{number}"
        super().__init__(log=cluster.folder / f"{self.name}.log")
        self.cluster = cluster
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return self.cluster.manage("serve", "--host", "127.0.0.1", "--port", str(self.port))

    def environment(self) -> dict[str, str]:
        return self.cluster.environment

    @property
    def token(self) -> str:
        return self.cluster.token

    def is_ready(self) -> bool:
        return "Stop with Ctrl+C." in self.output()

    socket_url = Product.socket_url
    request = Product.request


class Worker(Daemon):
    """`manage.py worker`, one of several."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.name = f"worker-{number}"
        super().__init__(log=cluster.folder / f"{self.name}.log")
        self.cluster = cluster

    def command(self) -> list[str]:
        return self.cluster.manage("worker")

    def environment(self) -> dict[str, str]:
        return self.cluster.environment

    def is_ready(self) -> bool:
        return _some_line(self.output().lower().splitlines(), "worker", "ready")


def _some_line(lines: Iterable[str], *words: str) -> bool:
    return any(all(word in line for word in words) for line in lines)


def _restart_information(process: Daemon) -> dict[str, Any]:
    """What somebody else needs to start it again."""
    return {
        "pid": process.pid,
        "command": process.command(),
        "env": process.marked_environment(),
        "cwd": str(process.cwd),
    }
