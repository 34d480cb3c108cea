"""All addresses: the API, the admin, the pages."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

admin.autodiscover()

urlpatterns = [
    path("", include("agents_app.api.urls")),
    path("", include("chat_app.urls")),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/login/", RedirectView.as_view(pattern_name="chat_app:login", query_string=True)),  # limited there
    path("admin/control-room/", include("agents_app.admin.control_room")),
    path("admin/", admin.site.urls),
]

handler400 = "chat_app.pages.errors.bad_request"
handler403 = "chat_app.pages.errors.permission_denied"
handler404 = "chat_app.pages.errors.page_not_found"
handler500 = "chat_app.pages.errors.server_error"
