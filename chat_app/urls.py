from django.contrib.auth.views import LogoutView
from django.urls import path
from django.views.generic import RedirectView

from chat_app.openai_api import chat_completions, models, responses
from chat_app.pages import agent_choices, blocks, data, views
from chat_app.pages.profile import ProfileView
from chat_app.pages.sign_in import SignInView, sign_in_by_link, sign_out_everywhere

app_name = "chat_app"
urlpatterns = [
    path("v1/chat/completions", chat_completions.completions, name="chat-completions"),
    path("v1/models", models.models, name="models"),
    path("v1/models/<str:name>", models.model, name="model"),
    path("v1/responses", responses.collection, name="responses"),
    path("v1/responses/<str:identifier>", responses.one, name="response"),
    path("v1/responses/<str:identifier>/cancel", responses.cancelling, name="response-cancel"),
    path("v1/docs", views.api_docs, name="api-docs"),
    path("v1/schema/frames", views.frames_schema, name="frames-schema"),
    path("accounts/login/", SignInView.as_view(), name="login"),
    path("accounts/start/", sign_in_by_link, name="start"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("accounts/logout-everywhere/", sign_out_everywhere, name="logout-everywhere"),
    path("accounts/profile/", ProfileView.as_view(), name="profile"),
    path("accounts/profile/saved/", ProfileView.as_view(is_saved=True), name="profile-saved"),
    path("accounts/tokens/", views.tokens, name="tokens"),
    path("chat/", views.chat, name="chat"),
    path("chat/sessions", data.SideSessionsView.as_view(), name="sessions"),
    path("chat/runs/<uuid:pk>/steps", data.StepsView.as_view(), name="steps"),
    path("chat/blocks", blocks.BlocksView.as_view(), name="blocks"),
    path("agents/", views.agents, name="agents"),
    path("agents/try", views.agent_trial, name="agent-trial"),
    path("agents/choices", agent_choices.AgentChoicesView.as_view(), name="agent-choices"),
    path("agents/models", agent_choices.ModelsView.as_view(), name="agent-models"),
    path("models/", views.models, name="models-page"),
    path("tools/", views.tools, name="tools-page"),
    path("waiting/", views.waiting, name="waiting"),
    path("tasks/", views.tasks, name="tasks"),
    path("runs/", views.runs, name="runs"),
    path("chat", RedirectView.as_view(pattern_name="chat_app:chat", query_string=True)),
]
