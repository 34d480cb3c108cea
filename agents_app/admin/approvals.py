"""What runs wait for, in the admin: open ones, and who answered them."""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from agents_app.admin.base import FastAdmin, OnlyVisible, short
from agents_app.exceptions import AgentError
from agents_app.models import Approval
from agents_app.runs import actions, approvals


@admin.register(Approval)
class ApprovalAdmin(OnlyVisible, FastAdmin):
    """Read, approve, deny. Whoever may change approvals may answer them; what needs a text, in the chat."""

    list_display = ("tool_name", "kind", "agent", "status", "arguments_in_short", "by", "created_at", "expires_at")
    list_filter = ("status", "kind")
    list_select_related = ("run",)
    search_fields = ("^tool_name", "=tool_call_id", "=run__session__name", "=run__session__id")
    ordering = ("-pk",)
    fields = (
        "tool_name", "kind", "run", "arguments_as_json", "status", "for_run", "response", "is_error", "reason", "by",
        "created_at", "expires_at", "answered_at",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("approve", "deny")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(ordering="run__agent_name")
    def agent(self, approval: Approval) -> str:
        return approval.run.agent_name

    @admin.display(description="arguments")
    def arguments_in_short(self, approval: Approval) -> str:
        return short(json.dumps(approval.arguments, ensure_ascii=False), 100)

    @admin.display(description="arguments")
    def arguments_as_json(self, approval: Approval) -> str:
        return format_html("<pre>{}</pre>", json.dumps(approval.arguments, indent=2, ensure_ascii=False))

    @admin.action(description="Approve the selected calls", permissions=["change"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Approval]) -> None:
        self._answer(request, queryset, approved=True)

    @admin.action(description="Deny the selected calls", permissions=["change"])
    def deny(self, request: HttpRequest, queryset: QuerySet[Approval]) -> None:
        self._answer(request, queryset, approved=False)

    def _answer(self, request: HttpRequest, queryset: QuerySet[Approval], *, approved: bool) -> None:
        answered = 0
        for approval in queryset.select_related("run"):
            call = approval.tool_call_id
            try:
                if approval.kind == Approval.Kind.APPROVAL:
                    by = request.user.get_username()
                    approvals.answer(approval.run, tool_call_id=call, approved=approved, by=by)
                else:
                    outcome = "answered" if approved else "declined"
                    actions.answer(request.user, approval.action_id, outcome=outcome)
            except AgentError as error:
                messages.error(request, f"{approval.tool_name}: {error}")
            else:
                answered += 1
        if answered:
            messages.success(request, f"{answered} calls {'approved' if approved else 'denied'}.")
