"""A user's own profile: who they are here, and their password."""

from typing import Any

from django.conf import settings
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _

from agents_app.access import counters, security_log
from agents_app.access.security_log import QUARTER
from agents_app.exceptions import RateLimited
from chat_app.pages.languages import translated
from chat_app.pages.views import frame


@method_decorator(translated, name="dispatch")  # type: ignore[arg-type] # it takes any view
class ProfileView(PasswordChangeView):
    """Django's view, with a wait after LOGIN_FAILURES wrong passwords per quarter of an hour.

    A new password ends the user's other browser sessions; this one stays.
    """

    template_name = "chat_app/profile.html"
    success_url = reverse_lazy("chat_app:profile-saved")
    is_saved = False

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        return super().get_context_data(here="profile", is_saved=self.is_saved, **frame(self.request.user), **context)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            counters.take("password changes", request.user.pk, limit=settings.LOGIN_FAILURES, seconds=QUARTER)
        except RateLimited as limited:
            return self._refuse(limited)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        user = self.request.user
        counters.give_back("password changes", user.pk, limit=settings.LOGIN_FAILURES, seconds=QUARTER)
        security_log.record("password_changed", user=user.get_username(), by=user.get_username())
        return super().form_valid(form)

    def _refuse(self, limited: RateLimited) -> HttpResponse:
        minutes = max(1, round(limited.retry_after / 60))
        refused = _("Too many failed attempts. Try again in {minutes} minutes.").format(minutes=minutes)
        form = PasswordChangeForm(self.request.user)  # type: ignore[arg-type] # nobody else gets here
        response = self.render_to_response(self.get_context_data(form=form, refused=refused), status=429)
        response["Retry-After"] = str(max(1, round(limited.retry_after)))
        return response
