"""A Redis of one's own, with the settings that we ship."""

import secrets
from pathlib import Path

import redis

from tests.harness.daemon import Daemon, free_port, is_open, program
from tests.harness.paths import ROOT


class Redis(Daemon):
    """Keeps nothing: after a restart it is empty."""

    name = "redis"

    def __init__(self, *, log: Path | None = None) -> None:
        super().__init__(log=log)
        self.port = free_port()
        self.password = secrets.token_urlsafe(16)
        self.url = f"redis://:{self.password}@127.0.0.1:{self.port}/0"
        self.cwd = self.folder

    def command(self) -> list[str]:
        options = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(self.folder)}
        options |= {"requirepass": self.password}
        return [
            program("redis-server"),
            str(ROOT / "deploy/redis.conf"),
            *(part for name, value in options.items() for part in (f"--{name}", value)),
        ]

    def is_ready(self) -> bool:
        if not is_open(self.port):  # the client would try again by itself, more and more slowly
            return False
        with self.client() as client:
            try:
                return client.ping()
            except redis.RedisError:  # it is just starting, or stopping
                return False

    def client(self) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, password=self.password, socket_timeout=5)

    def flush(self) -> None:
        """FLUSHALL."""
        with self.client() as client:
            client.flushall()
