"""Our own MCP server at /mcp, asked by the official client: agents and tasks as tools for other programs' models."""

import asyncio
import json
import subprocess

import pytest
from mcp import Client, MCPError, StdioServerParameters

from agents_app.mcp_server.resumption import ResumePoint
from tests.harness import zygote
from tests.harness.clients.mcp_client import LEGACY, MODERN, Progress, Raw, client, events, run
from tests.harness.daemon import free_port, program
from tests.harness.fakes.mcp_servers import FOLDER
from tests.harness.paths import ROOT
from tests.harness.people import add_crowd, shell
from tests.harness.wait import until

ERAS = pytest.mark.parametrize("era", [LEGACY, MODERN])
CALCULATES = [
    [{"text": "I calculate. "}, {"tool_call": {"name": "calculate", "arguments": {"expression": "6*7"}}}],
    [{"text": "It is 42."}],
]


@pytest.mark.both
@pytest.mark.slow
def test_any_agent_is_found_however_many_there_are(product, agent, name):
    who = agent([{"text": "Hello."}], description="Finds what nobody finds.")
    add_crowd(product, f"a-{name}", 201, description=f"crowd of {name}")

    async def story():
        async with client(product.url, token=product.token) as connected:
            crowd = (await connected.call_tool("list_agents", {"search": f"Crowd of {name}"})).structured_content
            assert (len(crowd["agents"]), crowd["more"]) == (200, True)
            last = (await connected.call_tool("list_agents", {"search": "Nobody finds"})).structured_content
            assert [results["name"] for results in last["agents"]] == [who]
            assert last["more"] is False

    try:
        run(story)
    finally:
        shell(
            product, f"from agents_app.models import Agent\nAgent.objects.filter(name__startswith='a-{name}-').delete()"
        )


@pytest.mark.both
@ERAS
def test_an_agent_answers_and_its_steps_are_progress_messages(product, agent, name, era):
    who = agent(*CALCULATES, builtin_tools=["calculate"], description="Knows numbers.")

    async def story():
        async with client(product.url, token=product.token, mode=era) as connected:
            listed = (await connected.call_tool("list_agents", {"search": who})).structured_content["agents"]
            assert {"name": who, "role": "", "description": "Knows numbers."} in listed
            progress = Progress()
            names = {"message": "6 times 7?", "agent_name": who}
            result = await connected.call_tool("run_agent", names, progress_callback=progress)
            assert not result.is_error
            assert result.content[0].text == "It is 42."
            output = result.structured_content
            assert (output["status"], output["result"]) == ("completed", "It is 42.")
            assert output["run_id"] in progress.lines[0]
            requests = [line for line in progress.lines[1:] if line != "The run continues."]  # said where it takes long
            assert requests == [
                f"{who} has started.", "I calculate.", "Calls calculate.", "calculate has answered.",
            ]  # fmt: skip
            assert progress.numbers == sorted(set(progress.numbers))
            status, row = product.request("GET", f"/v1/runs/{output['run_id']}")
            assert (status, row["trigger"], row["prompt"]) == (200, "mcp", "6 times 7?")

    run(story)


@pytest.mark.both
def test_a_conversation_goes_on_in_the_session_that_is_named(product, agent, model, name):
    who = agent([{"text": "Hello Ann."}], [{"text": "Ann."}])

    async def story():
        async with client(product.url, token=product.token) as connected:
            for message in ("I am Ann.", "Who am I?"):
                names = {"message": message, "agent_name": who, "session_id": name}
                assert not (await connected.call_tool("run_agent", names)).is_error

    run(story)
    requests = [message["content"] for message in model.requests(who)[1]["messages"]]
    assert requests[-3:] == ["I am Ann.", "Hello Ann.", "Who am I?"]


