"""Files that clients send with a message, through the front door."""

import base64
import contextlib
import io
import json
import time
import uuid
from typing import Any

import httpx2
import openai
import PIL.Image
import pytest

from tests.harness import documents
from tests.harness.clients import Client
from tests.harness.clients.mcp_client import client as mcp_client
from tests.harness.clients.mcp_client import run
from tests.harness.people import Person

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 40
ANSWER = [{"text": "I see."}]


@pytest.fixture(scope="module")
def viewer(people, model) -> str:
    model.script("viewer", [ANSWER])
    people["boss"].add_agent("viewer", model.base_url)
    return "viewer"


@pytest.fixture
def ann(people) -> Person:
    return people["ann"]


def upload(person: Person, data: bytes = PNG, name: str = "cat.png") -> str:
    answer = httpx2.post(f"{person.product.url}/v1/files", files={"file": (name, data)}, headers=person.headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_a_frame_with_files_is_seen_by_every_watcher_and_refused_by_its_part(ann, viewer, name):
    file = upload(ann)
    with contextlib.closing(ann.chat(name, agent_name=viewer)) as chat:
        chat.send("chat", parts=[{"type": "file", "file_id": file}], message_id="once")
        begun = chat.until("reasoning_start")["data"]
        part = {"type": "file", "file_id": file, "media_type": "image/png", "name": "cat.png", "size": len(PNG)}
        assert (begun["message"], begun["parts"]) == ("", [part])
        assert chat.until("reasoning_complete")["data"]["status"] == "completed"
        chat.send("chat", parts=[{"type": "file", "file_id": file}], message_id="once")  # the same run
        for parts, field in (
            ([{"type": "text", "text": "x"}] * 101, "parts"),
            ([{"type": "text", "text": "x"}, {"type": "file", "file_id": "file-of-nobody"}], "parts.1.file_id"),
            ("x", "parts"),
        ):
            chat.send("chat", parts=parts)
            error = chat.until("error")["data"]
            assert (error["code"], error["field"]) == ("invalid_message", field)
    assert ann.request("GET", f"/v1/sessions/{name}")[1]["title"] == "cat.png"
    assert len(ann.request("GET", f"/v1/sessions/{name}/runs")[1]["data"]) == 1


# OpenAI's API

DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
PDF = b"%PDF-1.4\n" + b"% a page\n" * 100
WAV = b"RIFF\x24\0\0\0WAVEfmt " + bytes(100)


@pytest.fixture(scope="module")
def client(people, viewer):
    with openai.OpenAI(
        base_url=f"{people['ann'].product.url}/v1", api_key=people["ann"].token, max_retries=0
    ) as client:
        yield client


def content_of(person: Person, part: dict[str, Any]) -> bytes:
    answer = httpx2.get(f"{person.product.url}/v1/files/{part['file_id']}/content", headers=person.headers)
    assert answer.status_code == 200, answer.text
    return answer.content


def parts_of(person: Person, run_id: str) -> list[tuple[str, Any]]:
    """The texts of a run's message, and of each file its name, type and bytes."""
    parts = person.request("GET", f"/v1/runs/{run_id}")[1]["parts"]
    return [
        part["text"] if part["type"] == "text" else (part["name"], part["media_type"], content_of(person, part))
        for part in parts
    ]


def test_chat_completions_take_files_as_the_official_client_sends_them(ann, viewer, client):
    uploaded = client.files.create(file=("cat.png", PNG), purpose="vision")
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": DATA_URL, "detail": "low"}},
        {"type": "file", "file": {"file_id": uploaded.id}},
        {"type": "file", "file": {"filename": "chat.pdf", "file_data": base64.b64encode(PDF).decode()}},
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(WAV).decode(), "format": "wav"}},
    ]
    answer = client.chat.completions.with_raw_response.create(
        model=viewer, messages=[{"role": "user", "content": content}]
    )
    assert parts_of(ann, answer.headers["X-Run-Id"]) == [
        "What is this?",
        ("image.png", "image/png", PNG),
        ("cat.png", "image/png", PNG),
        ("chat.pdf", "application/pdf", PDF),
        ("audio.wav", "audio/wav", WAV),
    ]
    expiry = {
        file.filename: file.expires_at for file in client.files.list() if file.filename in ("cat.png", "chat.pdf")
    }
    assert expiry["cat.png"] is None
    assert 86_000 < expiry["chat.pdf"] - time.time() <= 86_400  # of a conversation that is not kept


