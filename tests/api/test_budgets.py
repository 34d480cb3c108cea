"""/v1/budgets: administrators write, users read their own with what is left."""

import httpx2
import pytest
import yaml

from agents_app.configuration import apply, dumping, parsing
from agents_app.models import Budget
from agents_app.models.budgets import forget_rules, rules

pytestmark = pytest.mark.slow

GENERATIONS = 21  # of tokens that create each other


def test_users_read_their_own_and_see_at_the_openai_api_what_is_left(closed_product, people, model, name):
    boss, ann, bob = people["boss"], people["ann"], people["bob"]
    model.script(name, [[{"text": "Done."}, {"usage": {"prompt_tokens": 10, "completion_tokens": 90}}]])
    boss.add_agent(name, model.base_url)
    body = {"name": name, "scope": "user", "user": "ann", "amount": 1.5, "tokens": 1000, "unknown_price": 100}
    assert ann.request("POST", "/v1/budgets", body)[0] == 403
    assert boss.request("POST", "/v1/budgets", body)[0] == 201
    try:
        chat = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
        address = f"{closed_product.url}/v1/chat/completions"
        answer = httpx2.post(address, json=chat, headers=ann.headers, timeout=60)
        assert (answer.status_code, answer.headers["x-budget-remaining"]) == (200, "1.500000")
        assert answer.headers["x-budget-remaining-tokens"] == "1000"
        assert "x-budget-remaining" not in httpx2.post(address, json=chat, headers=bob.headers, timeout=60).headers
        status, own = ann.request("GET", f"/v1/budgets/{name}")
        assert (status, own["spent_tokens"], own["left_tokens"], own["spent"]) == (200, 100, 900, 0.01)
        assert bob.request("GET", f"/v1/budgets/{name}")[0] == 404
        assert ann.request("PATCH", f"/v1/budgets/{name}", {"tokens": 10_000})[0] == 403
        assert boss.request("PATCH", f"/v1/budgets/{name}", {"tokens": 50})[1]["spent_tokens"] == 100
        refused = httpx2.post(address, json=chat, headers=ann.headers, timeout=60)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_reached")
        assert refused.headers["x-should-retry"] == "false"
    finally:
        boss.request("DELETE", f"/v1/budgets/{name}")


def test_a_token_cannot_leave_its_budget_by_creating_another(closed_product, people, model, name):
    boss, ann = people["boss"], people["ann"]
    boss.add_agent(name, model.base_url)
    made = ann.request("POST", "/v1/tokens", {"name": name})[1]
    other = made
    for _ in range(GENERATIONS):
        headers = {"Authorization": f"Bearer {other['token']}"}
        other = closed_product.request("POST", "/v1/tokens", {"name": f"{name} 2"}, **headers)[1]
    body = {"name": name, "scope": "token", "token": made["id"], "tokens": 0, "period": "total"}
    assert boss.request("POST", "/v1/budgets", body)[0] == 201
    start = ("POST", f"/v1/agents/{name}/runs", {"message": "hi"})
    for token in (made, other):
        status, refused = closed_product.request(*start, Authorization=f"Bearer {token['token']}")
        assert (status, refused["error"]["code"]) == (429, "budget_reached"), refused
    assert ann.request(*start)[0] == 202
    assert ann.request("DELETE", f"/v1/tokens/{made['id']}")[0] == 204  # a user may have 100


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "amount"),
        ({"tokens": -1}, "tokens"),
        ({"tokens": 10**30}, "tokens"),
        ({"amount": "5"}, "amount"),
        ({"amount": 1e300}, "amount"),
        ({"amount": 5, "scope": "user"}, "user"),
        ({"amount": 5, "user": "ann"}, "user"),
        ({"amount": 5, "scope": "agent", "agent": "nobody-knows"}, "agent"),
        ({"amount": 5, "scope": "token", "token": "no uuid"}, "token"),
        ({"amount": 5, "period": "week"}, "period"),
        ({"amount": 5, "action": "explode"}, "action"),
        ({"amount": 5, "unknown_price": -1}, "unknown_price"),
        ({"amount": 5, "spent": 0, "colour": "red"}, "colour"),
    ],
)
def test_a_bad_budget_names_the_field(people, name, fields, field):
    status, answer = people["boss"].request("POST", "/v1/budgets", {"name": name, **fields})
    assert (status, answer["error"]["param"]) == (400, field), answer


@pytest.mark.both
@pytest.mark.django_db
def test_budgets_as_yaml(tmp_path, admin_user):
    file = tmp_path / "budgets.yaml"
    file.write_text("budgets:\n  team:\n    amount: 12.5\n    period: day\n    action: ask\n")
    apply.apply(parsing.read([file]))
    Budget.objects.update(spent=5)
    assert not apply.apply(parsing.read([file])).changes, "what was spent is not configuration"
    dumped = yaml.safe_load(dumping.dump())["budgets"]
    assert dumped == {"team": {"amount": 12.5, "period": "day", "action": "ask"}}
    assert Budget.objects.get().spent == 5


@pytest.mark.django_db
def test_without_budgets_a_start_asks_for_them_once(django_assert_num_queries):
    forget_rules()
    with django_assert_num_queries(1):
        assert not any(rules() for _ in range(100))