def test_versions_of_agents_are_run_by_their_numbers_and_ask_each_other(product, agent, model, name):
    other = f"{name}-other"
    ask = {"name": "ask_agent", "arguments": {"agent": f"{other}@1", "message": "What is it?"}}
    who = agent([{"tool_call": ask}], [{"text": "They say 42."}], builtin_tools=["ask_agent"], system_prompt="first")
    model.script(other, [[{"text": "It is 42."}]])
    product.add_agent(other, model.base_url, system_prompt="first")
    for edited in (who, other):
        change = {"system_prompt": "second", "builtin_tools": []}
        assert product.request("PATCH", f"/v1/agents/{edited}", change)[0] == 200

    async def story():
        async with client(product.url, token=product.token) as connected:
            for named, text in ((f"{who}@1", "They say 42."), (f"{who}@3", f"The agent '{who}' has no version 3.")):
                result = await connected.call_tool("run_agent", {"message": "go", "agent_name": named})
                assert result.content[0].text == text

    run(story)
    assert [model.requests(one)[0]["messages"][0]["content"] for one in (who, other)] == ["first", "first"]


@pytest.mark.both
@ERAS
def test_a_call_that_is_cancelled_stops_its_run(product, agent, model, name, era):
    """Up to 2025-11-25 the client says so in a notification, which any instance may get; later it hangs up."""
    who = agent([{"text": "Let me "}, {"wait": f"{name}-never"}])

    async def story():
        async with client(product.url, token=product.token, mode=era) as connected:
            progress = Progress()
            names = {"message": "go", "agent_name": who}
            call = asyncio.create_task(connected.call_tool("run_agent", names, progress_callback=progress))
            run_id = (await progress.seen("in session")).split()[1]
            await asyncio.to_thread(model.wait_for_request, who)
            call.cancel()
            await asyncio.to_thread(model.wait_for_abort, who)
            await asyncio.to_thread(
                until, lambda: product.request("GET", f"/v1/runs/{run_id}")[1]["status"] != "running"
            )
            result = await connected.call_tool("get_run", {"run_id": run_id})
            assert result.structured_content["status"] == "cancelled"

    run(story)


@pytest.fixture
def speak():
    """Make clients by hand; they hang up at the end of the test."""
    made = []

    def make(product, **options):
        made.append(Raw(product, **options))
        return made[-1]

    yield make
    for each in made:
        each.hang_up()


@pytest.mark.both
def test_who_loses_the_connection_goes_on_from_the_last_event(product, speak, agent, model, name):
    who = agent([{"text": "One. "}, {"tool_call": {"name": "calculate", "arguments": {"expression": "1+1"}}}],
                [{"wait": name}, {"text": "Two."}], builtin_tools=["calculate"])  # fmt: skip
    raw = speak(product)
    stream = events(raw.call(7, message="go", agent_name=who))
    last, output = next((event_id, m) for event_id, m in stream if m and "has answered" in m["params"]["message"])
    raw.hang_up()
    model.wait_for_request(who, count=2)
    answer = raw.send("GET", Last_Event_ID=last)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    model.release(name)
    heard = [message for _, message in events(answer) if message]
    assert all(message["params"]["progress"] > output["params"]["progress"] for message in heard[:-1])
    assert heard[-1]["id"] == 7
    assert heard[-1]["result"]["content"][0]["text"] == "Two."
    assert len(model.requests(who)) == 2  # nothing was begun twice
    again = next(
        message for _, message in events(raw.call(7, message="go", agent_name=who)) if message and "id" in message
    )
    assert again["result"]["structuredContent"]["run_id"] == heard[-1]["result"]["structuredContent"]["run_id"]


def test_a_call_that_never_came_has_no_state(product, speak, name):
    raw = speak(product)
    never_sent = ResumePoint(9, None, name).first_event().split()[1].decode()
    answer = raw.send("GET", Last_Event_ID=never_sent)
    error = next(message for _, message in events(answer) if message)
    assert (error["id"], error["result"]["isError"]) == (9, True)
    assert raw.send("GET", Last_Event_ID="rubbish").status == 405
    assert raw.send("GET").status == 405
    assert raw.send("DELETE").status == 204


