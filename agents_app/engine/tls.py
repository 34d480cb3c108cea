"""The TLS context of all HTTP clients in this process."""

import functools
import ssl

import httpx2


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """Return one context for all clients: loading the certificate authorities takes 20 ms."""
    return httpx2.create_ssl_context()
