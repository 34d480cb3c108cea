"""The cast: a real server, a scripted model, and clients of its socket."""

from __future__ import annotations

import gc
import os
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.conf import settings
from django.test import override_settings
from xdist.scheduler import LoadFileScheduling

from tests.harness import zygote
from tests.harness.chat import Chat
from tests.harness.cluster import Cluster
from tests.harness.crashable import Crashable
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.people import Person, invite
from tests.harness.product import Product, copy_migrated_database
from tests.harness.slow_tests import mark_more_cases, mark_processes

# Containers often set it. Here a thousand processes start: each would compile every module again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# As in the product: imported modules stay, and to search them for garbage takes a tenth of the time.
gc.set_threshold(50_000, 20, 50)

# A machine that is busy with other tests is no reason to fail: these limits are for people who wait.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")


def pytest_configure() -> None:
    """On PostgreSQL: a test is one transaction, which may compute for long, and its threads may wait for long."""
    database = settings.DATABASES["default"]
    options = database.get("OPTIONS", {})
    if "pool" in options:
        options["options"] = options["options"].replace("session_timeout=5000", "session_timeout=600000")
        options["pool"] |= {"timeout": 60, "reconnect_timeout": 60}
        database["TEST"]["TEMPLATE"] = database["NAME"]  # whose tables are there: see `database_command`


CLUSTERS_OF_THEIR_OWN = ("test_infrastructure.py", "test_operations.py", "test_sign_in.py", "test_watching_over.py")


def uses_the_cluster(path: Path) -> bool:
    """Whether the tests of a file share the cluster of `cluster/conftest.py`."""
    return path.parent.name == "cluster" and path.name not in CLUSTERS_OF_THEIR_OWN


class FileScheduling(LoadFileScheduling):
    """A file's tests stay in one process, and those of all files that share the cluster in one: each would start it."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "cluster" if uses_the_cluster(Path(file)) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling | None:
    return FileScheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around all others: `-m`, and pytest-django, which sorts as well
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Mark what is slow. Long files first: a file stays in one process, and the last one should not be waited for."""
    mark_processes(items)
    weights: Counter[Path] = Counter()
    for item in items:
        if item.get_closest_marker("slow"):
            weights[item.path] += 8 if item.path.parent.name == "cluster" else 1
    mark_more_cases(items)  # which take no longer than others: they are many
    yield
    items.sort(key=lambda item: (not uses_the_cluster(item.path), -weights[item.path]))


def pytest_collection_finish() -> None:
    """What is there now stays: at its end pytest looks for garbage ten times, which took each process seven seconds."""
    gc.freeze()


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Begin with the tables of the migrated database: to migrate takes seconds in each test process."""
    return True


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """On SQLite, put a copy of the migrated database in the place of the test's."""
    if settings.EMBEDDED:
        target = Path(settings.DATABASES["default"]["TEST"]["NAME"])
        for old in target.parent.glob(f"{target.name}*"):
            old.unlink()
        copy_migrated_database(target)


@pytest.fixture(scope="session", autouse=True)
def quick_settings() -> Iterator[None]:
    """In this process, hashes that cost nothing, and no static files, which each test client looked for."""
    with override_settings(
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        SERVESTATIC_USE_FINDERS=False,
        SERVESTATIC_USE_STATIC_ROOT=False,
    ):
        yield


@pytest.fixture(scope="session", autouse=True)
def forked_servers() -> Iterator[None]:
    """Servers do not import the libraries each by itself."""
    with zygote.running():
        yield


@pytest.fixture(scope="session")
def model() -> Iterator[FakeModel]:
    """The scripted model server, one for all tests: scripts have names of their own."""
    with FakeModel() as running:
        yield running


@pytest.fixture(scope="module")
def collector() -> Iterator[Any]:
    """What collects the traces of a module's servers."""
    from tests.harness.fakes.collector import Collector  # OpenTelemetry is for those who ask for traces

    with Collector() as running:
        yield running


