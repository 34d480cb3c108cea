"""Runs, from the request to the end: start, cancel, approve and price them."""

from agents_app.runs.cancelling import cancel, cancel_children, close_approvals
from agents_app.runs.messages import LONGEST_MESSAGE_ID, validate_message
from agents_app.runs.new_run import Due, NewRun
from agents_app.runs.starting import Started, start

__all__ = [
    "LONGEST_MESSAGE_ID",
    "Due",
    "NewRun",
    "Started",
    "cancel",
    "cancel_children",
    "close_approvals",
    "start",
    "validate_message",
]
