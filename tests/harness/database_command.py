"""Run a command with a PostgreSQL and a Redis of its own: `python -m tests.harness.database_command COMMAND…`"""

import os
import subprocess
import sys

from tests.harness.cluster import migrated_data
from tests.harness.postgres import PostgreSQL
from tests.harness.redis import Redis


def main(command: list[str]) -> int:
    postgres = PostgreSQL()
    postgres.begin_with(migrated_data())
    with postgres, Redis() as redis:
        settings = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "SECRET_KEY": "for tests, and long enough to be a key",
        }
        return subprocess.run(command, env=os.environ | settings, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
