"""What models get of the files of a conversation, as their servers received it."""

import base64

import httpx2
import pytest

from tests.engine.test_anthropic import add_agent
from tests.engine.test_anthropic import claude as claude  # the fixture
from tests.harness.documents import pdf, picture

ALL = {"parameters": {"accepts": ["text", "image", "pdf", "audio"]}}
OK = [{"text": "ok"}]
WAV = b"RIFF\x24\0\0\0WAVEfmt " + bytes(64)
CSV = b"name,age\nann,7\n"


@pytest.fixture
def upload(product):
    """Upload a file; returns it as a part of a message."""

    def post(data: bytes, name: str) -> dict:
        answer = httpx2.post(f"{product.url}/v1/files", files={"file": (name, data)}, timeout=60)
        assert answer.status_code == 201, answer.text
        return {"type": "file", "file_id": answer.json()["id"]}

    return post


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def text(content: str) -> dict:
    return {"type": "text", "text": content}


def test_a_server_with_openais_api_gets_the_bytes(agent, open_chat, upload, model, name):
    who = agent(OK, **ALL)
    png, document = picture(), pdf()
    parts = [upload(png, "a.png"), text("and"), upload(document, "b.pdf"), upload(WAV, "c.wav"), upload(CSV, "d.csv")]
    chat = open_chat(name)
    assert chat.ask("Look:", agent_name=who, parts=parts)["data"]["status"] == "completed"
    chat.ask("Again?", agent_name=who)

    first, second = (request["messages"] for request in model.requests(name))
    assert first[-1] == {
        "role": "user",
        "content": [
            text("Look:"),
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64(png)}"}},
            text("and"),
            {
                "type": "file",
                "file": {"filename": "b.pdf", "file_data": f"data:application/pdf;base64,{b64(document)}"},
            },
            {"type": "input_audio", "input_audio": {"data": b64(WAV), "format": "wav"}},
            text(f"[file d.csv, text/csv, {len(CSV)} bytes]\nname,age\nann,7\n[end of the file]"),
        ],
    }
    assert second[-3:-1] == [first[-1], {"role": "assistant", "content": "ok"}]


def test_anthropics_api_gets_the_bytes(product, claude, open_chat, upload, name):
    claude.script(name, [OK])
    add_agent(product, claude.root, name, **ALL)
    png, document = picture(), pdf()
    chat = open_chat(name, after=0)
    parts = [upload(document, "b.pdf"), upload(WAV, "c.wav"), upload(png, "a.png")]
    assert chat.ask("", agent_name=name, parts=parts)["data"]["status"] == "completed"
    chat.ask("Again?", agent_name=name)

    first, second = (request["messages"] for request in claude.requests(name))
    source = {"type": "base64", "media_type": "application/pdf", "data": b64(document)}
    content = [
        {"type": "document", "source": source, "title": "b.pdf"},
        text(f"[file c.wav, audio/wav, {len(WAV)} bytes: this model cannot read it]"),
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(png)}},
    ]
    assert first == [{"role": "user", "content": content}]
    assert second[0]["content"] == content
    assert second[-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}


def test_a_model_of_texts_gets_one_text(product, agent, open_chat, upload, model, name):
    who = agent(OK)
    parts = [upload(b"<html><h1>Title</h1><p>words", "p.html"), upload(picture(), "a.png"), upload(pdf(), "empty.pdf")]
    gone = upload(CSV, "gone.csv")
    chat = open_chat(name)
    chat.ask("Hi", agent_name=who, parts=[*parts, gone])
    assert product.request("DELETE", f"/v1/files/{gone['file_id']}")[0] in (200, 204)
    chat.ask("Again?", agent_name=who)

    first, second = (request["messages"] for request in model.requests(name))
    content = first[-1]["content"]
    assert "# Title\n\nwords\n[end of the file]" in content
    assert "[file a.png, image/png, " in content
    assert "bytes: this model cannot read it]" in content
    assert "bytes: there is no text in it]" in content
    assert content.endswith("name,age\nann,7\n[end of the file]")
    assert second[-3]["content"].endswith("[file gone.csv, text/csv, 15 bytes: it was deleted or has expired]")


def test_a_refused_picture_is_remembered(agent, open_chat, upload, model, name):
    message = "This model does not support image_url content."
    refusal = {"status": 400, "body": {"error": {"message": message}}}
    who = agent([{"only_first": 1, "do": [refusal]}, {"text": "ok"}], **ALL)
    chat = open_chat(name, after=0)
    part = upload(picture(), "a.png")
    assert chat.ask("Look", agent_name=who, parts=[part])["data"]["status"] == "completed"
    assert chat.ask("And now", agent_name=who, parts=[part])["data"]["status"] == "completed"

    asked, again, later = (request["messages"][-1]["content"] for request in model.requests(name))
    assert [each["type"] for each in asked] == ["text", "image_url"]
    assert again.startswith("Look\n\n[file a.png")
    assert later.startswith("And now\n\n[file a.png")
    (retry,) = chat.fold.of_type("retry")
    assert "it gets their text instead" in retry["data"]["reason"]


def test_the_newest_files_are_sent_up_to_20_mib(agent, open_chat, upload, model, name):
    who = agent(OK, **ALL)
    sound = WAV + bytes(1024**2)  # no child is needed for a sound
    parts = [upload(sound + bytes([number]), f"{number}.wav") for number in range(25)]
    assert open_chat(name).ask("", agent_name=who, parts=parts)["data"]["status"] == "completed"

    (request,) = model.requests(name)
    content = request["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["text"] * 6 + ["input_audio"] * 19
    assert "[file 0.wav, audio/wav, 1,048,657 bytes: left out" in content[0]["text"]
    assert content[-1]["input_audio"]["data"] == b64(sound + bytes([24]))


def test_a_text_that_is_too_long_for_the_model_is_cut_further(agent, open_chat, upload, model, name):
    message = "This model's maximum context length is 8192 tokens."
    refusal = {"status": 400, "body": {"error": {"message": message, "code": "context_length_exceeded"}}}
    who = agent([{"only_first": 1, "do": [refusal]}, {"text": "ok"}])
    part = upload(b"word " * 20_000, "long.txt")
    assert open_chat(name).ask("Read", agent_name=who, parts=[part])["data"]["status"] == "completed"

    first, second = (request["messages"][-1]["content"] for request in model.requests(name))
    assert len(second) < len(first) / 2 < 20_000
    assert second.endswith("[the rest left out]\n[end of the file]")
