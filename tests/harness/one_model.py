"""An agent of one model, for tests that drive the engine by hand."""

from typing import Any

from agents_app.engine.fallbacks import CLOSED, Fallbacks, OpenModel
from agents_app.engine.spec import AgentSpec, ModelSpec


class _NoCircuits:
    async def state(self, spec: ModelSpec) -> str:
        return CLOSED

    async def succeeded(self, spec: ModelSpec, state: str) -> None:
        pass

    failed = succeeded


async def _no_other(choice: Any) -> OpenModel:
    raise AssertionError("the agent has one model")


def only(spec: AgentSpec, model: Any) -> Fallbacks:
    return Fallbacks(OpenModel(spec.model, model), [], _no_other, _NoCircuits())
