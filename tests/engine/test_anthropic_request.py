"""Whatever was said before, by whichever provider: Anthropic's API takes what it is asked."""

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given, settings

from agents_app.engine.providers.anthropic_messages import encode_messages
from agents_app.engine.providers.anthropic_request import body
from agents_app.engine.providers.anthropic_thinking import Abilities, abilities
from agents_app.engine.providers.base import ModelRequest
from agents_app.engine.spec import Message, Parameters, replay_call
from agents_app.engine.toolset import Tool
from tests.harness.fakes import anthropic_rules
from tests.harness.fakes.anthropic_rules import FAMILIES, VERSIONS

TEXTS = st.sampled_from(["", " ", "\n\n", "Hello.", "nul\x00", "ünï"])
IDS = st.sampled_from(["call_0", "call_0", "functions.read:0", "functions_read_0", "toolu_1", "ß", "x" * 128])
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "of another model"}
TOOL = Tool("read", "", {"type": "object", "anyOf": [{"required": ["path"]}]}, call=None)


@st.composite
def rounds(draw):
    """A turn that calls tools, and results of some of its calls, in any order."""
    names = st.sampled_from(["read", "files.read", "no such tool", ""])
    ids = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
    written = st.sampled_from(['{"a":1}', "", "{broken"])
    calls = []
    for call_id in ids:
        text = draw(written)
        usable = None if text == "{broken" else orjson.loads(text or "{}")
        calls.append(replay_call(call_id, draw(names), usable, text))
    blocks = draw(st.sampled_from([(), (THOUGHT, {"type": "tool_use"})]))
    turn = Message("assistant", draw(TEXTS), tuple(calls), blocks=blocks, origin="anthropic/another")
    answered = draw(st.permutations(ids))[: draw(st.integers(0, len(ids)))]
    failed = st.booleans()
    return [turn, *(Message("tool", draw(TEXTS), tool_call_id=each, is_error=draw(failed)) for each in answered)]


@st.composite
def conversations(draw):
    messages = draw(st.sampled_from([[], [Message("assistant", "A greeting.")]]))[:]
    for _ in range(draw(st.integers(0, 3))):
        messages.append(Message("user", "A question."))
        for each in draw(st.lists(rounds(), max_size=2)):
            messages += each
        messages.append(Message("assistant", draw(TEXTS)))
    messages.append(Message("user", "The question."))
    for each in draw(st.lists(rounds(), max_size=2)):
        messages += each
    return messages


PARAMETERS = st.builds(
    Parameters,
    temperature=st.sampled_from([None, 0.0, 0.5, 2.0]),
    top_p=st.sampled_from([None, 0.5]),
    max_tokens=st.sampled_from([None, 1, 512, 1_000_000]),
    reasoning_effort=st.sampled_from(["", "none", "minimal", "low", "medium", "high", "xhigh"]),
    thinking_budget=st.sampled_from([None, 0, 1, 2000, 1_000_000]),
)


def described(family: anthropic_rules.Family) -> Abilities:
    types = {kind: {"supported": True} for kind in family.thinking}
    effort = {"supported": True} | {level: {"supported": True} for level in family.efforts}
    capabilities = {"thinking": {"types": types}, "effort": effort}
    return abilities({"capabilities": capabilities, "max_tokens": family.max_tokens})


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["budget", "both", "adaptive", "always"]),
    conversations(),
    PARAMETERS,
    TEXTS,
    st.booleans(),
)
def test_the_api_takes_whatever_it_is_asked(name, messages, parameters, prompt, has_tools):
    family = FAMILIES[name]
    request = ModelRequest("claude", prompt, messages, (TOOL,) if has_tools else (), parameters)
    content, headers = body(request, described(family))
    anthropic_rules.check(orjson.loads(content), family, {}, headers.get("anthropic-version", VERSIONS[1]))
    encode_messages(message for message in messages if message.role != "assistant")  # of another request, or none
    assert body(request, described(family))[0] == content


def test_a_run_that_was_begun_without_thoughts_ends_without_them():
    """Else a model with a budget refuses: the agent was changed while the run waited for something."""
    call = replay_call("call_0", "read", {}, "{}")
    messages = [Message("user", "Hi."), Message("assistant", "", (call,)), Message("tool", "x", tool_call_id="call_0")]
    request = ModelRequest("claude", "", messages, (TOOL,), Parameters(thinking_budget=2000, max_tokens=100))
    requests = orjson.loads(body(request, described(FAMILIES["budget"]))[0])
    assert "thinking" not in requests
    assert requests["max_tokens"] == 100


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"capabilities": None}, {"capabilities": 7}, {"data": []}, {"max_tokens": "many"}]
)
def test_a_server_that_does_not_describe_its_models_is_believed_to_take_all(answer):
    assert abilities(answer) == Abilities()
