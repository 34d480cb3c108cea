"""Whatever dies, nothing is lost or doubled. All of it through nginx, with watchers that come back with their cursor.

python -m benchmarks.chaos [chaos] [--minutes 10] [--sessions 50] [--seed 1]
python -m benchmarks.chaos redis [--streams 200]       Redis stopped for 30 s and flushed
python -m benchmarks.chaos rolling [--sockets 200] [--runs 50]   all processes restarted, one after the other
python -m benchmarks.chaos postgres [--restarts 100] [--seed 1]  PostgreSQL restarted in the fast mode, under load
"""

import argparse
import os
import random
import time

from tests.harness import chaos
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.watchers import Crowd, FaultyCluster, Watcher, check_sessions, percentile

RATE = 10  # tokens a second of one stream: the watchers share the machine
AGENT = "streaming"


def stream(crowd: Crowd, cluster: FaultyCluster, model: FakeModel, sockets: int, runs: int, seconds: float) -> None:
    """`runs` sessions that stream for so long, with `sockets` watchers over them."""
    model.script(AGENT, [[{"stamps": {"rate": RATE, "count": round(RATE * seconds)}}]])
    cluster.add_agent(AGENT, model.base_url)
    for number in range(sockets):
        crowd.watch(cluster.url, f"s-{number % runs}")
    crowd.wait_for_all(lambda watcher: watcher.is_connected)
    for started in [crowd.begin(watcher.say("go", "one", agent_name=AGENT)) for watcher in crowd.watchers[:runs]]:
        started.result(60)


def finish(crowd: Crowd, cluster: FaultyCluster) -> None:
    crowd.wait_for_all(lambda watcher: watcher.ends(), 120)
    check_sessions(cluster, crowd.watchers)
    tell("longest pause of a watcher", [watcher.longest_pause for watcher in crowd.watchers])


def tell(what: str, seconds: list[float]) -> None:
    shown = [f"{name} {percentile(seconds, share):.3f} s" for name, share in (("p50", 0.5), ("p99", 0.99), ("most", 1))]
    print(f"{what}: {', '.join(shown)}", flush=True)


def ages(watchers: list[Watcher], seconds: float) -> list[float]:
    """How old the tokens of the next seconds are when they are heard."""
    marks = [len(watcher.ages) for watcher in watchers]
    time.sleep(seconds)
    return [age for watcher, mark in zip(watchers, marks, strict=True) for age in watcher.ages[mark:]]


def redis(cluster: FaultyCluster, model: FakeModel, streams: int) -> None:
    """Redis flushed, stopped for 30 s, and back."""
    with Crowd() as crowd:
        stream(crowd, cluster, model, streams, streams, 60)
        cluster.redis.flush()
        tell("age of a token before", ages(crowd.watchers, 4))
        cluster.stop("redis")
        time.sleep(4)
        tell("age of a token without Redis", ages(crowd.watchers, 26))
        cluster.start("redis")
        cluster.redis.flush()
        time.sleep(4)
        tell("age of a token with Redis back", ages(crowd.watchers, 4))
        finish(crowd, cluster)
        print(f"connections: {sum(watcher.connections for watcher in crowd.watchers)} of {streams} watchers")


def rolling(cluster: FaultyCluster, model: FakeModel, sockets: int, runs: int) -> None:
    """Each web process and worker stopped with SIGTERM and started again."""
    with Crowd() as crowd:
        stream(crowd, cluster, model, sockets, runs, 60)
        time.sleep(2)
        for pair in zip(cluster.webs, cluster.workers, strict=True):
            for process in pair:
                cluster.restart(process.name)
        finish(crowd, cluster)
        tell("without a socket", [absence for watcher in crowd.watchers for absence in watcher.absences])


def postgres(cluster: FaultyCluster, model: FakeModel, restarts: int, seed: int) -> None:
    """PostgreSQL restarted in the fast mode under load, each time seconds after a process was killed or restarted."""
    dice, pauses = random.Random(seed), []
    with Crowd() as crowd:
        stream(crowd, cluster, model, 20, 20, restarts * 8)
        for _ in range(restarts):
            process = dice.choice([*cluster.webs, *cluster.workers])
            if dice.random() < 0.5:
                process.kill()
            else:
                process.stop()
            process.spawn()
            time.sleep(dice.uniform(0.5, 3))
            began = time.monotonic()
            cluster.postgres.restart("fast")
            pauses.append(time.monotonic() - began)
            if pauses[-1] > 10:
                print(f"  {time.strftime('%X')} a restart took {pauses[-1]:.1f} s", flush=True)
        tell("a restart of PostgreSQL", pauses)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["chaos", "redis", "rolling", "postgres"], default="chaos")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--sockets", type=int, default=200)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=100)
    return parser


def main() -> None:
    options = arguments().parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with FakeModel() as model, FaultyCluster() as cluster:
        match options.what:
            case "redis":
                redis(cluster, model, options.streams)
            case "rolling":
                rolling(cluster, model, options.sockets, options.runs)
            case "postgres":
                postgres(cluster, model, options.restarts, options.seed)
            case _:
                how = {"seed": options.seed, "seconds": options.minutes * 60, "sessions": options.sessions}
                chaos.play(cluster, model, **how, postgres_restarts=2)
    print("Nothing was lost, nothing was doubled.")


if __name__ == "__main__":
    main()
