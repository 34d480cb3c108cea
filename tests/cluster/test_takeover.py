"""A worker dies, freezes or stops: its runs go on elsewhere, once, and watchers hardly notice."""

import threading
import time
from itertools import pairwise

import pytest

from tests.harness.chat import Chat
from tests.harness.cluster import Cluster
from tests.harness.wait import until
from tests.harness.watchers import RATE, Crowd, FaultyCluster, begin_on_both, check_sessions, end_all, streams

pytestmark = pytest.mark.slow

MESSAGES = 6  # of each of a session's two watchers


def test_kill_9_of_a_worker_with_many_streaming_runs(whole: FaultyCluster, crowd: Crowd, streaming):
    agent = streaming(RATE * 15)
    runs = begin_on_both(crowd, whole, agent, streams(8, 50))
    ((dead,),) = whole.query("SELECT id FROM agents_app_workerprocess WHERE pid = %s", whole.pid("worker-1"))

    whole.kill("worker-1")
    killed_at = time.monotonic()
    until(lambda: any(watcher.fold.of_type("retry") for watcher in crowd.watchers))
    first = time.monotonic() - killed_at

    def left_behind() -> int:
        return whole.query(
            "SELECT count(*) FROM agents_app_run"
            " WHERE agent_name = %s AND (status = 'queued' OR status = 'running' AND worker = %s)",
            agent,
            dead,
        )[0][0]

    until(lambda: left_behind() == 0)
    last = time.monotonic() - killed_at
    print(f"\nkill -9 of a worker: its first run goes on after {first:.1f} s, the last after {last:.1f} s")
    assert last < 120
    whole.start("worker-1")
    end_all(crowd, whole)
    assert {run["id"] for w in crowd.watchers for run in whole.runs(w.session)} == set(runs)


def test_a_worker_frozen_for_longer_than_its_lease_writes_nothing_more(whole: FaultyCluster, crowd: Crowd, streaming):
    agent = streaming(RATE * 15)
    begin_on_both(crowd, whole, agent, streams(6, 10))
    whole.freeze("worker-1")
    until(lambda: len(set(whole.workers_of(agent).values())) == 1)
    until(lambda: any(watcher.fold.of_type("retry") for watcher in crowd.watchers))
    whole.thaw("worker-1")
    end_all(crowd, whole)
    for watcher in crowd.watchers:
        assert len(watcher.fold.of_type("retry")) <= 1
        assert len(watcher.fold.of_type("reasoning_step")) == 1


def test_sigterm_of_a_worker_hands_its_runs_over(whole: FaultyCluster, crowd: Crowd, streaming):
    agent = streaming(RATE * 12)
    begin_on_both(crowd, whole, agent, streams(6, 10))
    began = time.monotonic()
    assert whole.stop("worker-2") == 0
    ended = time.monotonic() - began
    left = set(whole.workers_of(agent).values())
    count = len(crowd.watchers)
    until(lambda: len(whole.workers_of(agent)) + sum(bool(w.ends()) for w in crowd.watchers) >= count)
    moved = time.monotonic() - began
    print(f"\nSIGTERM of a worker: it ended after {ended:.1f} s, all runs elsewhere after {moved:.1f} s")
    assert len(left) <= 1
    assert moved < 60
    whole.start("worker-2")
    end_all(crowd, whole)
    pauses = sorted(watcher.longest_pause for watcher in crowd.watchers)
    print(f"the longest pause that a watcher saw: {pauses[-1]:.2f} s")


@pytest.mark.parametrize(
    ("point", "dies", "is_accepted"),
    [("job-written", "web", False), ("run-accepted", "web", True), ("start-written", "worker", True)],
)
def test_kill_9_at_a_point_of_a_start_or_claim(
    whole: FaultyCluster, crowd: Crowd, model, name, point, dies, is_accepted
):
    model.script(name, [[{"text": "Well."}]])
    whole.add_agent(name, model.base_url)
    watcher = crowd.watch(whole.web_urls[0], name)
    crowd.wait_for_all(lambda watcher: watcher.is_connected)
    whole.crash_at(point)
    crowd.call(watcher.send("chat", message=name, message_id="one", agent_name=name))
    dead = whole.wait_for_crash()
    assert dead.startswith(dies)
    assert len(whole.query("SELECT FROM agents_app_run WHERE prompt = %s", name)) == is_accepted
    whole.start(dead)
    crowd.call(watcher.say(name, "one", agent_name=name))
    end_all(crowd, whole)
    assert [run["result"] for run in whole.runs(name)] == ["Well."]
    assert len(model.requests(name)) == 1


