"""Try a provider: does it answer, and with which models?"""

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson

from agents_app.engine.providers.anthropic_request import api_root
from agents_app.engine.providers.anthropic_thinking import OLD_VERSION
from agents_app.engine.providers.local import model_path
from agents_app.engine.web import metadata_guard
from agents_app.exceptions import RunFailed
from agents_app.models import Provider

TIMEOUT = 10.0  # seconds, for the whole check
_MAX_RESPONSE = 8 * 1024 * 1024
_MAX_MODELS = 2000


@dataclass(frozen=True, slots=True)
class Check:
    """The result of trying a provider. If not `ok`, `message` says what is wrong."""

    ok: bool
    message: str
    models: list[str]
    duration_ms: int


class _Failed(Exception):
    """The provider does not work; the text says why."""


def check(provider: Provider) -> Check:
    """Ask the provider for its models. Never raises: a failure is a result too."""
    started = time.monotonic()
    try:
        models = _local_models() if provider.kind == Provider.Kind.LOCAL else _listed_models(provider)
        ok, message = True, f"It answers, with {len(models)} model{'' if len(models) == 1 else 's'}."
    except (_Failed, RunFailed) as error:
        models, ok, message = [], False, str(error)
    return Check(ok, message, models, round((time.monotonic() - started) * 1000))


def _local_models() -> list[str]:
    return [model_path().stem]


def _listed_models(provider: Provider) -> list[str]:
    if provider.api_key_env and not provider.secret():
        raise _Failed(f"The environment variable {provider.api_key_env} is not set.")
    try:
        body = _get(_url(provider), _headers(provider))
    except httpx2.TimeoutException:
        raise _Failed(f"The server did not answer within {TIMEOUT:.0f} seconds.") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise _Failed(f"The server cannot be reached: {str(error)[:200] or type(error).__name__}.") from None
    return _names(body)


def _url(provider: Provider) -> str:
    if provider.kind == Provider.Kind.ANTHROPIC:
        return f"{api_root(provider.base_url)}/v1/models?limit=1000"
    return f"{provider.base_url.rstrip('/')}/models"


def _headers(provider: Provider) -> dict[str, str]:
    key = provider.secret()
    if provider.kind == Provider.Kind.ANTHROPIC:
        return ({"x-api-key": key} if key else {}) | {"anthropic-version": OLD_VERSION} | provider.headers
    return ({"Authorization": f"Bearer {key}"} if key else {}) | provider.headers


def _get(url: str, headers: dict[str, str]) -> bytes:
    """Return the body of a 200. Neither a slow nor an endless response takes longer than TIMEOUT."""
    deadline = time.monotonic() + TIMEOUT
    guard = {"trace": metadata_guard.trace}
    with httpx2.Client(timeout=TIMEOUT, follow_redirects=False) as client:
        request = client.build_request("GET", url, headers=headers, extensions=guard)
        return _body(client.send(request, stream=True), deadline)


def _body(response: httpx2.Response, deadline: float) -> bytes:
    body = bytearray()
    with contextlib.closing(response):
        if response.status_code in (401, 403):
            raise _Failed("The server refused the API key.")
        if response.status_code != 200:
            raise _Failed(f"The server answered {response.status_code}: is the base_url right?")
        for piece in response.iter_bytes():
            body += piece
            if time.monotonic() > deadline or len(body) > _MAX_RESPONSE:
                raise _Failed("The server's list of models does not end.")
    return bytes(body)


def _names(body: bytes) -> list[str]:
    """Return the ids in a list of models, which has the same form in OpenAI's and in Anthropic's API."""
    try:
        models: Any = orjson.loads(body)["data"]
        return [str(model["id"]) for model in models[:_MAX_MODELS]]
    except (ValueError, KeyError, TypeError):
        raise _Failed("The server's response is not a list of models: is the base_url right?") from None