@pytest.fixture(scope="session")
def shared_product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product | Cluster]:
    """A server for tests that leave it as they found it: embedded, or a cluster where PRODUCT says so."""
    if os.environ.get("PRODUCT") == "cluster":
        with Cluster(web=2, workers=2) as cluster:
            yield cluster
            assert "Traceback" not in cluster.logged(), cluster.logged()[-5000:]
        return
    with Product(tmp_path_factory.mktemp("product") / "var") as running:
        yield running
        running.stop()
        assert "Traceback" not in running.logged(), running.logged()[-5000:]


@pytest.fixture
def product(shared_product: Product | Cluster) -> Product | Cluster:
    return shared_product


@pytest.fixture(scope="session")
def closed_product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A server where one has to sign in."""
    with Product(tmp_path_factory.mktemp("closed") / "var", AUTH_REQUIRED="true") as running:
        yield running
        running.stop()
        assert "Traceback" not in running.logged(), running.logged()[-5000:]


@pytest.fixture(scope="session")
def people(closed_product: Product) -> dict[str, Person]:
    """Who may sign in there: `boss`, an administrator, `ann` and `bob`; and "", who may not."""
    return invite(closed_product, "boss", "ann", "bob")


@pytest.fixture
def own_product(tmp_path: Path) -> Iterator[Product]:
    """A server of the test's own, to be killed and started again."""
    with Product(tmp_path / "var") as running:
        yield running


@pytest.fixture(scope="module")
def crashable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashable]:
    """A server that the module's tests kill. `CRASHABLE` in the module is what it adds to the environment."""
    with Crashable(tmp_path_factory.mktemp("crashable"), **getattr(request.module, "CRASHABLE", {})) as running:
        yield running


@pytest.fixture
def running(crashable: Crashable) -> Crashable:
    """The same, started again where the test before has killed it."""
    if not crashable.is_alive:
        crashable.start()
    return crashable


@pytest.fixture
def name() -> str:
    """A name that no other test uses: for an agent, its script and a session."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def agent(product: Product, model: FakeModel, name: str) -> Callable[..., str]:
    """Make an agent whose model plays the given turns; returns its name."""

    def make(*turns: list[dict], **fields: object) -> str:
        model.script(name, list(turns))
        product.add_agent(name, model.base_url, **fields)
        return name

    return make


@pytest.fixture
def open_chat(product: Product) -> Iterator[Callable[..., Chat]]:
    """Open sockets; they are closed at the end of the test."""
    chats: list[Chat] = []

    def connect(session: str, on: Product | None = None, **query: object) -> Chat:
        chat = Chat((on or product).socket_url(session, **query))
        chats.append(chat)
        return chat

    yield connect
    for chat in chats:
        chat.close()


@pytest.fixture(scope="session")
def chromium_url() -> Iterator[str]:
    """Where the browser of this test process is."""
    from tests.harness.pages.browser import Chromium  # Playwright is for those who ask for a page

    with Chromium() as running:
        yield running.url


@pytest.fixture(scope="module")
def open_lasting_page(chromium_url: str) -> Iterator[Callable[..., Any]]:
    """A function that opens a page in a real browser, for all tests of a module: see `tests.harness.pages.browser`."""
    from tests.harness.pages.browser import browser

    with browser(chromium_url) as open_page:
        yield open_page


@pytest.fixture(scope="module")
def tabs(open_lasting_page: Callable[..., Any]) -> Any:
    from tests.harness.pages.browser import Tabs

    return Tabs(open_lasting_page)


@pytest.fixture
def open_page(tabs: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens a page for one test: see `Tabs.borrow`. A page that is left open would go on working."""
    with tabs.borrow() as open_page:
        yield open_page


@pytest.fixture
def chat(product: Product, open_page: Callable[..., Any]) -> Callable[..., Any]:
    """A function that opens the page of a new session with an agent chosen."""
    from tests.harness.pages.chat_page import expect_connected

    def open_chat(agent: str, *, on: Product = product, **options: Any) -> Any:
        page = open_page(**options)
        page.goto(f"{on.url}/chat/")
        expect_connected(page)
        page.select_option("#agent", agent)
        return page

    return open_chat
