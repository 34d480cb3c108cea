"""Who is connected, and a notice to all of them."""

import pytest

from tests.harness.wait import until

pytestmark = pytest.mark.both


def connections(product, session):
    """The open sockets on a session. An instance may hear of one a moment after its client."""
    status, answer = product.request("GET", "/v1/connections")
    assert status == 200
    return [connection for connection in answer["data"] if connection["session_id"] == session]


def test_the_open_sockets_are_listed(product, open_chat, name):
    open_chat(name, agent_name="writer")
    (mine,) = until(lambda: connections(product, name))
    assert mine["user"] == "admin"
    assert mine["agent_name"] == "writer"


def test_a_closed_socket_is_not_listed(product, open_chat, name):
    chat, other = open_chat(name), open_chat(f"{name}-other")
    chat.close()
    other.send("ping", timestamp=1)
    other.until("pong")
    until(lambda: connections(product, f"{name}-other"))
    until(lambda: not connections(product, name))


def test_a_notice_reaches_every_socket(product, open_chat, name):
    chats = [open_chat(name), open_chat(f"{name}-other")]
    until(lambda: all(connections(product, chat) for chat in (name, f"{name}-other")))
    status, answer = product.request("POST", "/v1/broadcast", {"message": "We restart at noon."})
    assert status == 200
    assert answer["sockets"] >= 2
    for chat in chats:
        assert chat.until("notice")["data"] == {"message": "We restart at noon."}


def test_an_empty_notice_is_refused(product):
    status, answer = product.request("POST", "/v1/broadcast", {"message": ""})
    assert status == 400
    assert answer["error"]["param"] == "message"


def test_a_refused_message_is_named_in_the_error(open_chat, name):
    chat = open_chat(name)
    chat.say("hi", agent_name="nobody", message_id="mine")
    assert chat.until("error")["data"]["message_id"] == "mine"


@pytest.mark.slow
def test_a_session_can_be_renamed_while_its_agent_answers(agent, open_chat, product, name):
    who = agent([{"text": "".join(f"{number} " for number in range(1500)), "delay": 0.001}])
    chat = open_chat(name, after=0)
    chat.say("Count.", agent_name=who)
    chat.until("reasoning_delta")
    for number in range(200):
        assert product.request("PATCH", f"/v1/sessions/{name}", {"title": f"Title {number}"})[0] == 200
    assert chat.until("reasoning_complete")["data"]["status"] == "completed"
    assert chat.ask("And again?", agent_name=who)["data"]["status"] == "completed"