def test_cancel_from_the_other_instance(whole: FaultyCluster, model, streaming, name):
    agent = streaming(RATE * 60)
    one, other = (f"{url.replace('http', 'ws', 1)}/ws/chat/{name}?after=0" for url in whole.web_urls)
    starter, stopper = Chat(one), Chat(other)
    starter.say("go", agent_name=agent)
    starter.until("reasoning_delta")
    began = time.monotonic()
    stopper.send("interrupt")
    assert starter.until("reasoning_complete")["data"]["status"] == "cancelled"
    print(f"\ncancelled from the other instance after {(time.monotonic() - began) * 1000:.0f} ms")
    assert time.monotonic() - began < 40
    assert stopper.until("reasoning_complete")["data"]["status"] == "cancelled"
    model.wait_for_abort(agent)
    starter.close()
    stopper.close()


def test_a_run_of_a_dead_worker_can_be_cancelled(whole: FaultyCluster, crowd: Crowd, streaming):
    agent = streaming(RATE * 120)
    begin_on_both(crowd, whole, agent, 6)
    whole.kill("worker-1")
    for watcher in crowd.watchers:
        crowd.call(watcher.send("interrupt"))
    end_all(crowd, whole)
    assert {run["status"] for w in crowd.watchers for run in whole.runs(w.session)} == {"cancelled"}
    whole.start("worker-1")


def test_messages_of_a_session_are_answered_in_their_order_over_both_workers(
    whole: FaultyCluster, model, crowd: Crowd, name
):
    model.script(name, [[{"text": "Well."}]])
    whole.add_agent(name, model.base_url)
    watchers = [crowd.watch(url, f"{name}-{session}") for session in range(4) for url in whole.web_urls]
    crowd.wait_for_all(lambda watcher: watcher.is_connected)
    for number in range(MESSAGES):
        for watcher in watchers:
            crowd.call(watcher.send("chat", message=f"{number}", message_id=f"{id(watcher)}-{number}", agent_name=name))
    crowd.wait_for_all(lambda watcher: len(watcher.ends()) == 2 * MESSAGES)
    check_sessions(whole, watchers)
    workers = whole.query(
        "SELECT s.name, number, started_at, finished_at FROM agents_app_run JOIN agents_app_session AS s"
        " ON s.id = session_id ORDER BY 1, 2"
    )
    for session in {watcher.session for watcher in watchers}:
        times = [(started, finished) for owner, _, started, finished in workers if owner == session]
        assert len(times) == 2 * MESSAGES
        assert all(before[1] <= after[0] for before, after in pairwise(times)), session


def test_web_and_workers_wait_for_a_database_that_starts_last(model, name):
    cluster = Cluster(web=1, workers=1)
    try:
        for process in (cluster.redis, cluster.nginx, *cluster.webs, *cluster.workers):
            process.spawn()
        ours = (*cluster.webs, *cluster.workers)
        until(lambda: all("the database does not answer" in process.output() for process in ours))
        cluster.postgres.start()
        until(lambda: all("migrations are not applied" in process.output() for process in ours))
        assert cluster.ended() == [], "nobody has given up"
        cluster.migrate()
        waiting = threading.Thread(target=lambda: [p.wait_until_ready() for p in (*cluster.webs, *cluster.workers)])
        waiting.start()
        waiting.join(200)
        assert not waiting.is_alive()
        model.script(name, [[{"text": "Here I am."}]])
        cluster.add_agent(name, model.base_url)
        chat = Chat(cluster.socket_url(name))
        assert chat.ask("hi", agent_name=name)["data"]["status"] == "completed"
        chat.close()
        for process in (*cluster.webs, *cluster.workers):
            assert process.output().count("Waiting:") <= 20, "it says once what is missing"
    finally:
        cluster.close()
