"""OpenAI's own Python client, of whichever age: `python openai_python.py '{"base_url": …, "agents": {…}}'`.

Prints as JSON what it was answered, by its blocking and by its async half. With `leave`, it follows a response, each
event a line, until it is killed.
"""

import asyncio
import json
import sys

import openai

HELLO = [{"role": "user", "content": "Hello"}]
USAGE = {"stream_options": {"include_usage": True}}
REPLY = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "reply", "schema": REPLY, "strict": True}}


class Blocking:
    """The client that everybody knows."""

    def __init__(self, url):
        self.client = openai.OpenAI(base_url=url, api_key="any", timeout=30)

    def whole(self, agent, **more):
        return self.client.chat.completions.create(model=agent, messages=HELLO, **more)

    def pieces(self, agent, heard, **more):
        """Add to `heard` what comes, and go away when it says that it has enough."""
        with self.client.chat.completions.create(model=agent, messages=HELLO, stream=True, **more) as stream:
            for chunk in stream:
                if heard(chunk):
                    break


class Async:
    """The same calls, each in an event loop."""

    def __init__(self, url):
        self.url = url

    def whole(self, agent, **more):
        async def ask(client):
            return await client.chat.completions.create(model=agent, messages=HELLO, **more)

        return self._run(ask)

    def pieces(self, agent, heard, **more):
        async def ask(client):
            stream = await client.chat.completions.create(model=agent, messages=HELLO, stream=True, **more)
            async with stream:
                async for chunk in stream:
                    if heard(chunk):
                        break

        self._run(ask)

    def _run(self, ask):
        async def with_client():
            async with openai.AsyncOpenAI(base_url=self.url, api_key="any", timeout=30) as client:
                return await ask(client)

        return asyncio.run(with_client())


class Heard:
    """What a stream has said."""

    def __init__(self, enough=None):
        self.enough, self.text, self.thought, self.finish, self.usage = enough, "", "", None, None

    def __call__(self, chunk):
        if chunk.usage:
            self.usage = chunk.usage
        for choice in chunk.choices:
            self.text += choice.delta.content or ""
            self.thought += getattr(choice.delta, "reasoning_content", None) or ""
            self.finish = choice.finish_reason or self.finish
        return self.text == self.enough

    def summary(self):
        return summary(self.text, self.thought, self.finish, self.usage)


def summary(text, thought, finish, usage):
    return {
        "text": text,
        "thought": thought,
        "finish": finish,
        "tokens": [usage.prompt_tokens, usage.completion_tokens],
    }


def whole(caller, agent):
    answer = caller.whole(agent)
    (choice,) = answer.choices
    return summary(choice.message.content, choice.message.reasoning_content, choice.finish_reason, answer.usage)


def streamed(caller, agent):
    caller.pieces(agent, heard := Heard(), **USAGE)
    return heard.summary()


def refused(ask, *arguments, **more):
    try:
        ask(*arguments, **more)
    except openai.APIStatusError as error:
        return [error.status_code, error.code, error.param]


def failed_late(caller, agent):
    heard = Heard()
    try:
        caller.pieces(agent, heard)
    except openai.APIError as error:
        return [heard.text, error.code]


def left(caller, agent):
    caller.pieces(agent, heard := Heard(enough="One"))
    return heard.text


def everything(caller, agents):
    return {
        "whole": whole(caller, agents["plain"]),
        "streamed": streamed(caller, agents["plain"]),
        "refused": refused(caller.whole, agents["bad"]),
        "refused_stream": refused(caller.pieces, agents["bad"], Heard()),
        "unknown": refused(caller.whole, "nobody"),
        "failed_late": failed_late(caller, agents["late"]),
        "left": left(caller, agents["endless"]),
        "structured": json.loads(caller.whole(agents["structured"], response_format=SCHEMA).choices[0].message.content),
    }


def responses(client, agents):
    answer = client.responses.create(model=agents["plain"], input="Hello")
    events = list(client.responses.create(model=agents["plain"], input="Hello", stream=True))
    deltas = (event.delta for event in events if event.type == "response.output_text.delta")
    text = {"format": {"type": "json_schema", "name": "reply", "schema": REPLY, "strict": True}}
    structured = client.responses.create(model=agents["structured"], input="Hello", text=text)
    return {
        "whole": answer.output_text,
        "streamed": "".join(deltas),
        "ended": events[-1].response.output_text,
        "structured": json.loads(structured.output_text),
    }


def follow(stream):
    for event in stream:
        line = {"type": event.type, "number": event.sequence_number, "delta": getattr(event, "delta", None)}
        if event.type in ("response.created", "response.completed"):
            line |= {"id": event.response.id, "text": event.response.output_text}
        yield line


def main():
    parameters = json.loads(sys.argv[1])
    caller = Blocking(parameters["base_url"])
    if "leave" in parameters:
        for line in follow(caller.client.responses.create(model=parameters["leave"], input="Hello", stream=True)):
            print(json.dumps(line), flush=True)
        return
    agents, rest = parameters["agents"], parameters["rest"]
    report = {
        "blocking": everything(caller, agents),
        "async": everything(Async(parameters["base_url"]), agents),
        "responses": responses(caller.client, agents),
        "rest": list(follow(caller.client.responses.retrieve(rest["id"], stream=True, starting_after=rest["after"]))),
        "models": [model.id for model in caller.client.models.list()],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
