"""Users, groups, tokens and the change log in the admin."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from agents_app.access import sign_out
from agents_app.admin import usage
from agents_app.admin.base import (
    AdministratorsWrite,
    CappedPaginator,
    FastAdmin,
    Kept,
    ReadOnly,
    dollars,
    is_administrator,
)
from agents_app.models import ApiToken, UserLimits

_USE_DAYS = 30

admin.site.unregister(get_user_model())
admin.site.unregister(Group)


class LimitsInline(AdministratorsWrite, admin.StackedInline):
    """The user's own limits."""

    model = UserLimits
    can_delete = False


@admin.register(get_user_model())
class PersonAdmin(AdministratorsWrite, UserAdmin):
    """Users with their recent usage, summed once for the whole list."""

    list_display = (
        "username",
        "email",
        "is_staff",
        "is_superuser",
        "is_active",
        "last_login",
        "runs",
        "tokens",
        "cost",
    )
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = CappedPaginator
    actions = ("sign_out", "sign_out_and_revoke")
    inlines = (LimitsInline,)

    @admin.action(description="Sign out everywhere", permissions=["change"])
    def sign_out(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._sign_out(request, queryset, with_tokens=False)

    @admin.action(description="Sign out everywhere, and revoke API tokens", permissions=["change"])
    def sign_out_and_revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._sign_out(request, queryset, with_tokens=True)

    def _sign_out(self, request: HttpRequest, queryset: QuerySet[Any], *, with_tokens: bool) -> None:
        for user in queryset:
            sign_out.everywhere(user, by=request.user.get_username(), with_tokens=with_tokens)
            messages.success(request, f"{user} is signed out everywhere.")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        used = usage.by_user(usage.since_days(_USE_DAYS)) if request.user.is_superuser else {}
        for user in page.result_list:
            user.lately = used.get(user.username, usage.NOTHING)
        return page

    @admin.display(description=f"runs in {_USE_DAYS} days")
    def runs(self, user: Any) -> int:
        return user.lately.runs

    @admin.display(description="tokens")
    def tokens(self, user: Any) -> str:
        return f"{user.lately.tokens:,}"

    @admin.display(description="cost")
    def cost(self, user: Any) -> str:
        return dollars(user.lately.cost)


@admin.register(Group)
class PeopleAdmin(AdministratorsWrite, GroupAdmin):
    """Groups, which agents are granted to and which carry permissions."""


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly, FastAdmin):
    """All tokens, read-only; deleting one revokes it."""

    list_display = ("name", "user", "token_key", "scope", "created", "expiry", "last_used_at")
    list_filter = ("scope", "expiry", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("name", "token_key", "user__username")
    fields = ("name", "user", "token_key", "scope", "made_with", "created", "expiry", "last_used_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_administrator(request)


@admin.register(LogEntry)
class LogEntryAdmin(Kept, FastAdmin):
    """Changes made in the admin, and by administrators over REST."""

    list_display = ("action_time", "user", "action_flag", "content_type", "object_repr", "change_message")
    list_filter = ("action_flag", "action_time")
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr", "change_message", "user__username")
