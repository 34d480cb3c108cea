"""How a serving process begins and ends: with the worker in it where it is embedded, else without."""

from django.conf import settings

from agents_app import dispatch, embedded, live, servers


async def start() -> None:
    """Begin, once; every request may ask for it.

    Raises:
        ImproperlyConfigured: another process serves this embedded database.
    """
    live.attach()
    if settings.EMBEDDED:
        await embedded.start()


async def stop() -> None:
    """Stop taking work, write everything down, and end the processes that we have started."""
    if settings.EMBEDDED:
        await embedded.stop()
    else:
        dispatch.set_draining()
    await servers.close()
