"""An agent's further models over REST and in files: who may set which, and what versions hold of them."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents_app.configuration.apply import apply
from agents_app.configuration.dumping import dump
from agents_app.configuration.parsing import read
from agents_app.models import Agent, AgentVersion, Provider
from tests.harness.responses import error_of

JSON = "application/json"
BOTH = [
    {"provider": "lab", "model": "large", "accepts": None},
    {"provider": None, "model": "small", "accepts": ["text", "image"]},
]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def providers():
    for name in ("main", "lab"):
        Provider.objects.create(name=name, base_url=f"http://{name}:1/v1", default_model="m", is_default=name == "main")


@pytest.fixture
def agent(admin_client):
    body = {"name": "a", "fallback_models": BOTH}
    assert admin_client.post("/v1/agents", body, JSON).json()["fallback_models"] == BOTH
    return Agent.objects.get()


def fallbacks(client, path="/v1/agents/a"):
    body = client.get(path).json()
    return body.get("spec", body)["fallback_models"]


@pytest.mark.both
def test_an_agent_has_its_further_models_in_order_and_its_versions_have_them_too(admin_client, agent):
    change = lambda verb, body: getattr(admin_client, verb)("/v1/agents/a", body, JSON)  # noqa: E731
    assert change("patch", {"fallback_models": BOTH[::-1]}).json()["fallback_models"] == BOTH[::-1]
    assert change("patch", {"role": "r"}).json()["fallback_models"] == BOTH[::-1]
    assert change("patch", {"fallback_models": BOTH[::-1]}).json()["version"] == 3
    assert change("put", {"name": "a"}).json()["fallback_models"] == []
    assert [fallbacks(admin_client, f"/v1/agents/a/versions/{number}") for number in (1, 2, 4)] == [
        BOTH,
        BOTH[::-1],
        [],
    ]
    activated = admin_client.post("/v1/agents/a/versions/1/activate", {}, JSON)
    assert (activated.json()["fallback_models"], fallbacks(admin_client)) == (BOTH, BOTH)
    assert error_of(admin_client.delete("/v1/providers/lab"), 409)["code"] == "in_use"


@pytest.mark.parametrize(
    ("value", "param"),
    [
        (7, "fallback_models"),
        ([7], "fallback_models.0"),
        ([{}], "fallback_models.0.model"),
        ([{"model": "m"}, {"provider": "nobody"}], "fallback_models.1.provider"),
        ([{"model": "m", "accepts": ["video"]}], "fallback_models.0.accepts.0"),
        ([{"model": "m", "key": "k"}], "fallback_models.0.key"),
        ([{"model": "m"}] * 6, "fallback_models"),
    ],
)
def test_what_is_no_list_of_models_is_refused(admin_client, value, param):
    error = error_of(admin_client.post("/v1/agents", {"name": "a", "fallback_models": value}, JSON), 400)
    assert error["param"].startswith(param)
    assert Agent.objects.count() == 0


@pytest.mark.parametrize("verb", ["post", "patch", "draft"])
def test_a_user_names_models_that_users_may_use(settings, verb):
    settings.AUTH_REQUIRED = True
    client = Client(headers={"Origin": "http://testserver"})
    client.force_login(User.objects.create_user("ann"))
    body = {} if verb != "post" else {"name": "a"}
    if verb != "post":
        assert client.post("/v1/agents", {"name": "a"}, JSON).status_code == 201
    address = {"post": "/v1/agents", "patch": "/v1/agents/a", "draft": "/v1/agents/a/draft"}[verb]
    send = getattr(client, "put" if verb == "draft" else verb)
    for closed in ({"provider": "lab"}, {"model": "large"}, {"provider": "main", "model": "large"}):
        error = error_of(send(address, body | {"fallback_models": [closed]}, JSON), 400)
        assert error["param"] == "fallback_models"
    Provider.objects.filter(name="lab").update(open_to_users=True)
    assert send(address, body | {"fallback_models": BOTH[:1]}, JSON).status_code < 300
    spec = AgentVersion.objects.order_by("-created_at").first().spec
    assert [each["model"] for each in spec["fallback_models"]] == ["large"]


def test_files_have_them_as_the_api_has(admin_client, agent, tmp_path):
    file = tmp_path / "agents.yaml"
    file.write_text(dump())
    agent.delete()
    apply(read([file]))
    assert fallbacks(admin_client) == BOTH
    assert apply(read([file])).unchanged == 3
