"""A seeded schedule of deaths, and conversations that go on meanwhile; what must hold is asked at the end."""

import asyncio
import contextlib
import http.client
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator

from tests.harness.clocked import add_task
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.wait import until
from tests.harness.watchers import Crowd, FaultyCluster, Watcher, check_sessions, percentile, unfinished

LEASE = 10
AGENT, SCHEDULED, TASKS = "chaotic", "scheduled", 3
FINAL = "That is all that there is to say about it. " * 3


def add_agent(cluster: FaultyCluster, model: FakeModel) -> None:
    """Thinks, calculates, writes a line down that must not be written twice, and answers; all of it slowly."""
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "6 * 7"}}}
    note = {"tool_call": {"name": "note", "arguments": {"line": "{prompt}"}}}
    model.script(
        AGENT,
        [
            [{"reasoning": "Let me think about this. " * 4, "delay": 0.05}, call],
            [{"text": "I write that down. ", "delay": 0.05}, note],
            [{"text": FINAL, "delay": 0.05}],
        ],
    )
    cluster.add_agent(AGENT, model.base_url, builtin_tools=["calculate", "note"])


class Chaos:
    """Does one thing after the other to the processes, and puts everything right in the end."""

    def __init__(self, cluster: FaultyCluster, seed: int) -> None:
        self.cluster = cluster
        self.done: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._frozen: list[tuple[float, str]] = []

    def run(self, seconds: float, postgres_restarts: int) -> None:
        began = time.monotonic()
        restarts = [seconds * (n + 1) / (postgres_restarts + 1) for n in range(postgres_restarts)]
        for deed in self._deeds():
            time.sleep(self._random.uniform(2, 4))
            now = time.monotonic()
            if now > began + seconds:
                break
            self._thaw(now)
            if restarts and now > began + restarts[0]:
                restarts.pop(0)
                mode = self._random.choice(["fast", "immediate"])
                self._say(f"restart postgres {mode}")
                self.cluster.postgres.restart(mode)
            else:
                self._do(*deed)
        self._thaw(float("inf"))

    def _deeds(self) -> Iterator[tuple[str, str]]:
        """Each deed once, in an order of its own, again and again."""
        deeds = list(itertools.product(("kill", "freeze", "restart"), ("worker-1", "worker-2", "web-1", "web-2")))
        deeds += [("kill", "redis"), ("freeze", "redis"), ("flush", "redis"), ("kill", "nginx"), ("restart", "nginx")]
        while True:
            self._random.shuffle(deeds)
            yield from deeds

    def _do(self, deed: str, name: str) -> None:
        if name in [frozen for _, frozen in self._frozen]:
            return
        self._say(f"{deed} {name}")
        match deed:
            case "kill":
                self.cluster.kill(name)
                self.cluster.processes[name].spawn()
            case "restart":
                self.cluster.stop(name)
                self.cluster.processes[name].spawn()
            case "freeze":
                self.cluster.freeze(name)
                for_seconds = LEASE + 3 if name.startswith("worker") else self._random.uniform(3, 9)
                self._frozen.append((time.monotonic() + for_seconds, name))
            case "flush":
                if self.cluster.redis.is_ready():
                    self.cluster.redis.flush()

    def _thaw(self, now: float) -> None:
        for until_when, name in list(self._frozen):
            if until_when <= now:
                self.cluster.thaw(name)
                self._frozen.remove((until_when, name))

    def _say(self, what: str) -> None:
        self.done[what.split()[0]] += 1
        print(f"  {time.strftime('%X')} {what}", flush=True)


async def converse(watcher: Watcher, until_when: float) -> None:
    """One message after the other, each as soon as the one before is answered."""
    for number in itertools.count():
        if time.monotonic() > until_when:
            return
        run = await watcher.say(f"{watcher.session}-{number}", f"{number}", agent_name=AGENT)
        await watcher.end_of(run)
        await asyncio.sleep(random.uniform(0, 0.5))


def play(
    cluster: FaultyCluster, model: FakeModel, *, seed: int, seconds: float, sessions: int, postgres_restarts: int
) -> None:
    """Let `sessions` converse, with 2 watchers each, while things die; then see that nothing was lost or doubled."""
    print(f"\nchaos with seed {seed}: {sessions} sessions for {seconds:g} s")
    add_agent(cluster, model)
    tasks = add_tasks(cluster, model)
    with Crowd() as crowd:
        pairs = [[crowd.watch(cluster.url, f"chaos-{n}", patience=8) for _ in range(2)] for n in range(sessions)]
        crowd.wait_for_all(lambda watcher: watcher.is_connected)
        end = time.monotonic() + seconds
        talks = [crowd.begin(converse(pair[0], end)) for pair in pairs]
        chaos = Chaos(cluster, seed)
        chaos.run(seconds, postgres_restarts)
        began = time.monotonic()
        for talk in talks:
            try:
                talk.result(180)
            except TimeoutError:
                tell_waiting(cluster, crowd)
                raise
        print(f"everything was answered {time.monotonic() - began:.1f} s after the last deed")
        for task in tasks:
            until(lambda t=task: answers(cluster, "POST", f"/v1/tasks/{t}/disable"))
        until(lambda: unfinished(cluster) == [], 120)
        for web in cluster.webs:
            until(lambda w=web: answers(w, "GET", "/readyz"))
        check_sessions(cluster, crowd.watchers)
        check_effects(cluster)
        check_fires(cluster, seconds)
        tell(cluster, crowd, chaos)


