"""What the OpenAI-compatible door costs beside the WebSocket: the same load through both, in one run.

    python -m benchmarks.openai [--streams 40] [--seconds 10]

Three times the same streams at 50 tokens/s: over sockets; over /v1/chat/completions with a reader that costs little;
and with the official client, whose own decoding is in what it measures.
"""

import argparse
import asyncio
import os
import random
import re
import time
from typing import Any
from urllib.parse import urlsplit

import openai
import orjson

from benchmarks.stream import RATE, Bench, bench, in_process, percentiles, show, streams

_STAMP = re.compile(rb"\b\d{19}\b")


class ChunkReader(asyncio.Protocol):
    """One streamed completion, read with as little work as possible: only stamps and the end are looked for."""

    def __init__(self, url: str, body: bytes, ages: list[float]) -> None:
        self._url = urlsplit(url)
        self._body = body
        self._ages = ages
        self._rest = b""
        self.bytes = 0
        self.first_at = 0
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        head = (
            f"POST {self._url.path} HTTP/1.1\r\nHost: {self._url.netloc}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(self._body)}\r\n\r\n"
        )
        transport.write(head.encode() + self._body)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.time_ns()
        self.bytes += len(data)
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            for stamp in _STAMP.findall(event):
                self.first_at = self.first_at or now
                self._ages.append((now - int(stamp)) / 1e6)
            if event.endswith(b"[DONE]") and not self.done.done():
                self.done.set_result(True)
                self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(False)


def _request(agent: str) -> dict[str, Any]:
    return {"model": agent, "messages": [{"role": "user", "content": "go"}], "stream": True}


async def _read_all(url: str, agent: str, count: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    ages: list[float] = []
    body, parts = orjson.dumps(_request(agent)), urlsplit(url)
    started = time.time_ns()
    opened = [
        await loop.create_connection(lambda: ChunkReader(url, body, ages), parts.hostname, parts.port)
        for _ in range(count)
    ]
    readers = [reader for _, reader in opened]
    whole = await asyncio.gather(*(reader.done for reader in readers))
    took = (time.time_ns() - started) / 1e9
    return {
        "deltas": len(ages),
        "deltas_s": round(len(ages) / took),
        "age_ms": percentiles(ages),
        "first_ms": percentiles([(reader.first_at - started) / 1e6 for reader in readers]),
        "bytes_per_delta": round(sum(reader.bytes for reader in readers) / max(len(ages), 1)),
        "whole": all(whole),
        "client_cpu": round(time.process_time(), 2),
    }


async def _official(url: str, agent: str, count: int) -> dict[str, Any]:
    ages: list[float] = []
    async with openai.AsyncOpenAI(base_url=url, api_key="any", http_client=openai.DefaultAioHttpClient()) as client:

        async def read() -> None:
            async for chunk in await client.chat.completions.create(**_request(agent)):
                now = time.time_ns()
                text = chunk.choices[0].delta.content or ""
                ages.extend((now - int(stamp)) / 1e6 for stamp in text.split())

        started = time.monotonic()
        await asyncio.gather(*(read() for _ in range(count)))
        took = time.monotonic() - started
    return {
        "deltas": len(ages),
        "deltas_s": round(len(ages) / took),
        "age_ms": percentiles(ages),
        "client_cpu": round(time.process_time(), 2),
    }


def completions(b: Bench, reader: Any, path: str, count: int, seconds: float) -> dict[str, Any]:
    """`count` completions at 50 tokens/s each."""
    agent = f"door-{count}-{random.randrange(10**6)}"
    b.stamping_agent(agent, RATE, round(RATE * seconds))
    before = b.cpu()["server"]
    result = in_process(reader, f"{b.product.url}{path}", agent, count)
    used = b.cpu()["server"] - before
    result["server_us_per_delta"] = round(used * 1e6 / max(result["deltas"], 1))
    result["expected"] = round(RATE * seconds) * count
    return {"streams": count, **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with bench() as b:
        streams(b, 2, 1)  # warm
        completions(b, _read_all, "/v1/chat/completions", 2, 1)
        show("socket", streams(b, options.streams, options.seconds))
        show("chunks", completions(b, _read_all, "/v1/chat/completions", options.streams, options.seconds))
        show("official", completions(b, _official, "/v1", options.streams, options.seconds))


if __name__ == "__main__":
    main()
