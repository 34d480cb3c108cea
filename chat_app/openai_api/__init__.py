"""The OpenAI-compatible endpoints: chat completions, responses and models. A model's id is an agent's name.

No other package knows OpenAI's formats. A request is parsed by a typed model (`requests`) and becomes a run
(`starting`); the run's frames become chunks (`chat_completions`) or events (`response_events`).
"""
