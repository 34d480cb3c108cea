"""The rows, one file per noun."""

from agents_app.models.agent_versions import AgentVersion
from agents_app.models.agents import Agent
from agents_app.models.approvals import Approval
from agents_app.models.budgets import Budget, Reservation
from agents_app.models.chores import Chore
from agents_app.models.events import Event
from agents_app.models.fallback_models import FallbackModel
from agents_app.models.files import File, FileChunk, StoredBytes
from agents_app.models.mcp_servers import McpServer
from agents_app.models.prices import Price
from agents_app.models.providers import Provider
from agents_app.models.running_limits import UserLimits
from agents_app.models.runs import Run
from agents_app.models.sessions import Session
from agents_app.models.steering import SteeredMessage
from agents_app.models.steps import Step
from agents_app.models.task_outcomes import Delivery, Postponed, Skip
from agents_app.models.tasks import ScheduledTask
from agents_app.models.token_usage import TokenUse
from agents_app.models.tokens import ApiToken, Ticket
from agents_app.models.workers import WorkerProcess

__all__ = [
    "Agent",
    "AgentVersion",
    "ApiToken",
    "Approval",
    "Budget",
    "Chore",
    "Delivery",
    "Event",
    "FallbackModel",
    "File",
    "FileChunk",
    "McpServer",
    "Postponed",
    "Price",
    "Provider",
    "Reservation",
    "Run",
    "ScheduledTask",
    "Session",
    "Skip",
    "SteeredMessage",
    "Step",
    "StoredBytes",
    "Ticket",
    "TokenUse",
    "UserLimits",
    "WorkerProcess",
]
