"""Who is connected, and a notice to all of them."""


def test_the_open_sockets_are_listed(product, open_chat, name):
    open_chat(name, agent_name="writer")
    status, answer = product.request("GET", "/v1/connections")
    assert status == 200
    (mine,) = [connection for connection in answer["data"] if connection["session_id"] == name]
    assert mine["user"] == "admin"
    assert mine["agent_name"] == "writer"


def test_a_closed_socket_is_not_listed(product, open_chat, name):
    chat, other = open_chat(name), open_chat(f"{name}-other")
    chat.close()
    other.send("ping", timestamp=1)
    other.until("pong")
    _, answer = product.request("GET", "/v1/connections")
    assert name not in [connection["session_id"] for connection in answer["data"]]


def test_a_notice_reaches_every_socket(product, open_chat, name):
    chats = [open_chat(name), open_chat(f"{name}-other")]
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