@pytest.mark.both
def test_what_takes_long_or_needs_a_person_is_asked_for_later(product, agent, name):
    call = {"name": "calculate", "arguments": {"expression": "1"}, "id": "call_1"}
    who = agent([{"tool_call": call}], [{"text": "Done."}], builtin_tools=["calculate"], approval_required=["*"])

    async def story():
        async with client(product.url, token=product.token) as connected:
            at_once = await connected.call_tool("run_agent", {"message": "go", "agent_name": who, "wait_seconds": 0})
            assert at_once.structured_content["status"] in ("queued", "running", "waiting")
            run_id = at_once.structured_content["run_id"]
            parked = await connected.call_tool("get_run", {"run_id": run_id, "wait_seconds": 30})
            assert parked.structured_content["status"] == "waiting"
            assert "must approve" in parked.content[0].text
            answered = {"tool_call_id": "call_1", "approved": True}
            path = f"/v1/runs/{run_id}/approve"
            status, body = await asyncio.to_thread(product.request, "POST", path, answered)
            assert status in (200, 202), body
            ended = await connected.call_tool("get_run", {"run_id": run_id, "wait_seconds": 30})
            assert ended.content[0].text == "Done."
            newest = (await connected.call_tool("get_run", {})).structured_content["runs"]
            assert run_id in [each["run_id"] for each in newest]

    run(story)


@pytest.mark.both
def test_work_is_scheduled_run_and_stopped(product, agent, model, name):
    who = agent([{"text": "Good morning."}])

    async def story():
        async with client(product.url, token=product.token) as connected:

            async def ask(tool, **arguments):
                result = await connected.call_tool(tool, arguments)
                return json.loads(result.content[0].text) if not result.is_error else result.content[0].text

            fields = {"task_prompt": "Greet.", "schedule_type": "cron", "schedule_value": "0 9 * * *"}
            task = await ask("create_task", name=name, agent_name=who, **fields)
            assert (task["agent_name"], task["enabled"], len(task["next_runs"])) == (who, True, 3)
            changed = await ask("update_task", task=name, schedule_value="30 9 * * *", timezone="Europe/Berlin")
            assert "T09:30:00" in changed["next_runs"][0]
            assert name in [each["name"] for each in (await ask("list_tasks"))["tasks"]]
            started = await ask("run_task", task=name)
            ended = await connected.call_tool("get_run", {"run_id": started["run_id"], "wait_seconds": 30})
            assert ended.content[0].text == "Good morning."
            model.script(who, [[{"wait": f"{name}-never"}]])
            second = await ask("run_task", task=name)
            await asyncio.to_thread(model.wait_for_request, who, count=2)
            assert (await ask("cancel_run", run_id=second["run_id"]))["note"]
            stopped = await connected.call_tool("get_run", {"run_id": second["run_id"], "wait_seconds": 30})
            assert stopped.structured_content["status"] == "cancelled"
            assert (await ask("disable_task", task=name))["enabled"] is False
            assert (await ask("enable_task", task=name))["enabled"] is True
            assert "Invalid minute" in await ask("update_task", task=name, schedule_value="99 9 * * *")
            assert await ask("delete_task", task=name) == {"deleted": name}
            assert "No task" in await ask("run_task", task=name)

    run(story)


def test_an_error_is_one_sentence_and_no_run_starts(product, agent, model, name):
    who = agent([{"text": "never"}])

    async def story():
        async with client(product.url, token=product.token) as connected:
            for arguments, word in [
                ({"agent_name": who}, "'message' is a required property"),
                ({"message": "hi", "agent_name": f"{name}-nobody"}, "no enabled agent"),
                ({"message": "hi", "agent_name": who, "session_id": "a b"}, "session_id"),
                ({"message": "hi", "agent_name": who, "colour": "red"}, "colour"),
                ({"message": " ", "agent_name": who}, "must not be empty"),
                ({"message": "hi", "agent_name": who, "wait_seconds": -1}, "wait_seconds"),
            ]:
                result = await connected.call_tool("run_agent", arguments)
                assert result.is_error and word in result.content[0].text, result
            assert "no run" in (await connected.call_tool("get_run", {"run_id": "x"})).content[0].text
            with pytest.raises(MCPError, match="no tool"):
                await connected.call_tool(f"{name}-tool", {})

    run(story)
    assert model.requests(who) == []


