"""Links to a run and what belongs to it."""

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.models import Run


def accepted_response(request: Request, run: Run) -> Response:
    """Return 202 with links: the run continues in the background."""
    session_id = run.session.address_for(request.user)
    links = _run_links(request, run, session_id)
    body = {"run_id": str(run.pk), "session_id": session_id, "status": run.status, "links": links}
    return Response(body, status=202, headers={"Location": links["run"]})


def _run_links(request: Request, run: Run, session_id: str) -> dict[str, str]:
    """Return the absolute URLs of a run."""
    paths = {
        "run": reverse("run-detail", args=[run.pk]),
        "steps": reverse("run-steps", args=[run.pk]),
        "events": reverse("run-events", args=[run.pk]),
        "cancel": reverse("run-cancel", args=[run.pk]),
        "session": reverse("session-detail", args=[session_id]),
    }
    return {name: request.build_absolute_uri(path) for name, path in paths.items()}
