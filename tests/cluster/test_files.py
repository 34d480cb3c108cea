"""Upload, run and download happen on different instances.

The files are in the database. With `FILES_ON_S3=1` another cluster has them in a bucket, too.
"""

import contextlib
import os
from collections.abc import Iterator

import httpx2
import pytest

from tests.harness.chat import Chat
from tests.harness.documents import picture
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.s3 import S3
from tests.harness.watchers import FaultyCluster

pytestmark = pytest.mark.slow


@pytest.fixture(params=["database", *(["bucket"] if os.environ.get("FILES_ON_S3") else [])])
def instances(request: pytest.FixtureRequest) -> Iterator[FaultyCluster]:
    if request.param == "database":
        yield request.getfixturevalue("whole")
        return
    with S3() as s3, FaultyCluster(FILES_URL=s3.url, **s3.credentials) as cluster:
        yield cluster


def test_a_file_goes_from_one_instance_through_a_run_to_another(instances: FaultyCluster, model: FakeModel, name: str):
    give = {"tool_call": {"name": "give_file", "arguments": {"name": "a.csv", "content": name}}}
    model.script(name, [[give], [{"text": "Here it is."}]])
    accepts = {"accepts": ["text", "image"]}
    instances.add_agent(name, model.base_url, builtin_tools=["give_file"], parameters=accepts)
    first, second = instances.webs
    headers = {"Authorization": f"Bearer {instances.token}"} if instances.token else {}
    data, before = picture(500, 400), instances.query("SELECT count(*) FROM agents_app_filechunk")
    answer = httpx2.post(f"{first.url}/v1/files", files={"file": ("a.png", data)}, headers=headers, timeout=60)
    file = answer.json()["id"]

    with contextlib.closing(Chat(second.socket_url(name), additional_headers=headers)) as chat:
        end = chat.ask("Look.", agent_name=name, parts=[{"type": "file", "file_id": file}])
    assert end["data"]["status"] == "completed"
    assert "image_url" in [part["type"] for part in model.requests(name)[0]["messages"][-1]["content"]]
    (given,) = first.request("GET", f"/v1/runs/{end['run_id']}/files")[1]["data"]
    for web, pk, expected in ((second, file, data), (first, given["id"], name.encode())):
        assert httpx2.get(f"{web.url}/v1/files/{pk}/content", headers=headers).content == expected
    for pk in (file, given["id"]):
        assert second.request("DELETE", f"/v1/files/{pk}")[0] == 200
    assert instances.query("SELECT count(*) FROM agents_app_filechunk") == before
