"""Questions between processes, through the channel layer: any process asks, every process may answer."""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from channels.layers import get_channel_layer

from agents_app.live import layer

logger = logging.getLogger(__name__)

Handler = Callable[[Any], list[Any]]


class Questions:
    """The questions of this process, and its answers to those of others.

    `listen` joins the groups of this process and returns its channel, or None while the channel layer fails.
    """

    def __init__(self, listen: Callable[[], Awaitable[str | None]]) -> None:
        self._listen = listen
        self._handlers: dict[str, Handler] = {}
        self._answers: dict[str, list[Any]] = {}
        self._echoes: dict[str, asyncio.Future[None]] = {}

    @property
    def has_handlers(self) -> bool:
        return bool(self._handlers)

    async def handle(self, question: str, handler: Handler) -> None:
        """Let `handler` answer a question that any process asks with `ask`."""
        self._handlers[question] = handler
        await self._listen()

    async def ask(self, question: str, argument: Any = None, *, wait: float = 0.3) -> list[Any]:
        """Return what all processes answer within `wait` seconds.

        The number of processes is unknown, so this always waits the whole time.
        """
        channel = await self._listen()
        request_id = uuid.uuid4().hex
        answers = self._answers[request_id] = []
        body = orjson.dumps({"question": question, "argument": argument, "id": request_id, "reply_to": channel})
        try:
            async with asyncio.timeout(layer.TIMEOUT):
                await get_channel_layer().group_send(layer.ALL_HUBS, {"type": "question", "body": body})
            await asyncio.sleep(wait)
        finally:
            del self._answers[request_id]
        return answers

    async def layer_works(self) -> bool:
        """Return whether a message that this process sends itself through the layer comes back."""
        channel = await self._listen()
        if channel is None:
            return False
        request_id = uuid.uuid4().hex
        echo = self._echoes[request_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(layer.TIMEOUT):
                await get_channel_layer().send(channel, {"type": "echo", "id": request_id})
                await echo
        except Exception as error:  # whatever the layer's backend raises
            logger.debug("The channel layer does not answer: %r", error)
            return False
        finally:
            del self._echoes[request_id]
        return True

    async def receive(self, message: dict[str, Any]) -> None:
        """Take a message of the channel layer: a question, an answer or an echo."""
        match message["type"]:
            case "question":
                await self._answer(orjson.loads(message["body"]))
            case "answer":
                answer = orjson.loads(message["body"])
                self._answers.get(answer["id"], []).extend(answer["rows"])
            case "echo":
                if (echo := self._echoes.get(message["id"])) and not echo.done():
                    echo.set_result(None)

    async def _answer(self, request: dict[str, Any]) -> None:
        if handler := self._handlers.get(request["question"]):
            body = orjson.dumps({"id": request["id"], "rows": handler(request["argument"])})
            await get_channel_layer().send(request["reply_to"], {"type": "answer", "body": body})
