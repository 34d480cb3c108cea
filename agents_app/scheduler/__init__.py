"""Scheduled tasks: what is due, and the runs that this starts."""

from agents_app.scheduler.firing import fire_due, overdue, pressing, run_now, settle, start_postponed

__all__ = [
    "fire_due",
    "overdue",
    "pressing",
    "run_now",
    "settle",
    "start_postponed",
]
