"""How a serving process begins and ends: with the worker in it where it is embedded, else without."""

import asyncio

from django.conf import settings

from agents_app import dispatch, embedded, live, mcp_server, presence, servers, traces


async def start() -> None:
    """Begin, once; every request may ask for it.

    Raises:
        ImproperlyConfigured: another process serves this embedded database.
    """
    live.attach()
    traces.start("aintandem-serve", settings.VERSION)
    if settings.EMBEDDED:
        await embedded.start()
    else:
        presence.announce("web")


async def stop() -> None:
    """Stop taking work, write everything down, and end the processes that we have started."""
    if settings.EMBEDDED:
        await embedded.stop()
    else:
        dispatch.set_draining()
    await mcp_server.close()
    await servers.close()
    await asyncio.to_thread(traces.stop)
