"""The model that comes with the installation."""

import asyncio
import sys
from pathlib import Path

import pytest

from agents_app.engine.providers import local
from agents_app.engine.providers.base import ModelRequest
from agents_app.engine.providers.local import open_local_model
from agents_app.engine.providers.openai import OpenAIModel
from agents_app.engine.questions import ASK_USER
from agents_app.engine.spec import ModelSpec, Parameters
from agents_app.exceptions import RunFailed

SPEC = ModelSpec("local", "", "", (), "any", 8192)


def test_an_engine_that_cannot_be_loaded_is_a_failure_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)

    with pytest.raises(RunFailed, match="install the package libgomp1") as failure:
        asyncio.run(open_local_model(SPEC))
    assert failure.value.code == "local_model_broken"


@pytest.mark.parametrize(
    ("path", "tools", "limits"), [("", 0, {None: 512, 100: 100, 4000: 512}), ("/own.gguf", 1, {None: None, 4000: 4000})]
)
def test_only_the_demonstration_model_is_kept_from_tools_and_long_answers(monkeypatch, path, tools, limits):
    """Agents need not be tuned for it."""
    requests = []
    monkeypatch.setattr(local, "model_path", lambda: Path("model.gguf"))
    monkeypatch.setattr(local, "_start", lambda _path: ("http://127.0.0.1:9/v1", "key"))
    monkeypatch.setattr(OpenAIModel, "stream", lambda _model, request: requests.append(request))
    monkeypatch.setenv("LOCAL_MODEL_PATH", path)
    model = asyncio.run(open_local_model(SPEC))
    for max_tokens in limits:
        model.stream(ModelRequest("any", "", (), (ASK_USER,), Parameters(max_tokens=max_tokens)))
    assert [len(request.tools) for request in requests] == [tools] * len(limits)
    assert [request.parameters.max_tokens for request in requests] == list(limits.values())
