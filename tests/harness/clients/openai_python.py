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
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION = {"name": "get_weather", "description": "Tell the weather.", "parameters": CITY, "strict": True}
CHAT_TOOL, TOOL = {"type": "function", "function": FUNCTION}, {"type": "function", **FUNCTION}
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


def execute(calls, name, arguments):
    calls.append([name, json.loads(arguments)])
    return "rain"


def chat_loop(client, agent, *, stream):
    """Execute what is called until there is an answer, as every program with tools does."""
    messages, calls = [*HELLO], []
    while True:
        answer = client.chat.completions.create(model=agent, messages=messages, tools=[CHAT_TOOL], stream=stream)
        message = joined(answer) if stream else answer.choices[0].message.model_dump(exclude_none=True)
        messages.append(message)
        if not message.get("tool_calls"):
            return {"calls": calls, "text": message["content"]}
        for call in message["tool_calls"]:
            result = execute(calls, call["function"]["name"], call["function"]["arguments"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})


def joined(chunks):
    """The message of a stream, whose calls come in pieces."""
    calls, text, finish = {}, "", None
    for chunk in chunks:
        delta, finish = chunk.choices[0].delta, chunk.choices[0].finish_reason or finish
        text += delta.content or ""
        for piece in delta.tool_calls or ():
            call = calls.setdefault(piece.index, {"type": "function", "function": {"name": "", "arguments": ""}})
            call["id"] = piece.id or call["id"]
            call["function"]["name"] += piece.function.name or ""
            call["function"]["arguments"] += piece.function.arguments or ""
    assert finish == ("tool_calls" if calls else "stop"), finish
    return {"role": "assistant", "content": text} | ({"tool_calls": list(calls.values())} if calls else {})


def response_loop(client, agent, *, stream):
    given, previous, calls = "Hello", None, []
    while True:
        options = {"model": agent, "input": given, "tools": [TOOL], "previous_response_id": previous}
        if stream:
            events = list(client.responses.create(**options, stream=True))
            done = [e for e in events if e.type == "response.function_call_arguments.done"]
            pieces = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
            assert [e.arguments for e in done] == pieces, pieces
            response = events[-1].response
        else:
            response = client.responses.create(**options)
        made = [item for item in response.output if item.type == "function_call"]
        if not made:
            return {"calls": calls, "text": response.output_text}
        results = ((item.call_id, execute(calls, item.name, item.arguments)) for item in made)
        given = [{"type": "function_call_output", "call_id": call_id, "output": text} for call_id, text in results]
        previous = response.id


def tools(client, agent):
    return {
        "chat": chat_loop(client, agent, stream=False),
        "chat_streamed": chat_loop(client, agent, stream=True),
        "responses": response_loop(client, agent, stream=False),
        "responses_streamed": response_loop(client, agent, stream=True),
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
        "tools": tools(caller.client, agents["tools"]),
        "rest": list(follow(caller.client.responses.retrieve(rest["id"], stream=True, starting_after=rest["after"]))),
        "models": [model.id for model in caller.client.models.list()],
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