def test_only_who_may_come_in_does_and_sees_what_is_theirs(closed_product, people, model, name):
    boss, ann, bob = people["boss"], people["ann"], people["bob"]
    model.script(name, [[{"text": "For Ann."}]])
    boss.add_agent(name, model.base_url)
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    accept = {"Accept": "application/json, text/event-stream"}
    status, body = closed_product.request("POST", "/mcp", ping, **accept)
    assert (status, body["error"]["type"]) == (401, "authentication_error")
    assert closed_product.request("POST", "/mcp", ping, **accept, Authorization="Bearer wrong")[0] == 401
    assert closed_product.request("POST", "/mcp", ping, **accept, Origin="http://evil.example")[0] == 403
    assert closed_product.request("POST", "/mcp", ping, **accept, Host="evil.example")[0] == 400
    assert ann.request("POST", "/mcp", ping, **accept, Mcp_Session_Id="made-up")[0] == 404

    async def story():
        async with (
            client(closed_product.url, token=ann.token) as hers,
            client(closed_product.url, token=bob.token) as his,
        ):
            names = {"message": "hi", "agent_name": name, "session_id": f"{name}-hers"}
            run_id = (await hers.call_tool("run_agent", names)).structured_content["run_id"]
            assert (await hers.call_tool("get_run", {"run_id": run_id})).content[0].text == "For Ann."
            for tool in ("get_run", "cancel_run"):
                assert "no run" in (await his.call_tool(tool, {"run_id": run_id})).content[0].text
            assert run_id not in str((await his.call_tool("get_run", {})).structured_content)
            pk = (await asyncio.to_thread(ann.request, "GET", f"/v1/sessions/{name}-hers"))[1]["id"]
            answer = await his.call_tool("run_agent", names | {"session_id": pk})
            assert "no such session" in answer.content[0].text

    run(story)


HOSTILE = [
    b"{", b"[]", b"null", b"[" * 100_000, b'{"jsonrpc":"2.0","id":1e400,"method":"ping"}', b"\xff\xfe",
    b'{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}', b'{"jsonrpc":"2.0","method":"notifications/cancelled"}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":' + b"9" * 5000 + b"}}",
    *(
        b'{"jsonrpc":"2.0","id":%b,"method":"tools/call","params":{"name":"run_agent","arguments":%b}}' % pair
        for pair in [
            (b"1", b'{"message":"a\\u0000b"}'), (b"1", b'{"message":"a\\ud800b"}'), (b"9" * 40, b'{"message":" "}'),
            (b"1", b'{"message":"hi","agent_name":"\\u0000"}'), (b"1", b'{"message":"hi","wait_seconds":NaN}'),
            (b"1", b'{"message":' + b"[" * 500 + b"]" * 500 + b"}"), (b"1", b"[]"), (b'"' + b"x" * 9000 + b'"', b"{}"),
        ]
    ),
]  # fmt: skip


LISTED = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("Application/JSON;q=0.9, text/html", "application/json"),
        ("application/*;q=0.1", "application/json"),
        ("application/json, text/event-stream;q=0", "application/json"),
        ("TEXT/EVENT-STREAM, application/json", "text/event-stream"),
        ("text/event-stream", "text/event-stream"),
        ("text/html", None),
        ("application/json;q=0", None),
    ],
)
def test_any_accept_that_takes_json_is_answered(product, speak, accept, media_type):
    raw = speak(product)
    raw.headers.pop("Accept")
    answer = raw.send("POST", LISTED, **({} if accept is None else {"Accept": accept}))
    text = answer.read().decode()
    assert answer.status == (200 if media_type else 406), text
    assert answer.headers["Content-Type"].startswith(media_type or "application/json")
    assert ('"run_agent"' if media_type else "Accept application/json") in text


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (None, LISTED, 200),
        ("APPLICATION/JSON; Charset=UTF-8", LISTED, 200),
        ("application/json-rpc", LISTED, 200),
        ("application/json", b"\xef\xbb\xbf" + LISTED, 200),
        ("text/plain", LISTED, 415),
        ("application/x-www-form-urlencoded", LISTED, 415),
        ("application/json", b" " * 1_100_000, 413),
    ],
)
def test_json_is_taken_however_it_is_called(product, speak, content_type, body, status):
    raw = speak(product)
    raw.headers.pop("Content-Type")
    answer = raw.send("POST", body, **({"Content_Type": content_type} if content_type else {}))
    text = answer.read().decode()
    assert answer.status == status, text
    assert {200: '"run_agent"', 415: "set Content-Type", 413: "larger than"}[status] in text


