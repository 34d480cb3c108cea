"""What `make test-fast` leaves out, and what it keeps."""

import subprocess

import pytest

from tests.harness.fakes import simple_mcp_server
from tests.harness.paths import ROOT
from tests.harness.people import invite, shell
from tests.harness.product import Product, migrated
from tests.harness.slow_tests import reaches_a_start


def begins_a_server(folder):
    with Product(folder):
        pass


def begins_one_far_below(folder):
    return begins_a_server(folder)


def runs_a_program():
    subprocess.run(["true"], check=True)


def computes(product: Product):
    return migrated("sqlite3"), simple_mcp_server.PIXEL


@pytest.mark.parametrize("function", [begins_a_server, begins_one_far_below, runs_a_program, invite, shell])
def test_what_starts_a_process_is_seen(function):
    assert reaches_a_start(function)


def test_what_only_computes_is_not():
    assert not reaches_a_start(computes)


def test_each_package_has_tests_that_take_a_moment(request):
    """Holds where the whole of the tests is collected, with or without `-m 'not slow'`."""
    packages = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    collected = {item.path.parent.name for item in request.session.items}
    quick = {item.path.parent.name for item in request.session.items if not item.get_closest_marker("slow")}
    if collected >= packages - {"cluster"}:
        assert quick == packages - {"cluster"}
