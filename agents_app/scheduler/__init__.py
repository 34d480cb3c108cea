"""Scheduled tasks: what is due, and the runs that this starts."""

from agents_app.scheduler.due import DueWork, due_work, overdue
from agents_app.scheduler.firing import fire_due
from agents_app.scheduler.postponed import start_postponed
from agents_app.scheduler.settling import settle
from agents_app.scheduler.starting import run_now

__all__ = [
    "DueWork",
    "due_work",
    "fire_due",
    "overdue",
    "run_now",
    "settle",
    "start_postponed",
]
