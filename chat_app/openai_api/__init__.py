"""OpenAI's words for our agents and runs: chat completions, responses, models. An agent's name is a model's id.

Nobody else knows these words. A request becomes a run (`starting`), the run's frames become chunks or events.
"""
