"""A server of S3's protocol that nobody here wrote."""

from tests.harness.daemon import Daemon, free_port, is_open, program
from tests.harness.paths import ROOT

_PROGRAM = ROOT / "var" / "test-tools" / "s3" / "node" / "node_modules" / "s3rver" / "bin" / "s3rver.js"


class S3(Daemon):
    """s3rver with one bucket. It checks signatures."""

    name = "s3"
    credentials = {"AWS_ACCESS_KEY_ID": "S3RVER", "AWS_SECRET_ACCESS_KEY": "S3RVER"}  # it knows only these

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"s3://bucket/a%20prefix?endpoint=http://127.0.0.1:{self.port}&region=us-east-1"

    def command(self) -> list[str]:
        if not _PROGRAM.exists():
            raise RuntimeError(f"There is no {_PROGRAM}: run scripts/install-test-tools, which installs it.")
        options = ["--directory", f"{self.folder}/data", "--address", "127.0.0.1", "--port", str(self.port)]
        return [program("node"), str(_PROGRAM), *options, "--configure-bucket", "bucket"]

    def is_ready(self) -> bool:
        return is_open(self.port)
