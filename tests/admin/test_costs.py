"""What a run costs: tokens times the price that an administrator gave, or that a public table has."""

from decimal import Decimal

import pytest

from agents_app.models import Price, Provider
from agents_app.runs import pricing
from tests.harness.people import shell
from tests.harness.wait import until

USED = {"input_tokens": 1_000, "cached_tokens": 200, "output_tokens": 100, "requests": 1}
COUNTED = {"prompt_tokens": 1_000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 200}}


@pytest.mark.parametrize(
    ("kind", "base_url", "model", "cost"),
    [
        ("openai", "https://api.openai.com/v1", "gpt-4o", "0.0032500000"),  # 800 × 2.5 + 200 × 1.25 + 100 × 10
        ("anthropic", "", "claude-sonnet-4-5", "0.0039600000"),  # 800 × 3 + 200 × 0.3 + 100 × 15
        ("anthropic", "https://api.anthropic.com", "claude-sonnet-4-5", "0.0039600000"),
        ("openai", "http://localhost:11434/v1", "gpt-4o", None),  # the name alone says nothing
        ("openai", "https://api.openai.com/v1", "a-model-that-is-not-there", None),
        ("openai", "", "", None),
    ],
)
def test_list_prices_go_by_model_and_by_who_serves_it(kind, base_url, model, cost):
    assert pricing.Tariff(kind, base_url, model).cost(USED) == (cost and Decimal(cost))


def test_large_requests_have_their_own_price_but_many_small_ones_have_not():
    tariff = pricing.Tariff("anthropic", "", "claude-sonnet-4-5")
    one, many = ({"input_tokens": 500_000, "requests": requests} for requests in (1, 10))
    assert (tariff.cost(one), tariff.cost(many)) == (Decimal(3), Decimal("1.5"))


def test_what_no_provider_can_have_counted_still_fits_its_column():
    rates = pricing.Rates(Decimal(10**7), Decimal(0), Decimal(10**7))
    assert rates.cost({"input_tokens": 10**15, "cached_tokens": 10**16, "output_tokens": 10**15}) == Decimal(10**9)


@pytest.mark.django_db
def test_the_price_by_hand_that_fits_best_is_taken():
    lab = Provider.objects.create(name="lab", base_url="https://api.openai.com/v1")
    other = Provider.objects.create(name="other", base_url="http://other/v1")

    def cost(provider, model):
        return pricing.tariff(provider, model).cost({"input_tokens": 1_000_000, "requests": 1})

    assert (cost(lab, "gpt-4o"), cost(other, "gpt-4o"), cost(None, "gpt-4o")) == (Decimal("2.5"), None, None)
    for provider, model, dollars in ((None, "gpt-*", 4), (None, "gpt-4o", 5), (lab, "*", 6), (lab, "gpt-4*", 7)):
        Price.objects.create(provider=provider, model=model, input=dollars, output=1)
    assert (cost(lab, "gpt-4o"), cost(lab, "o9"), cost(other, "gpt-4o"), cost(other, "gpt-5")) == (7, 6, 5, 4)
    local = Provider.objects.create(name="here", kind="local")
    assert cost(local, "SmolLM2") == 0


def test_a_run_says_what_it_cost_however_it_ended(closed_product, people, model, name):
    """Completed, failed, and stopped while it waited for a person, whose tokens count like all others."""
    boss = people["boss"]
    model.script(name, [[{"usage": COUNTED}, {"text": "Hello."}]])
    asking = f"{name}-asking"
    model.script(
        asking, [[{"usage": COUNTED}, {"tool_call": {"name": "calculate", "arguments": {"expression": "1+1"}}}]]
    )
    for agent in (name, asking):
        boss.add_agent(agent, model.base_url, builtin_tools=["calculate"], approval_required=["*"])
    shell(
        closed_product,
        "from agents_app.models import Price\n"
        f"Price.objects.create(model='{name}*', input='2', cached_input='0.5', output='10')",
    )

    def run(agent, status):
        _, accepted = boss.request("POST", f"/v1/agents/{agent}/runs", {"message": "Hello"})
        path = f"/v1/runs/{accepted['run_id']}"
        until(lambda: boss.request("GET", path)[1]["status"] == status)
        return path

    done = boss.request("GET", run(name, "completed"))[1]
    # 800 × 2 + 200 × 0.5 + 100 × 10 millionths
    assert (done["cost"], done["model"], done["usage"]["cached_tokens"]) == ("0.0027000000", name, 200)

    waits = run(asking, "waiting")
    assert boss.request("GET", waits)[1]["cost"] is None
    boss.request("POST", f"{waits}/cancel")
    stopped = boss.request("GET", waits)[1]
    assert (stopped["status"], stopped["usage"]["input_tokens"]) == ("cancelled", 1_000)
    assert (stopped["cost"], stopped["model"]) == ("0.0027000000", asking)
