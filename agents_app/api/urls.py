"""The URLs of the API. The middleware removes a trailing slash."""

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from agents_app.api.views.actions import ActionViewSet
from agents_app.api.views.agent_versions import ActivateVersionView, AgentDraftView, AgentVersionsView, AgentVersionView
from agents_app.api.views.agents import AgentViewSet
from agents_app.api.views.budgets import BudgetViewSet
from agents_app.api.views.files import FileViewSet
from agents_app.api.views.info import InfoView, RootView, SchemaView
from agents_app.api.views.mcp_servers import McpServerViewSet
from agents_app.api.views.providers import ProviderViewSet
from agents_app.api.views.runs import (
    ArtifactView,
    RunApprovalsView,
    RunFilesView,
    RunStepsView,
    RunViewSet,
)
from agents_app.api.views.sessions import SessionRunsView, SessionViewSet
from agents_app.api.views.sockets import BroadcastView, ConnectionsView
from agents_app.api.views.tasks import TaskDeliveriesView, TaskRunsView, TaskSkipsView, TaskViewSet
from agents_app.api.views.tokens import TicketView, TokenViewSet

router = SimpleRouter(trailing_slash=False)
router.register("actions", ActionViewSet, "action")
router.register("agents", AgentViewSet, "agent")
router.register("budgets", BudgetViewSet, "budget")
router.register("providers", ProviderViewSet, "provider")
router.register("mcp-servers", McpServerViewSet, "mcp-server")
router.register("files", FileViewSet, "file")
router.register("sessions", SessionViewSet, "session")

uuid_router = SimpleRouter(trailing_slash=False, use_regex_path=False)
uuid_router.register("runs", RunViewSet, "run")
uuid_router.register("tokens", TokenViewSet, "token")
uuid_router.register("tasks", TaskViewSet, "task")

urlpatterns = [
    path("", RootView.as_view(), name="root"),
    path("v1/connections", ConnectionsView.as_view(), name="connections"),
    path("v1/broadcast", BroadcastView.as_view(), name="broadcast"),
    path("v1/ws-tickets", TicketView.as_view(), name="ws-tickets"),
    path("v1/info", InfoView.as_view(), name="info"),
    path("v1/schema", SchemaView.as_view(), name="schema"),
    path("v1/agents/<str:name>/draft", AgentDraftView.as_view(), name="agent-draft"),
    path("v1/agents/<str:name>/versions", AgentVersionsView.as_view(), name="agent-versions"),
    path("v1/agents/<str:name>/versions/<int:number>", AgentVersionView.as_view(), name="agent-version"),
    path("v1/agents/<str:name>/versions/<int:number>/activate", ActivateVersionView.as_view(), name="activate-version"),
    path("v1/sessions/<str:pk>/runs", SessionRunsView.as_view(), name="session-runs"),
    path("v1/runs/<uuid:pk>/approvals", RunApprovalsView.as_view(), name="run-approvals"),
    path("v1/runs/<uuid:pk>/artifacts/<uuid:artifact>", ArtifactView.as_view(), name="run-artifact"),
    path("v1/runs/<uuid:pk>/files", RunFilesView.as_view(), name="run-files"),
    path("v1/runs/<uuid:pk>/steps", RunStepsView.as_view(), name="run-steps"),
    path("v1/tasks/<uuid:pk>/deliveries", TaskDeliveriesView.as_view(), name="task-deliveries"),
    path("v1/tasks/<uuid:pk>/runs", TaskRunsView.as_view(), name="task-runs"),
    path("v1/tasks/<uuid:pk>/skips", TaskSkipsView.as_view(), name="task-skips"),
    path("v1/", include(router.urls)),
    path("v1/", include(uuid_router.urls)),
]
