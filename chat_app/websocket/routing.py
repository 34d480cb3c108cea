"""The routes of sockets."""

from django.urls import re_path

from chat_app.websocket.consumer import ChatConsumer

websocket_urlpatterns = [
    re_path(r"^ws/chat/(?P<session_id>.*)$", ChatConsumer.as_asgi()),
    re_path(r"", ChatConsumer.as_asgi()),  # any other address gets a close code instead of a broken handshake
]
