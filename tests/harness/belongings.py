"""One of everything that somebody can have, so that whole APIs can be tried on real things."""

import dataclasses
import json
import re
import uuid

import httpx2

from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.people import Person, shell

_FILES = """
import json
from agents_app.files import saving
from agents_app.models import Run
made = {{}}
for run in {runs!r}:
    row = Run.objects.get(pk=run)
    made[run] = saving.save(row.session.owner_id, [{data!r}], kind="text", run=row).pk.removeprefix("file-")
print(json.dumps(made))
"""


@dataclasses.dataclass(frozen=True)
class Belongings:
    """What somebody has: by the first part of an address, what its {id} is. Each but the agent says the secret."""

    ids: dict[str, str]
    secret: str

    def address(self, path: str) -> str:
        """The address of this person's thing, from a template such as `/v1/runs/{id}`."""
        kind = path.split("/")[2] if path.startswith("/v1/") else ""
        return re.sub(r"\{(\w+)\}", lambda match: self.ids.get(match[1], self.ids.get(kind, "none")), path)


def belongings(
    owner: Person, administrator: Person, model: FakeModel, *sessions: str, secret: str, **access: object
) -> list[Belongings]:
    """Of each name a session with a run that waits for approval, a token, a task, files and an agent.

    `access`: who may use the agents.
    """
    made = [_made(owner, administrator, model, session, secret, access) for session in sessions]
    script = _FILES.format(runs=[ids["runs"] for ids in made], data=secret.encode())
    artifacts = json.loads(shell(owner.product, script))
    return [Belongings(ids | {"artifact": str(uuid.UUID(artifacts[ids["runs"]]))}, secret) for ids in made]


def _made(
    owner: Person, administrator: Person, model: FakeModel, session: str, secret: str, access: dict[str, object]
) -> dict[str, str]:
    asks, answers = f"{session}-asks", f"{session}-answers"
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "1 + 1"}}}
    model.script(asks, [[{"text": secret}, call, call], [{"text": secret}]])
    model.script(answers, [[{"text": "Yes."}]])
    administrator.add_agent(asks, model.base_url, builtin_tools=["calculate"], approval_required=["*"], **access)
    administrator.add_agent(answers, model.base_url, **access)
    chat = owner.chat(session, after=0)
    chat.say(secret, agent_name=asks)
    request = chat.until("approval_required")
    chat.close()
    _, actions = owner.request("GET", "/v1/actions?ordering=created_at&limit=200")
    action = next(each for each in actions["data"] if each["run_id"] == request["run_id"])
    _, token = owner.request("POST", "/v1/tokens", {"name": secret})
    task_fields = {"name": secret, "agent_name": answers, "task_prompt": secret, "schedule_type": "interval"}
    status, task = owner.request("POST", "/v1/tasks", {**task_fields, "schedule_value": "86400"})
    assert status == 201, task
    return {
        "sessions": owner.request("GET", f"/v1/sessions/{session}")[1]["id"],  # by which others would address it
        "runs": request["run_id"],
        "tokens": token["id"],
        "agents": answers,
        "models": answers,
        "responses": f"resp_{request['run_id'].replace('-', '')}",
        "tasks": task["id"],
        "call": request["data"]["tool_call_id"],
        "actions": action["id"],
        "files": _upload(owner, secret),
    }


def _upload(owner: Person, secret: str) -> str:
    form = {"file": (f"{secret}.txt", secret.encode())}
    answer = httpx2.post(f"{owner.product.url}/v1/files", files=form, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]
