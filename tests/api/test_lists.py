"""Lists: pages that neither skip nor double."""

import pytest

from agents_app.models import Agent

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("admin_user"), pytest.mark.both]


@pytest.fixture
def agents():
    return [Agent.objects.create(name=f"agent-{number}") for number in range(7)]


def walk(client, url):
    """The names on each page, following `next` to the end."""
    pages = []
    while url:
        page = client.get(url).json()
        assert page["object"] == "list"
        assert page["has_more"] is (page["next"] is not None)
        pages.append([agent["name"] for agent in page["data"]])
        url = page["next"]
    return pages


def names_of(client, url):
    return [name for page in walk(client, url) for name in page]


def test_pages_follow_each_other(client, agents):
    names = [agent.name for agent in agents]
    assert walk(client, "/v1/agents?limit=3") == [names[:3], names[3:6], names[6:]]
    assert walk(client, "/v1/agents?limit=7") == [names]


def test_pages_follow_each_other_backwards(client, agents):
    names = [agent.name for agent in reversed(agents)]
    assert names_of(client, "/v1/agents?limit=2&ordering=-name") == names


@pytest.mark.parametrize("ordering", ["created_at", "-created_at"])
def test_equal_values_are_told_apart(client, agents, ordering):
    Agent.objects.update(created_at=agents[0].created_at)
    result = names_of(client, f"/v1/agents?limit=2&ordering={ordering}")
    assert sorted(result) == [agent.name for agent in agents]


def test_rows_that_come_or_go_between_pages_disturb_nobody(client, agents):
    first = client.get("/v1/agents?limit=3").json()
    Agent.objects.create(name="aaa")
    Agent.objects.filter(name="agent-2").delete()
    assert names_of(client, first["next"]) == ["agent-3", "agent-4", "agent-5", "agent-6"]


def test_an_empty_list_is_a_list(client):
    assert client.get("/v1/agents").json() == {"object": "list", "data": [], "has_more": False, "next": None}


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "1.5", "1e2", "²", "9" * 5000, " 5"])
def test_a_wrong_limit_is_named(client, limit):
    response = client.get("/v1/agents", {"limit": limit})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "limit"


@pytest.mark.parametrize(
    "cursor",
    ["x", "=", "AAAA", "W10", "WyJuYW1lIl0", "ü", "WyItbmFtZSIsICJhIiwgIjEiXQ", "bnVsbA", "W1tdXQ", "\0"],
)
def test_a_wrong_cursor_is_named(client, cursor):
    response = client.get("/v1/agents", {"cursor": cursor})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "cursor"


def test_a_cursor_of_another_ordering_is_refused(client, agents):
    page = client.get("/v1/agents?limit=2&ordering=-name").json()
    response = client.get(page["next"].replace("ordering=-name", "ordering=created_at"))
    assert response.json()["error"]["param"] == "cursor"
