"""The rows. One file for each group of nouns; see DESIGN's section on data."""

from agents_app.models.agents import Agent, Provider
from agents_app.models.log import Event
from agents_app.models.runs import Run, Session, Step

__all__ = ["Agent", "Event", "Provider", "Run", "Session", "Step"]
