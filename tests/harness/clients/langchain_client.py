"""LangChain's `ChatOpenAI`: `python langchain_client.py '{"base_url": …, "agents": {…}}'` prints its answers."""

import asyncio
import json
import sys

import openai
from langchain_core.messages import ToolMessage
from langchain_openai import ChatOpenAI

CITY = {"type": "string"}
REPLY = {"title": "reply", "type": "object", "properties": {"answer": {"type": "integer"}}, "required": ["answer"]}


def summary(message):
    usage, finish = message.usage_metadata, message.response_metadata.get("finish_reason")
    return {"text": message.text, "finish": finish, "tokens": [usage["input_tokens"], usage["output_tokens"]]}


def streamed(chat):
    chunks = list(chat.stream("Hello"))
    return summary(sum(chunks[1:], chunks[0]))


def refused(ask):
    try:
        ask()
    except openai.APIStatusError as error:
        return [error.status_code, error.code, error.param]


def failed_late(chat):
    text = ""
    try:
        for chunk in chat.stream("Hello"):
            text += chunk.text
    except openai.APIError as error:
        return [text, error.code]


def left(chat):
    stream = chat.stream("Hello")
    text = ""
    for chunk in stream:
        text += chunk.text
        if text == "One":
            break
    stream.close()
    return text


async def all_async(chat, agents):
    chunks = [chunk async for chunk in chat(agents["plain"]).astream("Hello")]
    stream = chat(agents["endless"]).astream("Hello")
    async for chunk in stream:
        if chunk.text:
            await stream.aclose()
    return {
        "whole": summary(await chat(agents["plain"]).ainvoke("Hello")),
        "streamed": summary(sum(chunks[1:], chunks[0])),
        "left": chunk.text,
    }


def thoughts(message):
    blocks = (block for block in message.content if block["type"] == "reasoning")
    return "".join(part["text"] for block in blocks for part in block["content"])


def tool_loop(model):
    """Execute what is called until there is an answer."""
    tool = {"title": "get_weather", "description": "Tell the weather.", "type": "object", "properties": {"city": CITY}}
    bound, messages, calls = model.bind_tools([tool | {"required": ["city"]}]), ["Hello"], []
    while True:
        message = bound.invoke(messages)
        messages.append(message)
        if not message.tool_calls:
            return {"calls": calls, "text": message.text}
        for call in message.tool_calls:
            calls.append([call["name"], call["args"]])
            messages.append(ToolMessage("rain", tool_call_id=call["id"]))


def main():
    parameters = json.loads(sys.argv[1])
    url, agents = parameters["base_url"], parameters["agents"]

    def chat(agent, **more):
        return ChatOpenAI(model=agent, base_url=url, api_key="any", timeout=30, stream_usage=True, **more)

    response = chat(agents["plain"], use_responses_api=True, output_version="responses/v1").invoke("Hello")
    structured = chat(agents["structured"])
    report = {
        "blocking": {
            "whole": summary(chat(agents["plain"]).invoke("Hello")),
            "streamed": streamed(chat(agents["plain"])),
            "refused": refused(lambda: chat(agents["bad"]).invoke("Hello")),
            "refused_stream": refused(lambda: list(chat(agents["bad"]).stream("Hello"))),
            "unknown": refused(lambda: chat("nobody").invoke("Hello")),
            "failed_late": failed_late(chat(agents["late"])),
            "left": left(chat(agents["endless"])),
            "structured": structured.with_structured_output(REPLY, method="json_schema").invoke("Hello"),
        },
        "async": asyncio.run(all_async(chat, agents)),
        "json_mode": structured.with_structured_output(REPLY, method="json_mode").invoke("Hello"),
        "tools": {
            "chat": tool_loop(chat(agents["tools"])),
            "responses": tool_loop(chat(agents["tools"], use_responses_api=True)),
        },
        "responses": {"whole": response.text, "thought": thoughts(response)},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
