"""One cluster for the tests of this folder, and watchers that outlive whatever is done to it."""

from collections.abc import Callable, Iterator

import pytest

from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.wait import until
from tests.harness.watchers import RATE, Crowd, FaultyCluster, unfinished


@pytest.fixture(scope="package")  # idle, it takes a twentieth of a processor
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyCluster]:
    """2 web, 2 workers, and what they need. Who stops a process starts it again."""
    with FaultyCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def whole(cluster: FaultyCluster) -> Iterator[FaultyCluster]:
    """The cluster with all of its processes alive and nothing to do, whatever the test before has left."""
    for name, process in cluster.processes.items():
        process.thaw() if process.is_alive else cluster.start(name)
    for web in cluster.webs:
        until(lambda web=web: web.request("GET", "/readyz")[0] == 200)
    end_work(cluster)
    yield cluster
    for process in cluster.processes.values():
        if process.is_alive:
            process.thaw()


def end_work(cluster: FaultyCluster) -> None:
    """Disable tasks and cancel runs."""
    for (task,) in cluster.query("SELECT id::text FROM agents_app_scheduledtask WHERE enabled"):
        assert cluster.request("POST", f"/v1/tasks/{task}/disable")[0] == 200
    for run, _ in unfinished(cluster):
        cluster.request("POST", f"/v1/runs/{run}/cancel")  # it may have ended by itself
    until(lambda: unfinished(cluster) == [])


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with Crowd() as watchers:
        yield watchers


@pytest.fixture
def streaming(whole: FaultyCluster, model: FakeModel, name: str) -> Callable[..., str]:
    """Make an agent that says so many tokens; returns its name."""

    def make(count: int, rate: float = RATE) -> str:
        model.script(name, [[{"stamps": {"rate": rate, "count": count}}]])
        whole.add_agent(name, model.base_url)
        return name

    return make
