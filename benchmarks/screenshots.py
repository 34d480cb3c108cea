"""Takes the pictures of docs/images: the pages as a newcomer's server shows them, with scripted models.

python -m benchmarks.screenshots [--folder docs/images] [--only chat,run] [--all]

Without --all, those that the documentation shows; with it, every page in every width, light and dark.
"""

import argparse
import itertools
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.harness.chat import Chat
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.pages.browser import browser
from tests.harness.pages.chat_page import runs, say
from tests.harness.product import Product

WIDTHS = {360: 740, 768: 1000, 1440: 980}
SCHEMES = ("light", "dark")
SHOWN = {
    "first-visit": ["360-light"],
    "chat": ["1440-light", "768-dark", "360-dark"],
    "approval": ["768-light"],
    "streaming": ["360-dark"],
    "runs": ["360-light"],
    "run": ["1440-dark", "768-light"],
    "task": ["1440-light"],
    "new-task": ["360-dark"],
    "tokens": ["768-dark"],
}
POWER = "Our servers draw 310, 285 and 440 W. Cost of a year at 0.29 €/kWh?"
MORNING = "Every weekday at nine, summarise what changed in the open tickets."
LETTER = "Write a short note that thanks the night shift for the migration."
SORTING = "Sort a list of versions such as 1.10.0 and 1.9.2."

# What is said at which speed: a large model's, not a benchmark's.
FAST = {"chunk": 6, "delay": 0.01}
ANALYST = [
    [
        {"reasoning": "Energy in a year is power times 8,760 hours. I calculate the three, then compare them.", **FAST},
        {"tool_call": {"name": "calculate", "arguments": {"expression": "310 * 8760 / 1000 * 0.29"}}, "delay": 0.1},
        {"tool_call": {"name": "calculate", "arguments": {"expression": "285 * 8760 / 1000 * 0.29"}}, "delay": 0.1},
        {"tool_call": {"name": "calculate", "arguments": {"expression": "440 * 8760 / 1000 * 0.29"}}, "delay": 0.1},
    ],
    [
        {
            "text": "Together they cost about **2,629 € a year**:\n\n"
            "| Server | Power | Energy a year | Cost a year |\n|---|---:|---:|---:|\n"
            "| A | 310 W | 2,716 kWh | 787.52 € |\n| B | 285 W | 2,497 kWh | 724.01 € |\n"
            "| C | 440 W | 3,854 kWh | 1,117.78 € |\n\n"
            "Replace **server C** first: it takes 43 % of the bill. A machine of 200 W in its place "
            "would save about 610 € each year.",
            **FAST,
        }
    ],
]
TASK = {
    "name": "Tickets of the day",
    "agent_name": "assistant",
    "task_prompt": "Summarise what changed in the open tickets since the last summary.",
    "schedule_type": "cron",
    "schedule_value": "0 9 * * MON-FRI",
    "timezone": "Europe/Berlin",
}
ASSISTANT = [
    [
        {"reasoning": "That is a task with a schedule: weekdays at nine, in the person's zone.", **FAST},
        {"tool_call": {"name": "create_task", "arguments": TASK}, "delay": 0.1},
    ],
    [{"text": "Done: from the next working day on you get the summary at 9:00.", **FAST}],
]
WRITER = [
    [
        {"text": "Dear night shift,\n\nthe new database runs since 3:40, nobody noticed, ", **FAST},
        {"wait": "letter"},
        {"text": "and that is the point. Thank you.", **FAST},
    ]
]
DEVELOPER = [
    [
        {
            "text": "Compare the numbers, not the text:\n\n```python\ndef version(text: str) -> tuple[int, ...]:\n"
            '    return tuple(int(part) for part in text.split("."))\n\n\n'
            'sorted(["1.10.0", "1.9.2"], key=version)  # ["1.9.2", "1.10.0"]\n```\n\n'
            "For suffixes such as `rc1` take `packaging.version.Version`.",
            **FAST,
        }
    ]
]
AGENTS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "analyst": (ANALYST, {"builtin_tools": ["calculate"]}),
    "assistant": (ASSISTANT, {"builtin_tools": ["create_task"], "approval_required": ["create_task"]}),
    "writer": (WRITER, {}),
    "developer": (DEVELOPER, {}),
}
TASKS = [
    {
        "name": "Power bill",
        "schedule_type": "cron",
        "schedule_value": "0 8 1 * *",
        "agent_name": "analyst",
        "task_prompt": POWER,
    },
    {
        "name": "Disk space",
        "schedule_type": "interval",
        "schedule_value": "900",
        "agent_name": "developer",
        "task_prompt": "Warn where a disk is more than nine tenths full.",
    },
    {
        "name": "Renew the certificate",
        "schedule_type": "once",
        "schedule_value": "2030-03-01T08:00:00+01:00",
        "agent_name": "developer",
        "task_prompt": "Write down how the certificate is renewed.",
    },
]


