"""Tickets of the chat socket: good once, for a minute, wherever they are shown."""

import datetime
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.utils import timezone

from agents_app.models import ApiToken, Ticket
from tests.harness.people import Person, close_code


def ticket_of(person: Person) -> str:
    status, answer = person.request("POST", "/v1/ws-tickets")
    assert (status, answer["expires_in"]) == (201, 60)
    return answer["ticket"]


def protocols(ticket: str) -> list[str]:
    return ["agent.v1", f"ticket.{ticket}"]


def test_a_ticket_opens_one_socket(people, name):
    url = people["ann"].product.socket_url(name)
    ticket = ticket_of(people["ann"])
    assert close_code(url, {}, protocols(ticket)) is None
    assert close_code(url, {}, protocols(ticket)) == 4401


def test_a_page_of_another_site_cannot_use_it(people, name):
    url = people["ann"].product.socket_url(name)
    ticket = ticket_of(people["ann"])
    assert close_code(url, {"Origin": "https://elsewhere.example"}, protocols(ticket)) == 4403
    assert close_code(url, {"Origin": people["ann"].product.url}, protocols(ticket)) is None


@pytest.mark.parametrize("ticket", ["", "x", "ticket", "f" * 43, "A" * 2000])
def test_what_is_no_ticket_opens_nothing(people, name, ticket):
    assert close_code(people["ann"].product.socket_url(name), {}, protocols(ticket)) == 4401


def test_a_ticket_is_its_owners(people, model, name):
    model.script(name, [[{"text": "hello"}]])
    people["boss"].add_agent(name, model.base_url)
    chat = people["ann"].chat(name)
    chat.ask("hi", agent_name=name)
    chat.close()
    _, session = people["ann"].request("GET", f"/v1/sessions/{name}")
    url = people["ann"].product.socket_url(session["id"])
    boss = people["boss"]
    limited = boss.request("POST", "/v1/tokens", {"name": "robot", "scope": "run"})[1]["token"]
    for person in (people["bob"], Person(boss.product, "boss", limited)):  # a ticket has the rights of its token
        assert close_code(url, {}, protocols(ticket_of(person))) == 4404
    for person in (people["ann"], boss):
        assert close_code(url, {}, protocols(ticket_of(person))) is None


def test_nobody_gets_one_without_signing_in(people):
    assert people[""].request("POST", "/v1/ws-tickets")[0] == 401


def test_of_many_who_show_it_at_once_one_gets_in(people, name):
    url = people["ann"].product.socket_url(name)
    ticket = ticket_of(people["ann"])
    together = threading.Barrier(8)

    def show(_: int) -> int | None:
        together.wait()
        return close_code(url, {}, protocols(ticket))

    with ThreadPoolExecutor(8) as threads:
        codes = sorted(threads.map(show, range(8)), key=str)
    assert codes == [4401] * 7 + [None]


@pytest.mark.django_db
def test_a_ticket_is_good_for_a_minute(admin_user):
    began, minute = timezone.now(), datetime.timedelta(seconds=60)
    text = Ticket.objects.issue(admin_user, None)
    assert began + minute <= Ticket.objects.get().expires_at <= timezone.now() + minute
    Ticket.objects.update(expires_at=timezone.now())
    assert Ticket.objects.redeem(text) is None


@pytest.mark.django_db
def test_a_revoked_token_takes_its_tickets_with_it(admin_user):
    token, _ = ApiToken.objects.create(admin_user, name="x")
    text = Ticket.objects.issue(admin_user, token)
    token.delete()
    assert Ticket.objects.redeem(text) is None


@pytest.mark.django_db
def test_a_ticket_ends_with_the_token_that_it_was_made_with(admin_user):
    token, _ = ApiToken.objects.create(admin_user, datetime.timedelta(minutes=1), name="x")
    good, late = (Ticket.objects.issue(admin_user, token) for _ in range(2))
    assert Ticket.objects.redeem(good) is not None
    ApiToken.objects.update(expiry=timezone.now())
    assert Ticket.objects.redeem(late) is None


@pytest.mark.django_db
def test_old_tickets_are_swept_away(admin_user):
    Ticket.objects.issue(admin_user, None)
    Ticket.objects.update(expires_at=timezone.now())
    Ticket.objects.issue(admin_user, None)
    assert Ticket.objects.count() == 1
