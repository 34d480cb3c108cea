"""Redis stops, freezes, forgets or hangs up: streams go on from the log, and at full speed once it is back."""

import time

import pytest

from tests.harness.wait import until
from tests.harness.watchers import RATE, Crowd, FaultyCluster, begin, end_all, percentile, streams

pytestmark = pytest.mark.slow
SLOW = 40.0  # seconds that a watcher may hear nothing while Redis is away


def ages(crowd: Crowd, count: int = RATE) -> list[float]:
    """How old the next tokens of each watcher are when they are heard: they say when the model said them."""
    marks = {watcher: len(watcher.ages) for watcher in crowd.watchers}
    crowd.wait_for_all(lambda watcher: watcher.ends() or len(watcher.ages) >= marks[watcher] + count)
    return [age for watcher, mark in marks.items() for age in watcher.ages[mark:]]


def is_fast(crowd: Crowd) -> bool:
    return percentile(ages(crowd, RATE // 2), 0.5) < 0.1


def test_stopped_and_flushed(whole: FaultyCluster, crowd: Crowd, streaming):
    agent = streaming(RATE * 17)
    begin(crowd, whole, agent, streams(6, 16))
    whole.redis.flush()
    assert ages(crowd), "a flush stops nobody"
    whole.stop("redis")
    slow = [age for _ in range(3) for age in ages(crowd)]  # tokens go on without Redis
    whole.start("redis")
    whole.redis.flush()
    until(lambda: is_fast(crowd))
    fast = ages(crowd)
    values = [f"p50 {percentile(a, 0.5) * 1000:.0f} ms, p99 {percentile(a, 0.99) * 1000:.0f} ms" for a in (slow, fast)]
    print(f"\nage of a token without Redis: {values[0]}; with it back: {values[1]}")
    end_all(crowd, whole)
    assert max(watcher.longest_pause for watcher in crowd.watchers) < SLOW
    assert {watcher.connections for watcher in crowd.watchers} == {1}, "nobody had to connect again"


def test_frozen(whole: FaultyCluster, crowd: Crowd, streaming):
    agent = streaming(RATE * 10)
    begin(crowd, whole, agent, streams(5, 10))
    whole.freeze("redis")
    crowd.wait_for_all(lambda watcher: time.monotonic() - watcher.last_frame_at > 2)
    whole.thaw("redis")
    slow = ages(crowd)
    until(lambda: is_fast(crowd))
    print(f"\nage of a token with a frozen Redis: p50 {percentile(slow, 0.5):.2f} s, most {percentile(slow, 1):.2f} s")
    end_all(crowd, whole)
    longest = max(watcher.longest_pause for watcher in crowd.watchers)
    print(f"the longest pause: {longest:.2f} s")
    assert longest < SLOW
    assert {watcher.connections for watcher in crowd.watchers} == {1}


def test_its_connections_are_killed_again_and_again(whole: FaultyCluster, crowd: Crowd, streaming):
    agent = streaming(RATE * 9)
    begin(crowd, whole, agent, streams(5, 10))
    for kind in ("pubsub", "normal", "pubsub"):
        with whole.redis.client() as client:
            client.client_kill_filter(_type=kind)
        assert ages(crowd), "nobody is cut off"
    until(lambda: is_fast(crowd))
    end_all(crowd, whole)
    assert max(watcher.longest_pause for watcher in crowd.watchers) < SLOW
    assert {watcher.connections for watcher in crowd.watchers} == {1}


def test_sockets_that_were_idle_hear_the_next_run_at_once(whole: FaultyCluster, crowd: Crowd, streaming):
    """redis-py closes subscriptions that are silent for its socket time-out, where it has one."""
    agent = streaming(RATE)
    for number in range(4):
        crowd.watch(whole.url, f"{agent}-{number}")
    crowd.wait_for_all(lambda watcher: watcher.is_connected)
    time.sleep(17)  # the silence is what is tested: a health check comes every 15 s
    for watcher in crowd.watchers:
        crowd.call(watcher.say("go", "one", agent_name=agent))
    end_all(crowd, whole)
    heard = [age for watcher in crowd.watchers for age in watcher.ages]
    print(f"\nafter idling: p99 {percentile(heard, 0.99) * 1000:.0f} ms")
    assert percentile(heard, 0.99) < 20
