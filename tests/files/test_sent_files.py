"""Files that clients send with a message, through the front door."""

import contextlib

import httpx2
import pytest

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
