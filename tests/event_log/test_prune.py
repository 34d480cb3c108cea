"""Old events go, and whoever asks for them is told so."""

from tests.harness import zygote


def prune(product, *arguments: str) -> str:
    return zygote.run(product.command("prune", *arguments), env=product.environment, check=True).stdout


def test_pruned_events_are_never_missing_silently(product, agent, open_chat, name):
    who = agent([{"text": "an answer"}])
    first = open_chat(name, after=0)
    first.ask("one", agent_name=who)
    prune(product, "--days", "0")
    late = open_chat(name, after=0)
    reset = late.next()
    assert reset == {"type": "reset", "data": {"after": first.fold.cursor}}
    late.fold.cursor = reset["data"]["after"]
    late.ask("two", agent_name=who)
    assert [frame["data"]["message"] for frame in late.fold.of_type("reasoning_start")] == ["two"]


def test_young_events_stay(product, agent, open_chat, name):
    who = agent([{"text": "an answer"}])
    open_chat(name).ask("one", agent_name=who)
    prune(product, "--days", "1")
    late = open_chat(name, after=0)
    late.until("reasoning_complete")


def test_an_unfinished_run_keeps_its_events(product, agent, open_chat, model, name):
    who = agent([{"text": "half"}, {"wait": name}, {"text": " whole"}])
    chat = open_chat(name, after=0)
    chat.say("hi", agent_name=who)
    chat.until_text("half")
    prune(product, "--days", "0")
    late = open_chat(name, after=0)
    late.until_text("half")
    model.release(name)
    for watcher in (chat, late):
        watcher.until("reasoning_complete")
        assert watcher.fold.story() == [("final_answer", "half whole")]


def test_the_command_wants_an_age(product):
    result = zygote.run(product.command("prune"), env=product.environment)
    assert result.returncode == 1
    assert "--days" in result.stderr
