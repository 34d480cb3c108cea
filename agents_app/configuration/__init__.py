"""Configuration as files: read YAML, show what it changes, apply it, and write it back.

The parts are imported by their own names: `config_dir` is loaded at every start, the others only with files.
"""
