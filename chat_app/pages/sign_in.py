"""Sign in and out, for browsers."""

import hashlib
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from agents_app.access import browser_sessions, counters, security_log, sign_out, start_token
from agents_app.access.callers import local_administrator
from agents_app.access.origins import address_of, network_of
from agents_app.access.security_log import QUARTER
from agents_app.exceptions import RateLimited
from chat_app.pages.errors import start_link_expired
from chat_app.pages.languages import translated
from chat_app.pages.views import frame


@method_decorator(translated, name="dispatch")  # type: ignore[arg-type] # it takes any view
class SignInView(LoginView):
    """Django's view, with a wait after LOGIN_FAILURES per quarter of an hour, by address and by name.

    The password is not looked at then: who guesses learns nothing, and costs no hashing. The limit of a name is
    higher, or anybody could lock others out at will from one address.
    """

    template_name = "chat_app/sign_in.html"

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        return super().get_context_data(**frame(self.request.user), **context)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # Count before the check: of many guesses at the same moment none may slip through.
        try:
            for who, limit in self._limits():
                counters.take("failures to sign in", who, limit=limit, seconds=QUARTER)
        except RateLimited as limited:
            return self._refused(limited)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        for who, limit in self._limits():
            counters.give_back("failures to sign in", who, limit=limit, seconds=QUARTER)
        return super().form_valid(form)

    def _limits(self) -> list[tuple[str, int]]:
        """Yield the counters of a failure, with their limits."""
        address = network_of(address_of(self.request))
        name = self.get_form_class().base_fields["username"].to_python(self.request.POST.get("username", ""))
        named = hashlib.sha256(str(name).lower().encode()).hexdigest()  # as the form reads it: " ann" is "ann"
        return [(f"address-{address}", settings.LOGIN_FAILURES), (f"name-{named}", 10 * settings.LOGIN_FAILURES)]

    def _refused(self, limited: RateLimited) -> HttpResponse:
        name = security_log.existing_name(self.request.POST.get("username", ""))
        security_log.record_failure("sign_in_refused", user=name)
        form = self.get_form_class()(self.request, initial={"username": self.request.POST.get("username", "")[:150]})
        minutes = max(1, round(limited.retry_after / 60))
        refused = _("Too many failed attempts. Try again in {minutes} minutes.").format(minutes=minutes)
        context = self.get_context_data(form=form, refused=refused)
        response = self.render_to_response(context, status=429)
        response["Retry-After"] = str(max(1, round(limited.retry_after)))
        return response


@require_GET
def sign_in_by_link(request: HttpRequest) -> HttpResponse:
    """Sign in as the local administrator with the link that `manage.py serve` prints."""
    if not start_token.is_valid(request.GET.get("token", "")):
        security_log.record_failure("sign_in_failed")
        return start_link_expired(request)
    auth.login(request, local_administrator(), backend="django.contrib.auth.backends.ModelBackend")
    browser_sessions.end_with_process(request.session)
    return redirect(settings.LOGIN_REDIRECT_URL)


@require_POST
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End all sessions of the user, and the API tokens if the form says so."""
    user = request.user
    if user.is_authenticated:
        sign_out.everywhere(user, by=user.get_username(), with_tokens="tokens" in request.POST)
    auth.logout(request)
    return redirect(settings.LOGOUT_REDIRECT_URL)
