"""Open the models of a run: the agent's first one, and those that answer where it cannot."""

import asyncio
from collections.abc import AsyncIterator

from agents_app.engine import providers
from agents_app.engine.fallbacks import Fallbacks, OpenModel
from agents_app.engine.providers import ModelRequest
from agents_app.engine.providers.base import Part
from agents_app.engine.spec import AgentSpec, Conversation, ModelChoice
from agents_app.exceptions import ModelError, RunFailed
from agents_app.runs.circuits import circuits
from agents_app.worker.files import RunFiles


async def open_models(spec: AgentSpec, conversation: Conversation, owner_id: int | None) -> Fallbacks:
    """Return the agent's models, of which the first is open. `owner_id`: whose files the run may read.

    Raises:
        RunFailed: the agent has one model only, which cannot be opened.
    """

    async def open_model(choice: ModelChoice) -> OpenModel:
        files = RunFiles(choice.model, choice.accepts, owner_id)
        try:
            model = await providers.open_model(choice.model)
        except RunFailed as error:
            return OpenModel(choice.model, _Closed(error), files)
        if choice is not first and conversation.history:  # the claim encoded it for the first one
            await asyncio.to_thread(providers.encode_history, choice.model, conversation.history)
        return OpenModel(choice.model, model, files)

    first, *others = spec.choices
    return Fallbacks(await open_model(first), others, open_model, circuits)


class _Closed:
    """A model that cannot be opened: it fails each request."""

    def __init__(self, error: RunFailed) -> None:
        self._error = error

    async def stream(self, request: ModelRequest) -> AsyncIterator[list[Part]]:
        """See `Model.stream`."""
        yield await self._fail()

    async def _fail(self) -> list[Part]:
        raise ModelError(str(self._error), code=self._error.code)
