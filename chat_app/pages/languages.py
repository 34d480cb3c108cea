"""In which language a page speaks: the browser's first one of those that we have."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation.trans_real import DjangoTranslation
from django.views.i18n import JSONCatalog

LANGUAGES = ("en", "de")
_CATALOGUES = Path(__file__).parent / "locale"


def translated(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The view in the caller's language."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        wanted = translation.get_language_from_request(request).partition("-")[0]
        with translation.override(wanted if wanted in LANGUAGES else LANGUAGES[0]):
            response = view(request, *args, **kwargs)
        patch_vary_headers(response, ["Accept-Language"])
        return response

    return answer


def catalogue() -> dict[str, Any]:
    """The texts of our scripts in the active language, by their English; of plurals, one and many."""
    language = translation.get_language() or LANGUAGES[0]
    found = JSONCatalog()
    found.translation = DjangoTranslation(language, domain="djangojs", localedirs=[str(_CATALOGUES)])
    return found.get_catalog() if language != LANGUAGES[0] else {}
