"""LiteLLM, blocking and async: `python litellm_client.py '{"base_url": …, "agents": {…}}'` prints its answers."""

import asyncio
import json
import os
import sys

import litellm
import openai

HELLO = [{"role": "user", "content": "Hello"}]
REPLY = {"type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "reply", "schema": REPLY, "strict": True}}


def summary(answer):
    (choice,) = answer.choices
    return {
        "text": choice.message.content,
        "thought": choice.message.reasoning_content,
        "finish": choice.finish_reason,
        "tokens": [answer.usage.prompt_tokens, answer.usage.completion_tokens],
    }


class Caller:
    """LiteLLM's two functions with the same arguments."""

    def __init__(self, url):
        self.common = {"api_base": url, "api_key": "any", "messages": HELLO, "timeout": 30}

    def ask(self, agent, **more):
        return litellm.completion(model=f"openai/{agent}", **self.common, **more)

    def stream(self, agent):
        return self.ask(agent, stream=True, stream_options={"include_usage": True})

    async def ask_async(self, agent, **more):
        return await litellm.acompletion(model=f"openai/{agent}", **self.common, **more)

    async def streamed_async(self, agent):
        stream = await self.ask_async(agent, stream=True, stream_options={"include_usage": True})
        return summary(litellm.stream_chunk_builder([chunk async for chunk in stream]))

    async def left_async(self, agent):
        stream = await self.ask_async(agent, stream=True)
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            if text == "One":
                break
        await stream.aclose()
        return text


def refused(ask):
    try:
        ask()
    except openai.APIStatusError as error:
        return [error.status_code, type(error).__name__]


def failed_late(stream):
    text = ""
    try:
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    except Exception as error:
        return [text, str(error)]


def left(stream):
    text = ""
    for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        if text == "One":
            break
    stream.completion_stream.close()
    return text


def main():
    parameters = json.loads(sys.argv[1])
    agents, caller = parameters["agents"], Caller(parameters["base_url"])
    structured = caller.ask(agents["structured"], response_format=SCHEMA)
    report = {
        "blocking": {
            "whole": summary(caller.ask(agents["plain"])),
            "streamed": summary(litellm.stream_chunk_builder(list(caller.stream(agents["plain"])))),
            "refused": refused(lambda: caller.ask(agents["bad"])),
            "refused_stream": refused(lambda: list(caller.stream(agents["bad"]))),
            "unknown": refused(lambda: caller.ask("nobody")),
            "failed_late": failed_late(caller.stream(agents["late"])),
            "left": left(caller.stream(agents["endless"])),
            "structured": json.loads(structured.choices[0].message.content),
        },
        "async": {
            "whole": summary(asyncio.run(caller.ask_async(agents["plain"]))),
            "streamed": asyncio.run(caller.streamed_async(agents["plain"])),
            "left": asyncio.run(caller.left_async(agents["endless"])),
        },
    }
    print(json.dumps(report), flush=True)
    os._exit(0)  # it takes seconds to leave in good order


if __name__ == "__main__":
    main()
