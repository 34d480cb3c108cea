"""How we talk to the servers of models, whichever SDK makes the request."""

import functools
import ssl
from collections.abc import AsyncIterator

import httpx2

from agents_app.exceptions import ModelError

TIMEOUT = httpx2.Timeout(connect=10.0, read=180.0, write=30.0, pool=30.0)
LIMITS = httpx2.Limits(max_connections=4000, max_keepalive_connections=200, keepalive_expiry=30.0)
# Building a request keeps the loop for 1.6 ms: more than a few at once would stall the tokens of all others.
STARTS_AT_ONCE = 8


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """One for all clients: reading the certificate authorities takes 20 ms."""
    return httpx2.create_ssl_context()


def require_stream(content_type: str) -> None:
    """See that the answer is no web page.

    Raises:
        ModelError: it is one.
    """
    if content_type.startswith("text/html"):
        raise ModelError(
            "The model's server answered with a web page: is the provider's base_url right?",
            code="model_bad_answer",
        )


def reads(response: httpx2.Response) -> AsyncIterator[bytes]:
    """What each read of the socket brings: from aiohttp's own reader where it can be had, at two thirds the cost."""
    reader = getattr(getattr(getattr(response, "stream", None), "_stream", None), "_aiohttp_response", None)
    if reader is not None and not response.headers.get("content-encoding"):
        return reader.content.iter_any()
    return response.aiter_bytes()