def test_a_call_is_answered_in_json(product, speak, agent):
    who = agent([{"text": "Hello."}])
    raw = speak(product)
    raw.headers["Accept"] = "application/json"
    answer = raw.call(3, message="hi", agent_name=who)
    assert json.loads(answer.read())["result"]["content"][0]["text"] == "Hello."


@pytest.mark.parametrize("version", ["2025-11-25", MODERN, "2099-01-01", "rubbish"])
def test_what_is_no_protocol_is_refused_and_the_server_lives(product, speak, version):
    raw = speak(product)
    session = raw.headers.pop("Mcp-Session-Id")
    runs = product.request("GET", "/v1/runs?limit=1")[1]["data"]
    for body in HOSTILE:
        for headers in ({"Mcp-Session-Id": session}, {}):
            answer = raw.send("POST", body, MCP_Protocol_Version=version, **headers)
            text = answer.read()
            assert answer.status in (200, 202, 400, 404), (body[:80], answer.status, text)
            assert b"result" not in text or b'"isError":true' in text, (body[:80], text)
    for last in ("a~b", "W10=~1", "WzEsbnVsbCwiYSJd~nan", "WzEsbnVsbCwiXHUwMDAwIl0=~1", "x" * 5000):
        assert raw.send("GET", Last_Event_ID=last, Mcp_Session_Id=session).status == 405
    assert raw.send("POST", b"x" * 1_100_000).status == 413
    assert raw.send("PUT", b"{}").status == 405
    assert product.request("GET", "/v1/runs?limit=1")[1]["data"] == runs


@pytest.mark.slow
def test_a_call_ends_when_its_run_is_stopped_or_its_token_revoked(closed_product, people, model, name):
    boss, ann = people["boss"], people["ann"]
    model.script(name, [[{"text": "Let me "}, {"wait": f"{name}-never"}]])
    boss.add_agent(name, model.base_url)
    token = ann.request("POST", "/v1/tokens", {"name": name})[1]

    async def story():
        async with client(closed_product.url, token=token["token"]) as connected:
            progress = Progress()
            calls = [
                asyncio.create_task(
                    connected.call_tool(
                        "run_agent",
                        {"message": "go", "agent_name": name, "session_id": each},
                        progress_callback=progress,
                    )
                )
                for each in (f"{name}-1", f"{name}-2")
            ]
            await asyncio.to_thread(model.wait_for_request, name, count=2)
            stopped = await asyncio.to_thread(ann.request, "GET", f"/v1/sessions/{name}-1/runs")
            await asyncio.to_thread(ann.request, "POST", f"/v1/runs/{stopped[1]['data'][0]['id']}/cancel")
            assert "was cancelled" in (await calls[0]).content[0].text
            assert (await asyncio.to_thread(ann.request, "DELETE", f"/v1/tokens/{token['id']}"))[0] == 204
            assert "session has ended" in (await calls[1]).content[0].text

    run(story)
    goes_on = ann.request("GET", f"/v1/sessions/{name}-2/runs")[1]["data"][0]
    assert goes_on["status"] == "running"
    ann.request("POST", f"/v1/runs/{goes_on['id']}/cancel")


@pytest.mark.slow
def test_a_server_that_stops_cancels_nothing(own_product, model, name):
    """Even where closing the connection means a cancel: it was not the client who closed it."""
    model.script(name, [[{"wait": name}, {"text": "Still here."}]])
    own_product.add_agent(name, model.base_url)

    async def story():
        async with client(own_product.url, mode=MODERN) as connected:
            progress = Progress()
            names = {"message": "go", "agent_name": name}
            call = asyncio.create_task(connected.call_tool("run_agent", names, progress_callback=progress))
            run_id = (await progress.seen("in session")).split()[1]
            await asyncio.to_thread(model.wait_for_request, name)
            assert await asyncio.to_thread(own_product.terminate) == 0
            await asyncio.to_thread(own_product.start)
            model.release(name)
            with pytest.raises(MCPError):
                await call
            result = await connected.call_tool("get_run", {"run_id": run_id, "wait_seconds": 30})
            assert result.content[0].text == "Still here."

    run(story)
    assert "Traceback" not in own_product.logged()


