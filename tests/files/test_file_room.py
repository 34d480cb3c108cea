"""Runs share the room for encoded files: in turn, and whoever gives up waits no more."""

import asyncio
from types import SimpleNamespace

import pytest

from agents_app.engine.providers.file_parts import RenderedFile
from agents_app.engine.spec import FilePart, Message, ModelSpec
from agents_app.worker import file_contents, file_room, files
from agents_app.worker.file_room import Room


def test_room_is_given_in_turn_and_never_more_than_there_is():
    async def story() -> None:
        room, order = Room(100), []

        async def take(name: str, size: int) -> int:
            taken = await room.take(size)
            order.append(name)
            return taken

        assert await take("first", 60) == 60
        waiting = [
            asyncio.create_task(take(name, size)) for name, size in (("large", 1000), ("gone", 50), ("small", 10))
        ]
        await asyncio.sleep(0)
        assert order == ["first"]  # the small one would fit, but then the large one might wait for ever
        waiting[1].cancel()
        room.give(60)
        assert await waiting[0] == 100
        room.give(100)
        assert await waiting[2] == 10
        assert order == ["first", "large", "small"]

        blocked = asyncio.create_task(room.take(100))
        await asyncio.sleep(0)
        blocked.cancel()
        room.give(10)
        with pytest.raises(asyncio.CancelledError):
            await blocked
        assert await room.take(100) == 100  # what was granted to a task that was cancelled is free again

    asyncio.run(story())


def test_runs_with_pictures_wait_for_those_that_send_theirs(monkeypatch):
    size = 15 * 2**20
    row = SimpleNamespace(media_type="image/png", size=size, name="", owner_id=1)

    async def native(*_: object) -> RenderedFile:
        return RenderedFile("image", 1, json=bytes(size * 4 // 3))

    async def rows(*_: object) -> dict:
        return {"a": row}

    monkeypatch.setattr(file_contents, "native", native)
    monkeypatch.setattr(file_contents.threads, "run", rows)
    message = Message("user", "", parts=(FilePart("a", "image/png", "", size),))

    async def story() -> None:
        spec = ModelSpec("openai", "http://model", "", (), "m", 100_000)
        runs = [files.RunFiles(spec, ["text", "image"], 1) for _ in range(8)]
        tasks = [asyncio.create_task(run.render([message], (), 1.0)) for run in runs]
        for number in range(3):
            await asyncio.wait(tasks[: 6 + number], return_when=asyncio.ALL_COMPLETED, timeout=10)
            assert sum(task.done() for task in tasks) == min(8, 6 + number)
            runs[number].release()
            runs[number].release()
        assert tasks[0].result()["a"].json == b""
        assert len(tasks[7].result()["a"].json) == size * 4 // 3
        assert file_room.room()._free == file_room.MOST_BYTES - 5 * size * 4 // 3

    asyncio.run(story())
