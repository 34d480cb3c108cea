"""What was opened with a session or a token ends with it: sockets by ticket, streams, and tokens made with tokens."""

import threading
import time
import urllib.request
from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.db import SessionStore as PlainStore
from django.contrib.sessions.models import Session

from agents_app.access import browser_sessions, revocation, sign_out
from agents_app.access.callers import Caller, of_socket
from agents_app.models import ApiToken, Ticket
from tests.harness.chat import Chat
from tests.harness.form_client import FormClient
from tests.harness.people import PASSWORD, Person, close_code, invite, shell

BOUND = 30.0  # seconds on a busy machine; the server looks at once, or every other second


def socket_by_ticket(person: Person, headers: dict[str, str], session: str) -> Chat:
    status, made = person.product.request("POST", "/v1/ws-tickets", **headers)
    assert status == 201
    return Chat(person.product.socket_url(session), subprotocols=["agent.v1", f"ticket.{made['ticket']}"])


def follow(person: Person, headers: dict[str, str], session: str) -> threading.Thread:
    """A thread that reads an event stream to its end; started once the stream is open."""
    headers = headers | {"Accept": "text/event-stream"}
    request = urllib.request.Request(f"{person.product.url}/v1/sessions/{session}/events?after=0", headers=headers)
    stream = urllib.request.urlopen(request, timeout=60)

    def read() -> None:
        with stream:
            for _ in stream:
                pass

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def sign_out_here(browser: FormClient, _: Person) -> None:
    browser.post("/accounts/logout/")


def change_password(browser: FormClient, person: Person) -> None:
    script = f"""
from django.contrib.auth import get_user_model
user = get_user_model().objects.get(username={person.name!r})
user.set_password({PASSWORD!r} + " anew")
user.save()
"""
    shell(person.product, script)


def sign_out_on_another_machine(browser: FormClient, person: Person) -> None:
    other = FormClient(person.product)
    other.sign_in(person.name)
    assert "/accounts/login/" in other.post("/accounts/logout-everywhere/")[1]


@pytest.mark.parametrize("end", [sign_out_here, change_password, sign_out_on_another_machine])
def test_all_that_a_browser_opened_ends_with_its_session(people, model, name, end: Callable):
    product = people["boss"].product
    user = invite(product, name)[name]
    model.script(name, [[{"text": "hello"}]])
    people["boss"].add_agent(name, model.base_url)
    other = user.chat(name)
    other.ask("hi", agent_name=name)
    browser = FormClient(product)
    browser.sign_in(name)
    headers = browser.header | {"Origin": product.url}
    by_ticket = socket_by_ticket(user, headers, name)
    by_cookie = Chat(product.socket_url(name), additional_headers=headers)
    stream = follow(user, headers, name)
    _, unused = product.request("POST", "/v1/ws-tickets", **headers)

    started = time.monotonic()
    end(browser, user)
    assert (by_ticket.close_code(), by_cookie.close_code()) == (4401, 4401)
    stream.join(BOUND)
    assert not stream.is_alive()
    took = time.monotonic() - started
    print(f"{end.__name__}: two sockets and a stream ended {took:.1f} s after the request for it began")
    assert took < BOUND
    assert close_code(product.socket_url(name), {}, ["agent.v1", f"ticket.{unused['ticket']}"]) == 4401
    other.send("ping", timestamp=1)
    other.until("pong")  # what a token opened goes on
    other.close()


def test_a_token_takes_along_the_tokens_that_it_made(people, name):
    ann = people["ann"]
    _, first = ann.request("POST", "/v1/tokens", {"name": f"{name}-1"})
    _, second = Person(ann.product, "ann", first["token"]).request("POST", "/v1/tokens", {"name": f"{name}-2"})
    third_of = Person(ann.product, "ann", second["token"])
    _, third = third_of.request("POST", "/v1/tokens", {"name": f"{name}-3"})
    assert (second["made_with"], third["made_with"]) == (first["id"], second["id"])
    robot = Person(ann.product, "ann", third["token"])
    chat = robot.chat(name)
    by_ticket = socket_by_ticket(ann, robot.headers, name)
    assert ann.request("DELETE", f"/v1/tokens/{first['id']}")[0] == 204
    assert robot.request("GET", "/v1/sessions")[0] == 401
    assert (chat.close_code(), by_ticket.close_code()) == (4401, 4401)
    assert ann.request("GET", "/v1/sessions")[0] == 200


# Without a server


@pytest.fixture
def ann(db, settings):
    settings.AUTH_REQUIRED = True
    return get_user_model().objects.create_user("ann", "", PASSWORD)


@pytest.mark.parametrize("with_tokens", [True, False])
def test_signing_out_everywhere_ends_the_users_own_sessions_only(client, admin_client, ann, with_tokens):
    client.force_login(ann)
    robot, _ = ApiToken.objects.create(ann, name="robot")
    ticket = Ticket.objects.issue(ann, None, browser_sessions.hash_key(client.session.session_key))
    sign_out.everywhere(ann, by="ann", with_tokens=with_tokens)
    assert client.get("/v1/sessions").status_code == 401
    assert admin_client.get("/v1/sessions").status_code == 200
    assert ApiToken.objects.filter(pk=robot.pk).exists() is not with_tokens
    assert of_socket(address=None, authorization=None, ticket=ticket, session_key=None) is None


def test_the_form_signs_out_and_revokes_tokens_on_request(client, ann):
    ApiToken.objects.create(ann, name="robot")
    client.force_login(ann)
    assert client.post("/accounts/logout-everywhere/").headers["Location"] == "/accounts/login/"
    assert ApiToken.objects.count() == 1
    client.force_login(ann)
    client.post("/accounts/logout-everywhere/", {"tokens": "on"})
    assert not ApiToken.objects.exists()
    assert not Session.objects.exists()
    assert client.post("/accounts/logout-everywhere/").status_code == 302, "of nobody nothing ends"


def test_an_administrator_signs_somebody_out(client, admin_client, ann):
    client.force_login(ann)
    ApiToken.objects.create(ann, name="robot")
    admin_client.post("/admin/auth/user/", {"action": "sign_out_and_revoke", "_selected_action": [ann.pk]})
    assert client.get("/v1/sessions").status_code == 401
    assert not ApiToken.objects.exists()


def test_a_check_asks_for_all_sessions_at_once(client, ann, django_assert_max_num_queries):
    watches = set()
    for number in range(20):
        browser = type(client)()
        browser.force_login(ann)
        session_hash = browser_sessions.hash_key(browser.session.session_key)
        watches.add((Caller(ann, session_hash=session_hash), f"s{number}"))
    with django_assert_max_num_queries(5):
        assert revocation._ended(watches) == {}
    ann.set_password("another one")
    ann.save()
    assert len(revocation._ended(watches)) == 20


def test_a_session_of_nobody_and_a_forged_one_are_no_users(ann):
    nobody = browser_sessions.SessionStore()
    nobody["x"] = 1
    nobody.save()
    forged = PlainStore()
    forged["_auth_user_id"], forged["_auth_user_hash"] = str(ann.pk), "guessed"
    forged.save()
    hashes = [browser_sessions.hash_key(nobody.session_key), forged.session_key, "unknown"]
    assert browser_sessions.users_of(hashes) == {}
