"""Connections and runs leave no reference cycles: a server that rarely searches for them would grow for days."""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.harness.chat import Chat
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.garbage_serve import GARBAGE
from tests.harness.product import Product
from tests.harness.wait import until

TIMES = 40


class _Product(Product):
    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.harness.garbage_serve", *arguments]

    def garbage(self) -> dict[str, int]:
        file = Path(self.environment[GARBAGE])
        file.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        until(file.exists)
        return json.loads(file.read_text())


@pytest.fixture
def product(tmp_path: Path):
    with _Product(tmp_path / "var", **{GARBAGE: str(tmp_path / "garbage.json")}) as running:
        yield running


def test_closed_connections_and_ended_runs_are_freed_at_once(product: _Product, model: FakeModel):
    model.script("helper", [[{"text": "Hello."}]])
    product.add_agent("helper", model.base_url)
    visit(product, 0)
    product.garbage()  # of the start, and of what is made once
    for number in range(1, TIMES + 1):
        visit(product, number)
    left = {name: count for name, count in product.garbage().items() if count >= TIMES and not is_plain(name)}
    assert not left


def visit(product: _Product, number: int) -> None:
    with contextlib.closing(Chat(product.socket_url(f"s-{number}", after=0))) as chat:
        chat.ask("Hi", agent_name="helper")


def is_plain(name: str) -> bool:
    """Lists, functions and the like, of which each request to Django leaves some."""
    return name.startswith("builtins.")
