"""The language of a page: the first of the browser's languages that we have."""

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
_CATALOGUES = Path(__file__).resolve().parents[1] / "locale"


def translated(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Return the view in the language of the request."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with in_language(request):
            response = view(request, *args, **kwargs)
        patch_vary_headers(response, ["Accept-Language"])
        return response

    return answer


def in_language(request: Any) -> translation.override:
    """Return a context in which texts are in the language of the request."""
    language = translation.get_language_from_request(request).partition("-")[0]
    return translation.override(language if language in LANGUAGES else LANGUAGES[0])


def catalogue() -> dict[str, Any]:
    """Return the texts of our scripts in the active language, by their English text; plurals as one and many."""
    language = translation.get_language() or LANGUAGES[0]
    texts = JSONCatalog()
    texts.translation = DjangoTranslation(language, domain="djangojs", localedirs=[str(_CATALOGUES)])
    return texts.get_catalog() if language != LANGUAGES[0] else {}
