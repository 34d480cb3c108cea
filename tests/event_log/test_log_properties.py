"""The log under a hostile channel layer: whatever it drops, doubles, delays, reorders, all watchers read the same."""

import asyncio
import uuid
from dataclasses import dataclass, field

import orjson
import pytest
from channels.layers import InMemoryChannelLayer, channel_layers
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents_app import event_log
from agents_app.engine.events import Delta
from agents_app.engine.spec import Usage
from agents_app.event_log import following
from agents_app.event_log.vocabulary import Interrupted, ReasoningStep, Retry
from agents_app.models import Event, Run, Session
from agents_app.runs.frames import complete_data
from tests.harness.chat import Fold
from tests.harness.log_threads import database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both, pytest.mark.usefixtures("log_database")]


class HostileLayer(InMemoryChannelLayer):
    """Does to each batch what the script says: pass, drop, double, or hold it back until a later one."""

    def __init__(self, script: list[str]) -> None:
        super().__init__()
        self.script = script
        self.held: list[tuple[str, dict]] = []

    async def group_send(self, group: str, message: dict) -> None:
        fate = self.script.pop() if self.script else "pass"
        if fate == "hold":
            self.held.append((group, message))
            return
        if fate != "drop":
            await super().group_send(group, message)
        if fate == "double":
            await super().group_send(group, message)
        if fate == "release":
            for late in reversed(self.held):
                await super().group_send(*late)
            self.held.clear()


@dataclass
class Story:
    """What a run said, by the rule of the protocol: the expectation."""

    steps: dict[int, list] = field(default_factory=dict)

    def folded(self) -> list[tuple[str, str]]:
        return [(kind, text) for kind, text in self.steps.values()]


class Speaker:
    """Writes one run's events as the worker does."""

    def __init__(self, run_log: event_log.RunLog) -> None:
        self.log = run_log
        self.story = Story()
        self.step = 0
        self.length = 0

    async def act(self, action: tuple[str, str]) -> None:
        kind, text = action
        if kind == "delta":
            self.log.delta(Delta(self.step, "thought", 1, self.length, text))
            self.length += len(text)
            self.story.steps.setdefault(self.step, ["thought", ""])[1] += text
        elif kind == "finish":
            content = self.story.steps.setdefault(self.step, ["thought", ""])[1]
            data = ReasoningStep(step=self.step, type="thought", content=content, iteration=1, timestamp=0.0)
            self.log.add(data, replaces=(self.step,))
            self.step, self.length = self.step + 1, 0
        elif kind == "retry":
            self.log.add(Retry(step=self.step, attempt=1, reason="test", delay_ms=0), replaces=(self.step,))
            self.story.steps.pop(self.step, None)
            self.length = 0
        elif kind == "commit":
            await self.log.commit()
        elif kind == "foreign":  # somebody else writes into the session: a queued run that is cancelled
            await database.run(event_log.record, self.log.session_id, uuid.uuid4(), [Interrupted(message="", by="")])
        else:
            await asyncio.sleep(0.004)


class Watcher:
    """Follows the log, leaves after a few batches, comes back with its cursor."""

    def __init__(self, session_id: str, leaves: list[int]) -> None:
        self.session_id = session_id
        self.leaves = leaves
        self.fold = Fold()

    async def watch(self) -> None:
        while not self.fold.of_type("reasoning_complete"):
            stay = self.leaves.pop() if self.leaves else 10**9
            iterator = event_log.follow(self.session_id, self.fold.cursor)
            async for batch in iterator:
                for frame in batch:
                    self.fold.take(orjson.loads(frame.text))
                stay -= 1
                if stay <= 0 or self.fold.of_type("reasoning_complete"):
                    break
            await iterator.aclose()


def prepare(session_id: str) -> Run:
    session = Session.objects.create(pk=session_id)
    return Run.objects.create(
        session=session,
        number=1,
        agent_name="a",
        prompt="p",
        status="running",
        fence=1,
        started_at=timezone.now(),
    )


async def scenario(
    actions: list[tuple[str, str]], faults: list[str], leaves: list[list[int]]
) -> tuple[Story, list[Watcher]]:
    channel_layers.set("default", HostileLayer(faults))
    session_id = f"s-{uuid.uuid4().hex}"
    run = await database.run(prepare, session_id)
    writer = event_log.LogWriter()
    writer.start()
    speaker = Speaker(writer.open(run.pk, session_id, run.fence))
    watchers = [Watcher(session_id, plan) for plan in leaves]
    tasks = [asyncio.create_task(watcher.watch()) for watcher in watchers]
    for action in actions:
        await speaker.act(action)
    speaker.log.add(complete_data(run, "completed", Usage(), 1))
    await speaker.log.commit(status="completed", finished_at=timezone.now())
    async with asyncio.timeout(120):
        await asyncio.gather(*tasks)
    late = Watcher(session_id, [])
    await late.watch()
    await writer.stop()
    await database.run(check_log, session_id)
    return speaker.story, [*watchers, late]


def check_log(session_id: str) -> None:
    """The rows' ranges follow one another without a gap up to the session's number."""
    rows = Event.objects.filter(session=session_id).order_by("seq").values_list("first", "seq")
    end = 0
    for first, seq in rows:
        assert first == end + 1
        end = seq
    assert end == Session.objects.get(pk=session_id).last_seq


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["delta"] * 6 + ["finish", "retry", "commit", "pause", "pause", "foreign"]),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    ),
    max_size=60,
)
FAULTS = st.lists(st.sampled_from(["pass", "pass", "drop", "double", "hold", "release"]), max_size=60)
LEAVES = st.lists(st.lists(st.integers(1, 6), max_size=6), min_size=1, max_size=4)


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS, faults=FAULTS, leaves=LEAVES)
def test_every_watcher_folds_to_the_same_story_whatever_happens_to_batches(monkeypatch, actions, faults, leaves):
    monkeypatch.setattr(following, "WATCHDOG_INTERVAL", 0.02)
    monkeypatch.setattr(following, "_IN_FLIGHT", 0.005)
    layer = channel_layers["default"]
    try:
        story, watchers = asyncio.run(scenario(list(actions), list(faults), [list(plan) for plan in leaves]))
    finally:
        channel_layers.set("default", layer)
    for watcher in watchers:
        assert watcher.fold.story() == story.folded()
