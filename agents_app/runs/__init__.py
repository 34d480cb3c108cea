"""Runs, from the request to the end: start, cancel, approve and price them."""

from agents_app.runs.starting import (
    LONGEST_MESSAGE,
    LONGEST_MESSAGE_ID,
    Started,
    cancel,
    cancel_children,
    cancel_events,
    close_approvals,
    complete_data,
    conversation,
    enqueue_next,
    start,
    start_data,
)

__all__ = [
    "LONGEST_MESSAGE",
    "LONGEST_MESSAGE_ID",
    "Started",
    "cancel",
    "cancel_children",
    "cancel_events",
    "close_approvals",
    "complete_data",
    "conversation",
    "enqueue_next",
    "start",
    "start_data",
]
