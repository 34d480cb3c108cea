"""The begin and end of a session reach its watchers on all instances."""

import threading
import time

import pytest

from tests.harness.chat import Chat
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.watchers import FaultyCluster

pytestmark = pytest.mark.slow


def test_a_session_that_is_deleted_and_made_again_is_another_one_on_every_instance(
    whole: FaultyCluster, model: FakeModel, name: str
):
    model.script(name, [[{"text": "An answer."}]])
    whole.add_agent(name, model.base_url)
    options = {"additional_headers": {"Authorization": f"Bearer {whole.token}"}}
    early = [Chat(web.socket_url(name), **options) for web in whole.webs for _ in range(2)]
    assert [chat.connected["data"]["id"] for chat in early] == [None] * 4
    early[0].say("one", agent_name=name)
    for chat in early:  # they waited for the name, on both instances
        chat.until("reasoning_complete")
    ids = {web.request("GET", f"/v1/sessions/{name}")[1]["id"] for web in whole.webs}
    late = [Chat(web.socket_url(address), **options) for web in whole.webs for address in (name, *ids)]
    assert {chat.connected["data"]["id"] for chat in late} == ids

    codes, began = [], time.monotonic()
    threads = [threading.Thread(target=lambda chat=chat: codes.append(chat.close_code())) for chat in (*early, *late)]
    for thread in threads:
        thread.start()
    assert whole.webs[1].request("DELETE", f"/v1/sessions/{name}")[0] == 204
    body = {"message": "a secret", "session_id": name}
    assert whole.webs[1].request("POST", f"/v1/agents/{name}/runs", body)[0] == 202
    for thread in threads:
        thread.join(60)
    print(f"closed after {time.monotonic() - began:.2f} s")
    assert codes == [4404] * len(threads)
    assert "a secret" not in str([chat.fold.frames for chat in (*early, *late)])
    again = Chat(whole.webs[0].socket_url(name, after=0), **options)
    assert again.connected["data"]["id"] not in ids
    again.until("reasoning_complete")
    again.close()
