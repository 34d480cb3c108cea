"""nginx before some web processes, with the configuration that we ship: only addresses and folders differ."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.harness.daemon import Daemon, free_port, is_open, program
from tests.harness.paths import ROOT

SHIPPED = ROOT / "deploy/nginx.conf"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx(Daemon):
    """A load balancer of web processes on ports of 127.0.0.1."""

    name = "nginx"

    def __init__(self, web_ports: Sequence[int], *, log: Path | None = None) -> None:
        super().__init__(log=log)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.cwd = self.folder
        self.configuration = self.folder / "nginx.conf"
        self.configuration.write_text(render(SHIPPED.read_text(), self.port, web_ports))

    def command(self) -> list[str]:
        outside = ["daemon off", "pid nginx.pid", "error_log stderr"]
        if os.geteuid() == 0:
            outside.append("user root")  # its folder is nobody else's
        options = "".join(f"{line}; " for line in outside)
        return [
            program("nginx"),
            "-e",
            "stderr",
            "-p",
            f"{self.folder}/",
            "-c",
            str(self.configuration),
            "-g",
            options,
        ]

    def check(self) -> str:
        """`nginx -T`: fails on a bad configuration; returns it as nginx reads it."""
        done = subprocess.run([*self.command(), "-T"], cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def is_ready(self) -> bool:
        return is_open(self.port)


def render(shipped: str, port: int, web_ports: Sequence[int]) -> str:
    """Put our addresses in the place of the shipped ones, and all that nginx writes into its folder."""
    for options in (" max_fails=1 fail_timeout=1s;", " backup max_fails=0;"):
        two = [f"        server 127.0.0.1:{web}{options}\n" for web in (8001, 8002)]
        ours = [f"        server 127.0.0.1:{web}{options}\n" for web in web_ports]
        shipped = _replaced(shipped, "".join(two), "".join(ours))
    folders = "".join(f"    {name}_temp_path {name};\n" for name in TEMPORARY)
    shipped = _replaced(shipped, "http {\n", f"http {{\n{folders}    access_log off;\n")
    return _replaced(shipped, "        listen 80;\n", f"        listen 127.0.0.1:{port};\n")


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"deploy/nginx.conf has not once, but {text.count(old)} times: {old}"
    return text.replace(old, new)