class Studio:
    """A server with something to see on it, and a browser before it."""

    def __init__(self, product: Product, model: FakeModel, open_page: Any, folder: Path) -> None:
        self.product = product
        self.model = model
        self.open_page = open_page
        self.folder = folder

    def furnish(self) -> None:
        """Give the agents of a new database another model than the tiny one."""
        provider = {"name": "example", "kind": "openai", "base_url": self.model.base_url, "api_key": "any"}
        assert self.product.request("POST", "/v1/providers", provider)[0] == 201
        for name, (turns, fields) in AGENTS.items():
            self.model.script(name, turns)
            changed = {"provider": "example", "model": name, **fields}
            status, answer = self.product.request("PATCH", f"/v1/agents/{name}", changed)
            assert status == 200, answer

    def talk(self) -> None:
        """What a morning leaves behind: conversations, tasks and their runs."""
        for session, who, message in (("power", "analyst", POWER), ("versions", "developer", SORTING)):
            chat = Chat(self.product.socket_url(session, after=0))
            chat.ask(message, agent_name=who)
            chat.close()
        made = [self.product.request("POST", "/v1/tasks", task | {"timezone": "Europe/Berlin"}) for task in TASKS]
        self.tasks = [task["id"] for _, task in made]
        self.run_of_task = self.product.request("POST", f"/v1/tasks/{self.tasks[0]}/run", {})[1]["run_id"]

    def shoot(self, name: str, path: str, ready: Any, width: int, scheme: str) -> None:
        page = self.open_page(width=width, height=WIDTHS[width], color_scheme=scheme)
        page.goto(self.product.url + path)
        ready(page)
        page.screenshot(path=self.folder / f"{name}-{width}-{scheme}.png")
        page.context.close()

    # The pictures

    def first_visit(self, page: Page) -> None:
        expect(page.locator("#empty")).to_be_visible()
        expect(page.locator("#agent")).to_be_enabled()

    def conversation(self, page: Page) -> None:
        expect(runs(page, "completed")).to_have_count(1)
        expect(page.locator('.item[data-rendering="wanted"]')).to_have_count(0)

    def approval(self, page: Page) -> None:
        page.select_option("#agent", "assistant")
        say(page, MORNING)
        expect(page.get_by_role("button", name="Allow once", exact=True)).to_be_visible()

    def streaming(self, page: Page) -> None:
        page.select_option("#agent", "writer")
        say(page, LETTER)
        expect(page.locator('.item[data-status="streaming"] .text')).to_contain_text("nobody noticed")

    def tasks_list(self, page: Page) -> None:
        expect(page.locator("#tasks li")).to_have_count(len(TASKS))

    def task(self, page: Page) -> None:
        expect(page.locator("#moments time")).to_have_count(5)
        expect(page.locator("#history-list li")).to_have_count(1)

    def runs_list(self, page: Page) -> None:
        expect(page.locator("#runs li")).not_to_have_count(0)

    def run(self, page: Page) -> None:
        expect(page.locator("#run-status")).to_have_text("completed")
        expect(page.locator("#player")).to_be_visible()

    def new_task(self, page: Page) -> None:
        page.get_by_label("Instructions").fill(TASK["task_prompt"])
        page.get_by_label("When").fill(TASK["schedule_value"])
        expect(page.locator("#moments time")).to_have_count(5)
        page.get_by_label("Name").fill(TASK["name"])

    def tokens(self, page: Page) -> None:
        expect(page.locator("#tokens, #no-tokens").filter(visible=True)).to_have_count(1)
        if page.locator("#tokens tbody tr").count() == 0:
            for name in ("Nightly export", "Grafana"):
                page.get_by_label("What it is for").fill(name)
                page.get_by_role("button", name="Make a token").click()
                expect(page.locator("#tokens tbody tr", has_text=name)).to_be_visible()

    def nothing(self, page: Page) -> None:
        page.wait_for_load_state()


def scenes(studio: Studio) -> dict[str, tuple[str, Any]]:
    """Of each picture: where it is taken, and what is waited for."""
    return {
        "chat": ("/chat/?session=power", studio.conversation),
        "code": ("/chat/?session=versions", studio.conversation),
        "approval": ("/chat/", studio.approval),
        "streaming": ("/chat/", studio.streaming),
        "tasks": ("/tasks/", studio.tasks_list),
        "task": (f"/tasks/?task={studio.tasks[0]}", studio.task),
        "new-task": ("/tasks/?new=1", studio.new_task),
        "runs": ("/runs/", studio.runs_list),
        "run": (f"/runs/?run={studio.run_of_task}", studio.run),
        "tokens": ("/accounts/tokens/", studio.tokens),
        "sign-in": ("/accounts/login/", studio.nothing),
        "missing": ("/nothing", studio.nothing),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", default="", help="Names of pictures, with commas between them.")
    parser.add_argument("--all", action="store_true", help="Every page in every width, light and dark.")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as var,
        FakeModel() as model,
        Product(Path(var) / "var") as product,
        browser() as open_page,
    ):
        studio = Studio(product, model, open_page, options.folder)

        def shoot(name: str, path: str, ready: Any) -> None:
            if options.only and name not in options.only.split(","):
                return
            for width, scheme in itertools.product(WIDTHS, SCHEMES):
                if options.all or f"{width}-{scheme}" in SHOWN.get(name, []):
                    studio.shoot(name, path, ready, width, scheme)

        shoot("first-visit", "/chat/", studio.first_visit)
        studio.furnish()
        studio.talk()
        for name, (path, ready) in scenes(studio).items():
            shoot(name, path, ready)


if __name__ == "__main__":
    main()
