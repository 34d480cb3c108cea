"""Configuration as files: read YAML, say what it would change, change it, and write it back."""

from agents_app.configuration.apply import Change, Outcome, apply
from agents_app.configuration.dumping import dump
from agents_app.configuration.parsing import ConfigurationError, Item, Problem, read

__all__ = ["Change", "ConfigurationError", "Item", "Outcome", "Problem", "apply", "dump", "read"]
