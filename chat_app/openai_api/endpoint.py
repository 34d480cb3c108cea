"""The view of each endpoint: authentication, JSON, and errors as OpenAI's clients expect them."""

from collections.abc import Callable, Coroutine
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed, NotAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from agents_app.access import limits
from agents_app.api.base import JSONView, release_request
from agents_app.api.error_responses import error_response
from agents_app.api.errors import exception_handler
from agents_app.database.errors import storage_errors
from agents_app.database.threads import DatabaseThreads
from agents_app.exceptions import AgentError, AgentNotFound, BudgetReached, Conflict
from agents_app.models import Run

database = DatabaseThreads("openai", 2)

Handler = Callable[..., Coroutine[Any, Any, HttpResponseBase]]
_RUN_STATUS = {
    "agent_not_found": 404,
    "budget_reached": 429,
    "context_length_exceeded": 400,
    "run_cancelled": 409,
    "unsupported_response_format": 400,
    "model_rate_limited": 503,
    "model_stream_cut": 503,
    "model_timeout": 503,
    "model_unavailable": 503,
    "model_unreachable": 503,
}


class RunNotCompleted(AgentError):
    """The run failed or was cancelled before anything was answered."""

    def __init__(self, run: Run) -> None:
        super().__init__(failure(run)["message"], code=failure(run)["code"])
        self.run = run


def failure(run: Run) -> dict[str, Any]:
    """Return why a run did not complete, as OpenAI's error object."""
    if run.status == Run.Status.CANCELLED:
        return {"message": "The run was cancelled.", "type": "server_error", "param": None, "code": "run_cancelled"}
    return {"message": run.error, "type": "server_error", "param": None, "code": run.error_code}


def endpoint(**handlers: Handler) -> Handler:
    """Return the view of one URL, from the handler of each method."""

    @csrf_exempt
    async def view(request: HttpRequest, **captured: Any) -> HttpResponseBase:
        drf_request = JSONView().initialize_request(request)
        try:
            method = "get" if request.method == "HEAD" else str(request.method).lower()
            if method not in handlers:
                raise MethodNotAllowed(str(request.method))
            return await handlers[method](drf_request, **captured)
        except Exception as error:  # as in DRF: an error without an answer is raised again
            if isinstance(error, RunNotCompleted):
                return _run_not_completed(error, drf_request.user)
            answer = exception_handler(error, {})
            if answer is None:
                raise
            headers = {"Allow": ", ".join(handlers).upper()} if isinstance(error, MethodNotAllowed) else {}
            headers |= _headers(answer)
            return _translated(error, JsonResponse(answer.data, status=answer.status_code, headers=headers))
        finally:
            release_request(drf_request)

    return view


def caller(request: Request) -> Any:
    """Return the user that makes the request.

    Raises:
        NotAuthenticated, AuthenticationFailed: there is none.
        RateLimited: too many requests.
    """
    with storage_errors():
        limits.take_request_from(request)
        if not request.user.is_authenticated:
            raise NotAuthenticated()
        limits.take_request(request.user)
        return request.user


def add_run_headers(response: HttpResponseBase, run: Run, user: Any) -> HttpResponseBase:
    """Add the ids of the run and its session to the response. `user`: who gets it."""
    response["X-Run-Id"] = str(run.pk)
    response["X-Session-Id"] = run.session.address_for(user)
    if left := run.budget_left:
        if left.money is not None:
            response["x-budget-remaining"] = f"{left.money:.6f}"
        if left.tokens is not None:
            response["x-budget-remaining-tokens"] = str(left.tokens)
    return response


def _run_not_completed(error: RunNotCompleted, user: Any) -> HttpResponseBase:
    param = "response_format" if error.code == "unsupported_response_format" else None
    response = error_response(_RUN_STATUS.get(error.code, 500), str(error), error.code, param=param)
    response["x-should-retry"] = "false"  # its tools were called, and the server has retried already
    return add_run_headers(response, error.run, user)


def _headers(answer: Response) -> dict[str, str]:
    return {name: value for name, value in answer.items() if name != "Content-Type"}


def _translated(error: Exception, response: JsonResponse) -> JsonResponse:
    if isinstance(error, AgentNotFound):
        text = f"{error} A model is the name of an agent: see /v1/models."
        response = error_response(404, text, "model_not_found", param="model")
    if isinstance(error, MethodNotAllowed | Conflict | BudgetReached):
        response["x-should-retry"] = "false"
    if isinstance(error, NotAuthenticated | AuthenticationFailed):
        response["WWW-Authenticate"] = "Bearer"
    return response