def test_responses_take_files_as_the_official_client_sends_them(ann, viewer, client):
    uploaded = client.files.create(file=("a.pdf", PDF), purpose="user_data")
    pdf_url = "data:application/pdf;base64," + base64.b64encode(PDF).decode()
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": DATA_URL},
        {"type": "input_file", "file_id": uploaded.id},
        {"type": "input_file", "filename": "b.pdf", "file_data": pdf_url},
        {"type": "input_image", "file_id": uploaded.id},
    ]
    answer = client.responses.create(model=viewer, input=[{"role": "user", "content": content}])
    run_id = str(uuid.UUID(answer.id.removeprefix("resp_")))
    assert parts_of(ann, run_id) == [
        "What is this?",
        ("image.png", "image/png", PNG),
        ("a.pdf", "application/pdf", PDF),
        ("b.pdf", "application/pdf", PDF),
        ("a.pdf", "application/pdf", PDF),
    ]
    parts = ann.request("GET", f"/v1/runs/{run_id}")[1]["parts"]
    assert client.files.retrieve(parts[3]["file_id"]).expires_at is None  # it is kept with its conversation


def test_a_repeated_request_with_its_files_is_the_same_run(ann, viewer, client):
    messages = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA_URL}}]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA_URL}}]},
    ]

    def ask(messages: list[dict[str, Any]]) -> str:
        headers = {"Idempotency-Key": "the same picture"}
        raw = client.chat.completions.with_raw_response
        return raw.create(model=viewer, messages=messages, extra_headers=headers).headers["X-Run-Id"]

    first = ask(messages)
    count = len(list(client.files.list()))
    assert ask(messages) == first
    assert len(list(client.files.list())) == count  # what the repetition brought is deleted
    with pytest.raises(openai.ConflictError):
        ask([{"role": "user", "content": "Only text."}, *messages[1:]])
    assert len(list(client.files.list())) == count


def test_the_model_gets_the_bytes_of_the_prompt_and_of_the_history(people, model, client, name):
    model.script(name, [ANSWER])
    people["boss"].add_agent(name, model.base_url, parameters={"accepts": ["text", "image"]})
    drawn = io.BytesIO()
    PIL.Image.new("RGB", (4, 4), "red").save(drawn, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}"
    content = [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": url}}]
    answered = {"role": "assistant", "content": "Red."}
    asked = {"role": "user", "content": content}
    client.chat.completions.create(model=name, messages=[asked, answered, asked])
    (request,) = model.requests(name)
    sent = [message["content"] for message in request["messages"] if message["role"] == "user"]
    assert [[part["type"] for part in parts] for parts in sent] == [["text", "image_url"]] * 2
    assert [parts[1]["image_url"]["url"] for parts in sent] == [url, url]


@pytest.mark.slow
def test_the_official_javascript_client_sends_files(people, ann, model, name):
    model.script(name, [ANSWER])
    people["boss"].add_agent(name, model.base_url, parameters={"accepts": ["text", "image", "pdf", "audio"]})
    files = {"png": documents.picture(), "pdf": documents.pdf(), "wav": WAV}
    encoded = {kind: base64.b64encode(data).decode() for kind, data in files.items()}
    address = {"base_url": f"{ann.product.url}/v1", "api_key": ann.token}
    report = Client("javascript-files", model=name, **address, **encoded).report()
    assert (report["newest"], report["filename"], report["deleted"]) == (report["id"], "cat.png", True)
    assert report["content"] == encoded["png"]

    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded['png']}"}}
    data = f"data:application/pdf;base64,{encoded['pdf']}"
    document = {"type": "file", "file": {"filename": "a.pdf", "file_data": data}}
    sound = {"type": "input_audio", "input_audio": {"data": encoded["wav"], "format": "wav"}}
    chat, response = (request["messages"][-1]["content"] for request in model.requests(name))
    assert chat == [{"type": "text", "text": "Chat"}, picture, picture, document, sound]
    assert response == [{"type": "text", "text": "Response"}, picture, picture, document]


IMAGE = {"type": "image_url", "image_url": {"url": DATA_URL}}
HERE = "messages[0].content[0]"


