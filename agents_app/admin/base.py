"""Base classes of the admin pages: permissions, and lists that stay fast with millions of rows."""

import json
from typing import Any, ClassVar

import orjson
from django import forms
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from agents_app.models.default_rows import make_default
from agents_app.models.env_variables import masked

MOST_COUNTED = 10_000
NEWEST = 20_000  # rows of a log that a list looks through, unless it is limited to one run or session


class CappedPaginator(Paginator):
    """Counts up to MOST_COUNTED: nobody turns that many pages, and counting millions takes seconds."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        # Only the keys, so that annotations of the list are not computed for the count.
        return rows.order_by().values("pk")[:MOST_COUNTED].count()


class FastAdmin(admin.ModelAdmin):
    """A list that never counts all rows."""

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a count for each choice of each filter
    list_per_page = 50


class OnlyVisible:
    """Mixin for rows that belong to users: staff sees here what it sees everywhere else."""

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).visible_to(request.user)  # type: ignore[misc]


class ReadOnly:
    """Mixin for rows that the server writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class AdministratorsWrite:
    """Mixin for rows that are worth the whole server: users, groups, keys, commands, prompts.

    A staff user with Django's permission may look at them. Changing them would make that user an administrator:
    by a password, a flag, a command that the server starts, or an address that a key is sent to.
    """

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_administrator(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_administrator(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_administrator(request)


def is_administrator(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


class Kept(ReadOnly):
    """Mixin for read-only rows that cannot be deleted by hand."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NewestFirst:
    """Mixin for rows with ascending ids that are too many to search.

    A list searches the newest ones; the rows of one run or session are looked up by its id.
    """

    narrowed_by: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)  # type: ignore[misc]
        match = request.resolver_match
        if match is None or not str(match.url_name).endswith("_changelist") or self.is_narrowed(request):
            return rows
        newest = self.model._base_manager.order_by("-pk").values_list("pk", flat=True).first() or 0  # type: ignore[attr-defined]
        return rows.filter(pk__gt=newest - NEWEST)

    def is_narrowed(self, request: HttpRequest) -> bool:
        """Return whether the list is limited to one run or session."""
        return bool(request.GET.get("q")) or any(name in request.GET for name in self.narrowed_by)


class OneDefaultAdmin(FastAdmin):
    """Rows of which one is the default; an action changes which."""

    actions = ("mark_as_default",)
    readonly_fields: ClassVar[tuple[str, ...]] = ("is_default", "created_at", "updated_at")

    @admin.display(description="default", ordering="is_default", empty_value="–")
    def marked_default(self, row: Any) -> str | None:
        return "✓" if row.is_default else None  # a red cross would read as an error

    @admin.action(description="Make default", permissions=["change"])
    def mark_as_default(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        if len(rows := list(queryset[:2])) != 1:
            messages.error(request, "Select exactly one.")
            return
        make_default(rows[0])
        messages.success(request, f"“{rows[0]}” is now the default {self.opts.verbose_name}.")


class SecretsAdmin(FastAdmin):
    """Rows with secrets: users with view permission only do not see these fields."""

    secrets: ClassVar[set[str]]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if notice := getattr(obj, "notice", ""):
            messages.warning(request, notice)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name not in self.secrets]})
            for title, options in fieldsets
        ]


class SecretsField(forms.JSONField):
    """An object of strings that may be secret; submitted values are not shown again either."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        value = super().bound_data(data, initial)
        is_object = isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
        return masked(value) if is_object else value


def with_secrets(form: forms.ModelForm, cleaned: dict[str, Any]) -> dict[str, Any]:
    """Return the cleaned data of a row with secrets, see `SecretsOfAnAddress.with_secrets`."""
    changes, notice = form.instance.with_secrets(cleaned)
    if notice:
        form.instance.notice = notice
    return changes


class StrictDecoder(json.JSONDecoder):
    """Decode JSON as strictly as the API does."""

    def decode(self, s: str, *args: Any) -> Any:
        return orjson.loads(s)


class JSONForm(forms.ModelForm):
    """A form that turns an emptied JSON field into the field's default."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, forms.JSONField):
                field.decoder = StrictDecoder

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name, field in self.fields.items():
            if isinstance(field, forms.JSONField) and name in cleaned and cleaned[name] is None:
                cleaned[name] = self._meta.model._meta.get_field(name).get_default()
        return cleaned


class NewestInline(admin.TabularInline):
    """The newest `shown` related rows, read-only."""

    template = "agents_app/admin/newest.html"
    extra = 0
    can_delete = False
    shown: ClassVar[int] = 20
    parent: ClassVar[str]
    newest_first: ClassVar[str]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        match = request.resolver_match
        rows: QuerySet[Any] = super().get_queryset(request)
        of_it = rows.filter(**{self.parent: match.kwargs.get("object_id") if match else None})
        newest = list(of_it.order_by(self.newest_first).values_list("pk", flat=True)[: self.shown])
        return rows.filter(pk__in=newest).order_by(self.newest_first)


def dollars(cost: Any) -> str:
    """Format a cost: cents if it is large, enough digits if it is small."""
    if cost is None:
        return "—"
    if cost == 0:
        return "$0"
    return f"${cost:,.2f}" if cost >= 1 else f"${cost:.6f}".rstrip("0").rstrip(".") or "$0"


def short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
