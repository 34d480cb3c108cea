from django.urls import path
from django.views.generic import RedirectView

from chat_app import views

app_name = "chat_app"
urlpatterns = [
    path("v1/schema/frames", views.frames_schema, name="frames-schema"),
    path("chat/", views.chat, name="chat"),
    path("chat", RedirectView.as_view(pattern_name="chat_app:chat", query_string=True)),
]
