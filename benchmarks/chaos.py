"""Whatever dies, nothing is lost or doubled: conversations through nginx while processes are killed at random.

python -m benchmarks.chaos [--minutes 10] [--sessions 50] [--seed 1] [--web 2] [--workers 2]
"""

import argparse
import os
import random

from tests.cluster import chaos
from tests.cluster.watching import FaultyCluster
from tests.servers.fake_model_process import FakeModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--web", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with FakeModel() as model, FaultyCluster(web=options.web, workers=options.workers) as cluster:
        seconds = options.minutes * 60
        chaos.play(cluster, model, seed=options.seed, seconds=seconds, sessions=options.sessions, postgres_restarts=2)
        print("Nothing was lost, nothing was doubled.")


if __name__ == "__main__":
    main()
