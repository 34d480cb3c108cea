"""Configuration as files: read YAML, show what it changes, apply it, and write it back."""

from agents_app.configuration.apply import Change, Outcome, apply
from agents_app.configuration.dumping import dump
from agents_app.configuration.located import ConfigurationError, Problem
from agents_app.configuration.parsing import Item, read
from agents_app.configuration.predecessor import convert

__all__ = ["Change", "ConfigurationError", "Item", "Outcome", "Problem", "apply", "convert", "dump", "read"]
