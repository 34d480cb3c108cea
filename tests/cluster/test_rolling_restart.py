"""All four processes restarted, one after the other, under sockets and runs: nobody loses or doubles anything."""

import time

import pytest

from tests.harness.watchers import RATE, Crowd, FaultyCluster, check_sessions, percentile, streams

pytestmark = pytest.mark.slow
SOCKETS, RUNS = streams(20, 60), streams(5, 10)


def test_rolling_restart_of_all_four_processes(whole: FaultyCluster, crowd: Crowd, streaming):
    agent = streaming(RATE * 25)
    for number in range(SOCKETS):
        crowd.watch(whole.url, f"{agent}-{number % (SOCKETS // 2)}")
    crowd.wait_for_all(lambda watcher: watcher.is_connected)
    streams = crowd.watchers[:RUNS]
    values = [crowd.begin(watcher.say("go", "one", agent_name=agent)) for watcher in streams]
    runs = {each.result(120) for each in values}
    crowd.wait_for_all(lambda watcher: watcher.fold.story() or watcher not in streams)
    began = time.monotonic()
    for name in ("web-1", "worker-1", "web-2", "worker-2"):
        assert whole.stop(name) == 0
        whole.start(name)
    print(f"\nall four restarted within {time.monotonic() - began:.1f} s")

    watching = [w for w in crowd.watchers if w.session in {one.session for one in streams}]
    crowd.wait_for_all(lambda watcher: watcher.ends() or watcher not in watching)
    crowd.check_failures()
    check_sessions(whole, watching)
    assert {run for watcher in watching for run in watcher.ends()} == runs
    assert {run["status"] for one in streams for run in whole.runs(one.session)} == {"completed"}

    codes = {code for watcher in crowd.watchers for code in watcher.close_codes}
    assert codes == {1012}, "each socket was told to come back"
    absences = [absence for watcher in crowd.watchers for absence in watcher.absences]
    pauses = [watcher.longest_pause for watcher in watching]
    for what, times in (("without a socket", absences), ("without a token", pauses)):
        print(f"{what}: p50 {percentile(times, 0.5):.2f} s, p99 {percentile(times, 0.99):.2f} s")
    assert len(absences) >= SOCKETS
    assert max(pauses) < 60, "nobody is left behind; how long it really takes is for the benchmark to say"
