"""All addresses: the API, the admin, the pages."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", include("agents_app.api.urls")),
    path("", include("chat_app.urls")),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/login/", RedirectView.as_view(pattern_name="chat_app:login", query_string=True)),  # limited there
    path("admin/", admin.site.urls),
]

handler400 = "agents_app.api.errors.bad_request"
handler403 = "agents_app.api.errors.permission_denied"
handler404 = "agents_app.api.errors.page_not_found"
handler500 = "agents_app.api.errors.server_error"
