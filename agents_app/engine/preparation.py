"""Imports that a start puts off: half a second that the first run should not wait for."""

import importlib

from agents_app.engine import providers


def prepare() -> None:
    """Import the SDK that most models need, and the validator of tool arguments."""
    importlib.import_module("agents_app.engine.foreign_schema")
    providers.prepare()
