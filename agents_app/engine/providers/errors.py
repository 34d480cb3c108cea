"""Translate errors of the models' SDKs into our exceptions. The SDKs have the same names for them."""

import contextlib
import datetime
import email.utils
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import aiohttp
import httpx2

from agents_app.engine.providers import failures
from agents_app.exceptions import ModelError, ModelUnavailable
from agents_app.foreign_text import clean

logger = logging.getLogger(__name__)

_MAX_BODY = 256 * 1024  # bytes of an error
_MAX_REASON = 400
_MIN_SECRET = 6  # shorter ones are placeholders such as "none", and may be words of the message


def secrets_among(values: Iterable[str]) -> list[str]:
    """Return the values that must not appear in any message."""
    return [value for value in values if len(value) >= _MIN_SECRET]


@contextlib.contextmanager
def without_secrets(secrets: list[str]) -> Iterator[None]:
    """Remove secrets from errors, and shorten them: a server's error may repeat our key and be pages long."""
    try:
        yield
    except ModelError as error:
        text = clean(str(error))
        for secret in secrets:
            text = text.replace(secret, "***")
        text, _, traceback = text.partition("Traceback (most recent call last)")
        text = " ".join(text.split())[:_MAX_REASON]
        text = text.rstrip(" :") if traceback else text
        error.args = (text if text.endswith((".", "?", "!")) else f"{text}.",)
        raise


@contextlib.contextmanager
def translated_errors(
    sdk: ModuleType, any_error: type[Exception], status_error: Callable[[Any], ModelError]
) -> Iterator[None]:
    """Translate an SDK's errors. `any_error` is the base of them all; `status_error` translates an error status."""
    try:
        yield
    except sdk.APIStatusError as error:
        raise status_error(error) from error
    except (sdk.APITimeoutError, httpx2.TimeoutException, TimeoutError) as error:
        if was_disconnected(error) or isinstance(error.__cause__, httpx2.ConnectError):
            raise _unreachable() from error
        raise ModelUnavailable("The model's server did not answer in time.", code="model_timeout") from error
    except (sdk.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
        raise _unreachable() from error
    except any_error as error:
        logger.warning("The model's client rejected a request: %r", error)
        raise ModelError("The request to the model could not be made.") from error


def _unreachable() -> ModelUnavailable:
    return ModelUnavailable("The connection to the model's server failed.", code="model_unreachable")


def was_disconnected(error: BaseException | None) -> bool:
    """Whether the server disconnected: the SDKs' aiohttp transport reports that as a time-out."""
    while error is not None:
        if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | ConnectionError):
            return True
        error = error.__cause__
    return False


def of_response(response: httpx2.Response, fallback: object) -> ModelError:
    """Return the error for a response with an error status. `fallback`: its body as the SDK has it."""
    return failures.of_status(response.status_code, body_of(response, fallback), _retry_after(response.headers))


def body_of(response: httpx2.Response, fallback: object) -> Any:
    """Return the text of an error's body."""
    try:
        return response.content[:_MAX_BODY].decode(errors="replace")
    except httpx2.ResponseNotRead:
        return fallback


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Return the seconds of `retry-after-ms` or `retry-after`, which is a number or a date."""
    try:
        if value := headers.get("retry-after-ms"):
            seconds = float(value) / 1000
        else:
            seconds = _seconds(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _seconds(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        at = email.utils.parsedate_to_datetime(value)
        return (at.replace(tzinfo=at.tzinfo or datetime.UTC) - datetime.datetime.now(datetime.UTC)).total_seconds()