def stdio(product):
    """`manage.py mcp`, as a desktop client starts it."""
    environment = product.environment | {"AINTANDEM_URL": product.url, "AINTANDEM_TOKEN": product.token}
    command, *arguments = product.command("mcp")
    return StdioServerParameters(command=command, args=arguments, env=environment, cwd=str(ROOT))


@pytest.mark.slow
def test_a_desktop_client_asks_over_stdio(product, agent, model, name):
    """Progress, answers and cancels go through; nothing but the protocol is on stdout, or the client would fail."""
    who = agent(*CALCULATES, builtin_tools=["calculate"])

    async def story():
        async with Client(stdio(product), mode=LEGACY) as connected:
            assert "run_agent" in [tool.name for tool in (await connected.list_tools()).tools]
            progress = Progress()
            names = {"message": "6 times 7?", "agent_name": who}
            result = await connected.call_tool("run_agent", names, progress_callback=progress)
            assert result.content[0].text == "It is 42."
            assert "Calls calculate." in progress.lines
            with pytest.raises(MCPError, match="no tool"):
                await connected.call_tool(f"{name}-tool", {})
            with pytest.raises(MCPError, match="request body is larger"):
                await connected.call_tool("run_agent", {"message": "x" * 1_100_000, "agent_name": who})
            model.script(who, [[{"wait": f"{name}-never"}]])
            call = asyncio.create_task(connected.call_tool("run_agent", names))
            await asyncio.to_thread(model.wait_for_request, who, count=3)
            call.cancel()
            await asyncio.to_thread(model.wait_for_abort, who)

    run(story)


@pytest.mark.slow
def test_the_bridge_ends_when_stdin_closes_and_says_what_it_lacks(product, agent, model, name):
    def ended(**environment):
        return zygote.run(product.command("mcp"), env=product.environment | environment)

    who = agent([{"wait": name}, {"text": "Still here."}])
    arguments = {"message": "go", "agent_name": who, "session_id": name}
    call = {"name": "run_agent", "arguments": arguments}
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    with subprocess.Popen(
        product.command("mcp"), cwd=ROOT, env=product.environment | {"AINTANDEM_URL": product.url},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as bridge:  # fmt: skip
        bridge.stdin.write("\ufeff")  # as programs on Windows begin
        for output in (
            {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": about},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call},
        ):
            bridge.stdin.write(json.dumps(output) + "\n")
        bridge.stdin.flush()
        assert json.loads(bridge.stdout.readline())["id"] == 0
        model.wait_for_request(who)
        out, err = bridge.communicate(timeout=120)  # closes stdin
    assert (bridge.returncode, err) == (0, "")
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in out.splitlines())
    model.release(name)  # what has begun goes on at the server
    until(lambda: product.request("GET", f"/v1/sessions/{name}/runs")[1]["data"][0]["status"] == "completed")

    done = ended(AINTANDEM_URL=f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No server answers" in done.stderr and "Traceback" not in done.stderr


NODE_CLIENT = ROOT / "tests" / "harness" / "clients" / "mcp_client.mjs"


def test_the_typescript_client_asks_as_well(product, agent, model, name):
    """A client that nobody here wrote: the official one for TypeScript."""
    who = agent(*CALCULATES, builtin_tools=["calculate"])
    slow = f"{name}-slow"
    model.script(slow, [[{"wait": f"{name}-never"}]])
    product.add_agent(slow, model.base_url)
    command = [program("node"), str(NODE_CLIENT), f"{product.url}/mcp", product.token, who, slow, str(FOLDER / "node")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    output = json.loads(done.stdout)
    assert {"list_agents", "run_agent", "create_task"} <= set(output["tools"])
    assert output["result"]["content"][0]["text"] == "It is 42."
    assert output["result"]["structuredContent"]["status"] == "completed"
    assert "Calls calculate." in output["progress"]
    assert output["refused"]
    assert output["cancelled"]["structuredContent"]["status"] == "cancelled"
