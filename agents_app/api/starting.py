"""Starting a run from a request, once for each Idempotency-Key."""

from typing import Any

from django.utils.crypto import salted_hmac
from rest_framework.request import Request

from agents_app import runs
from agents_app.exceptions import Conflict, InvalidRequest
from agents_app.models import Run

LONGEST_KEY = 255


def start(request: Request, *, agent_name: str, wanted: dict[str, Any]) -> Run:
    """The run that was asked for; the same key of the same user names the same run.

    Raises:
        Conflict: the key was used for another request.
    """
    if key := _key(request):
        # From the secret key, so that nobody can take the session of somebody else's key beforehand.
        mark = salted_hmac("agents_app.idempotency", f"{request.user.pk}:{key}", algorithm="sha256").hexdigest()
        wanted = {"message_id": f"key-{mark}", "session_id": f"s-{mark[:32]}"} | wanted
    started = runs.start(user=request.user, agent_name=agent_name, trigger=Run.Trigger.API, **wanted)
    run = started.run
    if key and not started.created and (run.prompt, run.agent_name) != (wanted["message"], agent_name):
        raise Conflict("This Idempotency-Key was used for another request.", code="idempotency_key_reused")
    return run


def _key(request: Request) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > LONGEST_KEY:
        raise InvalidRequest(f"'Idempotency-Key' must be 1 to {LONGEST_KEY} characters.", param="Idempotency-Key")
    return key