@pytest.mark.parametrize(
    ("part", "param", "text"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,a b"}}, f"{HERE}.image_url.url", "base64"),
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ==QQ=="}},
            f"{HERE}.image_url.url",
            "base64",
        ),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, f"{HERE}.image_url.url", "empty"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,%89PNG"}}, f"{HERE}.image_url.url", "data: URL"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, f"{HERE}.image_url.url", "https: URL"),
        ({"type": "image_url", "image_url": {"url": "http://127.0.0.1/x"}}, f"{HERE}.image_url.url", "private"),
        (
            {"type": "image_url", "image_url": {"url": "https://169.254.169.254/"}},
            f"{HERE}.image_url.url",
            "not allowed",
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://user:pw@a.example/"}},
            f"{HERE}.image_url.url",
            "password",
        ),
        ({"type": "image_url", "image_url": 7}, f"{HERE}.image_url", "object"),
        ({"type": "image_url"}, f"{HERE}.image_url", "missing"),
        ({"type": "file", "file": {}}, f"{HERE}.file", "file_id"),
        ({"type": "file", "file": {"file_id": "file-0"}}, f"{HERE}.file.file_id", "no file of yours"),
        ({"type": "file", "file": {"file_data": "€uro"}}, f"{HERE}.file.file_data", "base64"),
        ({"type": "input_audio", "input_audio": {"format": "wav"}}, f"{HERE}.input_audio.data", "missing"),
        ({"type": "video_url", "video_url": {"url": DATA_URL}}, HERE, "unknown type"),
    ],
)
def test_a_bad_file_is_a_400_that_names_its_field(ann, viewer, client, part, param, text):
    count = len(list(client.files.list()))
    messages = [{"role": "user", "content": [part, IMAGE]}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=viewer, messages=messages)
    assert caught.value.param == param
    assert caught.value.body["message"].startswith(f"'{param}'")
    assert text in caught.value.body["message"]
    assert len(list(client.files.list())) == count, "a good file beside it is kept"


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "user", "content": [IMAGE] * 1000}], "messages[0].content"),
        ([{"role": "user", "content": [IMAGE] * 60}] * 2, "messages[1].content[40].image_url.url"),
        (
            [{"role": "system", "content": [IMAGE]}, {"role": "user", "content": "x"}],
            "messages[0].content[0].image_url.url",
        ),
        ([{"role": "user", "content": "x" * 2**20}] * 2, "messages[1]"),
        ([{"role": "user", "content": "x" * 2**20}] * 2 + [{"role": "user", "content": "x"}], "messages"),
    ],
)
def test_too_many_files_and_texts_are_refused(viewer, client, messages, param):
    small = json.loads(json.dumps(messages).replace(DATA_URL, "data:image/png;base64,QUJD"))
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=viewer, messages=small)
    assert caught.value.param == param


# MCP


def test_a_program_gives_an_agent_links_and_content(ann, viewer):
    file = upload(ann)
    url = f"{ann.product.url}/v1/files/{file}"
    blocks = [
        file,
        {"type": "resource_link", "uri": f"{url}/content", "name": "anything"},
        {"type": "image", "data": base64.b64encode(PNG).decode(), "mimeType": "image/png"},
        {"type": "resource", "resource": {"uri": "file:///notes/today.md", "text": "# Todáy"}},
    ]

    async def story() -> None:
        async with mcp_client(ann.product.url, token=ann.token) as connected:
            arguments = {"message": "Look.", "agent_name": viewer}
            result = await connected.call_tool("run_agent", {**arguments, "files": blocks})
            assert not result.is_error, result
            cat = ("cat.png", "image/png", PNG)
            assert parts_of(ann, result.structured_content["run_id"]) == [
                "Look.",
                cat,
                cat,
                ("image.png", "image/png", PNG),
                ("today.md", "text/markdown", "# Todáy".encode()),
            ]
            for block, param in (
                ("file-of-nobody", "files.0"),
                ({"type": "image", "data": "no base64!"}, "files.0.data"),
                ({"type": "resource_link", "uri": "http://127.0.0.1/"}, "files.0.uri"),
                ({"type": "resource", "resource": {}}, "files.0.resource.blob"),
            ):
                result = await connected.call_tool("run_agent", {**arguments, "files": [block]})
                assert result.is_error
                assert f"'{param}'" in result.content[0].text

    run(story)


def test_a_program_gets_links_to_the_files_of_a_run_and_passes_them_on(ann, people, viewer, model, name):
    give = {"tool_call": {"name": "give_file", "arguments": {"name": "a.csv", "content": "a,b"}}}
    model.script(name, [[give], ANSWER])
    people["boss"].add_agent(name, model.base_url, builtin_tools=["give_file"])

    async def story() -> None:
        async with mcp_client(ann.product.url, token=ann.token) as connected:
            made = await connected.call_tool("run_agent", {"message": "Make it.", "agent_name": name})
            text, link = made.content
            (file,) = made.structured_content["files"]
            assert (text.text, link.type, link.name, link.mime_type, link.size) == (
                "I see.", "resource_link", "a.csv", "text/csv", 3,
            )  # fmt: skip
            assert link.uri == file["uri"] == f"{ann.product.url}/v1/files/{file['file_id']}/content"
            assert httpx2.get(link.uri, headers=ann.headers).content == b"a,b"
            assert httpx2.get(link.uri, headers=people["bob"].headers).status_code == 404
            again = await connected.call_tool("get_run", {"run_id": made.structured_content["run_id"]})
            assert again.content == made.content
            block = link.model_dump(mode="json", by_alias=True, exclude_none=True)
            passed = await connected.call_tool(
                "run_agent", {"message": "Look.", "agent_name": viewer, "files": [block]}
            )
            assert parts_of(ann, passed.structured_content["run_id"]) == ["Look.", ("a.csv", "text/csv", b"a,b")]

    run(story)
