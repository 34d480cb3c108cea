"""The channel layer: publish what is committed, and hand it to the watchers of this process."""

from agents_app.live.hub import Frame, Hub, attach, hub, merged, now, publish, publish_soon

__all__ = [
    "Frame",
    "Hub",
    "attach",
    "hub",
    "merged",
    "now",
    "publish",
    "publish_soon",
]
