"""The model that comes with the installation."""

import asyncio
import sys

import pytest

from agents_app.engine.providers.local import open_local_model
from agents_app.engine.spec import ModelSpec
from agents_app.exceptions import RunFailed

SPEC = ModelSpec("local", "", "", (), "any", 8192)


def test_an_engine_that_cannot_be_loaded_is_a_failure_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    with pytest.raises(RunFailed, match="install the package libgomp1") as failure:
        asyncio.run(open_local_model(SPEC))
    assert failure.value.code == "local_model_broken"
