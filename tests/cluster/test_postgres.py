"""PostgreSQL restarts in mid-stream: runs finish, watchers keep their place, and no process needs a restart."""

import datetime
import time

import psutil
import psycopg
import pytest

from tests.harness.chat import Chat
from tests.harness.wait import until
from tests.harness.watchers import RATE, Crowd, FaultyCluster, begin, begin_on_both, end_all, streams

pytestmark = pytest.mark.slow


def pids(cluster: FaultyCluster) -> dict[str, int]:
    return {process.name: process.pid for process in [*cluster.webs, *cluster.workers]}


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restarted_in_mid_stream(whole: FaultyCluster, crowd: Crowd, streaming, mode):
    agent = streaming(RATE * 6)
    before = pids(whole)
    begin(crowd, whole, agent, streams(5, 10))
    began = time.monotonic()
    whole.postgres.restart(mode)
    away = time.monotonic() - began
    end_all(crowd, whole)
    longest = max(watcher.longest_pause for watcher in crowd.watchers)
    print(f"\nPostgreSQL restarted ({mode}), away for {away:.1f} s; the longest pause: {longest:.1f} s")
    assert longest < away + 60
    for watcher in crowd.watchers:
        assert [run["status"] for run in whole.runs(watcher.session)] == ["completed"]
        if away < 4:  # beyond its patience, the worker gives them back
            assert watcher.fold.of_type("retry") == [], "the worker kept its runs"
    assert pids(whole) == before
    assert whole.ended() == []
    assert {watcher.connections for watcher in crowd.watchers} == {1}


def test_a_message_while_it_is_down_is_refused_clearly_and_works_later(whole: FaultyCluster, streaming, name):
    agent = streaming(5)
    chats = [Chat(f"{url.replace('http', 'ws', 1)}/ws/chat/{name}-{i}?after=0") for i, url in enumerate(whole.web_urls)]
    for chat in chats:
        assert chat.ask("first", agent_name=agent)["data"]["status"] == "completed"
    whole.stop("postgres")
    try:
        for chat in chats:
            began = time.monotonic()
            chat.say("lost", agent_name=agent, message_id="two")
            error = chat.until("error")
            print(f"\nrefused after {time.monotonic() - began:.1f} s")
            assert error["data"]["code"] == "storage_unavailable"
            assert time.monotonic() - began < 50
            chat.send("ping")
            chat.until("pong")
        status, answer = whole.request("GET", "/v1/agents")
        assert (status, answer["error"]["type"]) == (503, "overloaded_error")
        status, _ = whole.request("GET", "/healthz")
        assert status == 200
    finally:
        whole.start("postgres")

    def is_taken(chat: Chat) -> bool:
        """A connection that is made anew may take a moment: it says to try again."""
        chat.say("again", agent_name=agent, message_id="two")
        frame = chat.until("reasoning_start", "error")
        assert frame["type"] == "reasoning_start" or frame["data"]["code"] == "storage_unavailable", frame
        return frame["type"] == "reasoning_start"

    for chat in chats:
        began = time.monotonic()
        until(lambda chat=chat: is_taken(chat))
        assert chat.until("reasoning_complete")["data"]["status"] == "completed"
        print(f"\nanswered after {time.monotonic() - began:.1f} s")
        assert time.monotonic() - began < 50
        chat.close()


def test_down_for_longer_than_a_lease(whole: FaultyCluster, crowd: Crowd, streaming):
    agent = streaming(RATE * 10)
    begin(crowd, whole, agent, streams(5, 10))
    ((last,),) = whole.query("SELECT max(lease_until) + '2s' FROM agents_app_run")  # one may have been renewed since
    whole.stop("postgres")
    until(lambda: datetime.datetime.now(datetime.UTC) > last)
    whole.start("postgres")
    began = time.monotonic()
    end_all(crowd, whole)
    print(f"\nPostgreSQL down for a lease: all runs ended {time.monotonic() - began:.1f} s after it was back")
    assert whole.ended() == []


def test_who_freezes_in_a_transaction_loses_its_locks_before_its_lease(whole: FaultyCluster, crowd: Crowd, streaming):
    agent = streaming(50 * 120, rate=50)
    begin_on_both(crowd, whole, agent, streams(8, 20))
    stuck = (
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%%'"
        " AND client_port = ANY(%s) AND state_change < now() - '0.15s'::interval"
    )
    worker = psutil.Process(whole.pid("worker-1"))

    def is_stuck() -> bool:
        ports = [each.laddr.port for each in worker.net_connections("inet")]
        return whole.query(stuck, ports)[0][0] > 0

    for _ in range(200):  # until it happens
        whole.freeze("worker-1")
        time.sleep(0.2)
        if is_stuck():
            break
        whole.thaw("worker-1")
        time.sleep(0.02)
    else:
        pytest.fail("it never froze in a transaction")
    began = time.monotonic()
    until(lambda: not is_stuck())
    print(f"\nlocks given up after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 60
    until(lambda: len(set(whole.workers_of(agent).values())) == 1)
    whole.thaw("worker-1")
    for watcher in crowd.watchers:
        crowd.call(watcher.send("interrupt"))
    end_all(crowd, whole)


def test_the_first_words_of_a_new_session_do_not_wait_behind_the_starts_of_others(
    whole: FaultyCluster, streaming, name
):
    """As many starts as a web process has threads for wait for a lock; what has begun already is told all the same."""
    agent = streaming(3)
    web = whole.web_urls[0].replace("http", "ws", 1)
    new, *others = [Chat(f"{web}/ws/chat/{name}-{number}?after=0") for number in range(3)]
    for chat in others:
        assert chat.ask("first", agent_name=agent)["data"]["status"] == "completed"
    for worker in ("worker-1", "worker-2"):
        whole.freeze(worker)
    new.say("go", agent_name=agent)
    until(
        lambda: whole.query(
            f"SELECT 1 FROM agents_app_run JOIN agents_app_session AS s ON s.id = session_id WHERE s.name = '{name}-0'"
        )
    )

    with psycopg.connect(whole.postgres.url_of("agents")) as locking:
        locking.execute(
            "SELECT 1 FROM agents_app_session WHERE name LIKE %s AND name <> %s FOR UPDATE", [f"{name}-%", f"{name}-0"]
        )
        for chat in others:
            chat.say("second", agent_name=agent)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until(lambda: whole.query(waiting)[0][0] == len(others))
        for worker in ("worker-1", "worker-2"):
            whole.thaw(worker)
        new.until("reasoning_start")
    for chat in (new, *others):
        assert chat.until("reasoning_complete")["data"]["status"] == "completed"
        chat.close()
