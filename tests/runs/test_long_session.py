"""A session of a thousand runs: the event loop, and with it everybody's tokens, does not wait for its history."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.harness.chat import Chat
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.people import shell
from tests.harness.product import Product
from tests.harness.stalls_serve import STALLS
from tests.harness.wait import until

RUNS, CHARACTERS, WINDOW = 1000, 1600, 400_000
MOST = 0.005  # seconds of processor time more than in a new session
_FILL = """
from django.utils import timezone
from agents_app.models import Agent, Run, Session
session, agent = Session.objects.get(name="long"), Agent.objects.get(name="helper")
Run.objects.bulk_create([
    Run(session=session, number=number, agent=agent, agent_name="helper", status="completed", prompt=f"{{number}}",
        result="word " * ({characters} // 5), finished_at=timezone.now())
    for number in range(2, {runs})])
Session.objects.filter(pk=session.pk).update(run_count={runs})
agent.provider.context_tokens = {window}
agent.provider.save()
"""


class _Product(Product):
    def command(self, *arguments: str) -> list[str]:
        if arguments[0] == "serve":
            return [sys.executable, "-m", "tests.harness.stalls_serve", *arguments]
        return super().command(*arguments)

    def longest(self) -> float:
        file = Path(self.environment[STALLS])
        file.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        until(file.exists)
        return float(file.read_text())


@pytest.fixture
def product(tmp_path: Path):
    with _Product(tmp_path / "var", **{STALLS: str(tmp_path / "stalls")}) as running:
        yield running


@pytest.mark.slow
def test_the_loop_does_not_compute_longer_in_a_long_session(product: _Product, model: FakeModel):
    model.script("helper", [[{"text": "Yes."}]])
    product.add_agent("helper", model.base_url, compaction="off")
    for session in ("long", "warm", "warmer"):
        ask(product, session)
    shell(product, _FILL.format(runs=RUNS, characters=CHARACTERS, window=WINDOW))
    product.longest()
    ask(product, "new")
    usual = product.longest()
    for _ in range(2):  # the first reads and encodes the history
        ask(product, "long")
        assert product.longest() < usual + MOST
    request = model.requests("helper")[-1]
    assert len(request["messages"]) > 300 and sum(len(m["content"]) for m in request["messages"]) > 250_000


def ask(product: _Product, session: str) -> None:
    with contextlib.closing(Chat(product.socket_url(session), timeout=120)) as chat:
        chat.ask("And?", agent_name="helper")
