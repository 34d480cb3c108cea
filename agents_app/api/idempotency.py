"""Start a run from a request, once for each Idempotency-Key."""

from typing import Any

from django.utils.crypto import salted_hmac
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from agents_app import runs
from agents_app.exceptions import Conflict, InvalidRequest
from agents_app.files.parts import are_same
from agents_app.models import Run, agent_names

LONGEST_KEY = 255
HEADER = OpenApiParameter(
    "Idempotency-Key", str, OpenApiParameter.HEADER, description="The same key returns the same run."
)


def start(request: Request, *, agent_name: str, options: dict[str, Any]) -> Run:
    """Start the run, or return the one that this user started with the same key.

    Raises:
        Conflict: the key was used for another request.
    """
    key = key_hash(request)
    if key:
        options = {"message_id": f"key-{key}", "session_id": f"s-{key[:32]}"} | options
    started = runs.start(runs.NewRun(user=request.user, agent_name=agent_name, trigger=Run.Trigger.API, **options))
    run = started.run
    run.budget_left = started.budget_left
    is_own = run.message_id == options.get("message_id")  # not a run in progress that took the message
    if key and not started.created and is_own and not _is_same(run, agent_name, options):
        raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
    return run


def _is_same(run: Run, agent_name: str, options: dict[str, Any]) -> bool:
    name, number, _ = agent_names.parse(agent_name)
    is_same_version = number is None or (run.agent_version and run.agent_version.number == number)
    is_same_message = run.prompt == options["message"] and are_same(run.parts, options.get("parts"))
    return is_same_message and run.agent_name == name and bool(is_same_version)


def key_hash(request: Request, scope: str = "") -> str:
    """Return a hash of this user's Idempotency-Key within a scope; empty if none was sent."""
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > LONGEST_KEY:
        raise InvalidRequest(f"'Idempotency-Key' must be 1 to {LONGEST_KEY} characters.", param="Idempotency-Key")
    # Keyed by SECRET_KEY, so that nobody can create the session of another user's key in advance.
    salt = f"agents_app.idempotency{scope}"
    return key and salted_hmac(salt, f"{request.user.pk}:{key}", algorithm="sha256").hexdigest()