def tell_waiting(cluster: FaultyCluster, crowd: Crowd) -> None:
    """Print what the data and the watchers know of the runs that nobody has seen end."""
    columns = "id, agent_name, session_id, status, attempt, error_code, created_at, started_at, finished_at"
    for row in cluster.query(f"SELECT {columns} FROM agents_app_run WHERE finished_at IS NULL ORDER BY created_at"):
        print("unfinished:", *row)
    for row in cluster.query("SELECT status, count(*) FROM procrastinate_jobs GROUP BY 1"):
        print("jobs:", *row)
    for watcher in crowd.watchers:
        starts = {frame["run_id"] for frame in watcher.fold.of_type("reasoning_start")}
        errors = [frame["data"] for frame in watcher.errors[-2:]]
        print(watcher.session, watcher.is_connected, watcher.fold.cursor, starts - watcher.ends(), errors, flush=True)


def answers(door: FaultyCluster, method: str, path: str) -> bool:
    """Whether it is a 200: where the last deed has just been done, nobody may be there to answer."""
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        return door.request(method, path)[0] == 200
    return False


def check_effects(cluster: FaultyCluster) -> None:
    """No call of `note` has had two effects: each run writes down its own prompt."""
    lines = Counter(cluster.effects("chaos-"))
    assert [line for line, count in lines.items() if count > 1] == []
    prompts = {prompt for (prompt,) in cluster.query("SELECT prompt FROM agents_app_run WHERE agent_name = %s", AGENT)}
    assert set(lines) <= prompts
    assert len(lines) > len(prompts) / 2, "most runs come to it"


def add_tasks(cluster: FaultyCluster, model: FakeModel) -> list[str]:
    """Tasks that are due every two seconds, whatever dies."""
    model.script(SCHEDULED, [[{"text": "Done."}]])
    cluster.add_agent(SCHEDULED, model.base_url)
    fields = {"schedule_value": "2", "overlap": "allow", "misfire": "all", "misfire_grace": 86_400}
    return [add_task(cluster, SCHEDULED, name=f"task-{number}", **fields)["id"] for number in range(TASKS)]


def check_fires(cluster: FaultyCluster, seconds: float) -> None:
    """Each moment of each task was fired once, or it is written down why it was not."""
    statement = """
        SELECT count(*), count(DISTINCT scheduled_for),
            extract(epoch FROM max(scheduled_for) - min(scheduled_for))::int / 2 + 1,
            (SELECT coalesce(sum(count), 0)::int FROM agents_app_skip WHERE task_id = run.task_id)
        FROM agents_app_run AS run WHERE agent_name = %s AND retry = 0 GROUP BY task_id
    """
    rows = cluster.query(statement, SCHEDULED)
    assert len(rows) == TASKS
    for runs, distinct, moments, skipped in rows:
        assert runs == distinct, "a moment was fired twice"
        assert runs + skipped >= moments, "a moment is missing"
        assert moments > seconds / 2 * 0.8, "the schedule stood still"
    print(f"{sum(row[0] for row in rows)} moments of {TASKS} tasks were fired, none twice")


def tell(cluster: FaultyCluster, crowd: Crowd, chaos: Chaos) -> None:
    runs = dict(cluster.query("SELECT status, count(*) FROM agents_app_run GROUP BY 1"))
    taken = cluster.query("SELECT count(*) FROM agents_app_run WHERE attempt > 1")[0][0]
    events = cluster.query("SELECT sum(last_seq) FROM agents_app_session")[0][0]
    connections = [watcher.connections for watcher in crowd.watchers]
    pauses = [watcher.longest_pause for watcher in crowd.watchers]
    print(f"deeds {dict(chaos.done)}; runs {runs}, {taken} of them taken over; {events} events")
    print(f"connections of a watcher: p50 {percentile(connections, 0.5)}, most {max(connections)}")
    print(f"longest pause of a watcher: p50 {percentile(pauses, 0.5):.1f} s, most {max(pauses):.1f} s", flush=True)
