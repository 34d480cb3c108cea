"""How a serving process begins and ends: with the worker in it where it is embedded, else without."""

import asyncio

from django.conf import settings

from agents_app import live, mcp_server, queue
from agents_app.integrations import mcp_servers
from agents_app.live import processes
from agents_app.observability import tracing
from agents_app.server import embedded


async def start() -> None:
    """Begin, once; every request may ask for it.

    Raises:
        ImproperlyConfigured: another process serves this embedded database.
    """
    live.attach()
    tracing.start("aintandem-serve", settings.VERSION)
    if settings.EMBEDDED:
        await embedded.start()
    else:
        processes.announce("web")


async def stop() -> None:
    """Stop taking work, write everything down, and end the processes that we have started."""
    if settings.EMBEDDED:
        await embedded.stop()
    else:
        queue.set_draining()
    await mcp_server.close()
    await mcp_servers.close()
    await asyncio.to_thread(tracing.stop)
