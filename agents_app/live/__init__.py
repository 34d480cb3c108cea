"""The live path: publish committed frames through the channel layer, and hand them to the watchers of this process."""

from agents_app.live.frames import Frame, merge, now
from agents_app.live.hub import Hub, hub
from agents_app.live.publishing import attach, end_soon, publish, publish_soon

__all__ = [
    "Frame",
    "Hub",
    "attach",
    "end_soon",
    "hub",
    "merge",
    "now",
    "publish",
    "publish_soon",
]
