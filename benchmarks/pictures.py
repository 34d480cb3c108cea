"""The pictures of docs/operations.md: the dashboard's panels and one trace, from a cluster that works for a while.

    python -m benchmarks.pictures --prometheus PROGRAM [--seconds 90]

A real Prometheus scrapes every process each second and answers the panels' own queries; only Grafana's drawing is ours.
"""

import argparse
import contextlib
import html
import json
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.harness.chat import Chat
from tests.harness.cluster import Cluster
from tests.harness.daemon import free_port
from tests.harness.fakes.collector import Collector, Span
from tests.harness.fakes.fake_model_process import FakeModel
from tests.harness.pages.browser import browser
from tests.harness.paths import ROOT
from tests.harness.wait import until

IMAGES = ROOT / "docs/images"
PANELS = (
    "Runs by state", "Runs finished", "Pick-up", "Time to first token",
    "Token age when published", "Flush", "Events", "Sockets",
    "Model calls", "Tokens", "Tool calls", "Fires and skips",
)  # fmt: skip
COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#475569")
WIDTH, HEIGHT = 330, 120


@contextlib.contextmanager
def prometheus(program: str, targets: list[str], folder: Path) -> Iterator[str]:
    """A Prometheus that scrapes the targets; its address."""
    jobs = [{"job_name": "aintandem", "scrape_interval": "1s", "static_configs": [{"targets": targets}]}]
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": jobs}))
    port = free_port()
    command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def ask(url: str, expression: str, start: float, end: float) -> list[tuple[str, list[tuple[float, float]]]]:
    """The series of an expression, each with its labels."""
    query = {"query": expression, "start": start, "end": end, "step": 1}
    with urllib.request.urlopen(f"{url}/api/v1/query_range?{urllib.parse.urlencode(query)}") as answer:
        result = json.load(answer)["data"]["result"]
    return [(dict(one["metric"]), [(t, float(v)) for t, v in one["values"] if v != "NaN"]) for one in result]


# What the cluster does meanwhile


def work(cluster: Cluster, until_at: float, number: int) -> None:
    """Somebody who chats, and now and then changes their mind."""
    for turn in range(10_000):
        if time.time() > until_at:
            return
        chat = Chat(cluster.socket_url(f"picture-{number}-{turn}"))
        chat.say("How much is six times seven?", agent_name="tutor")
        if (turn + number) % 5 == 0:
            chat.until("reasoning_step")
            chat.send("interrupt")
        chat.until("reasoning_complete")
        chat.close()


def prepare(cluster: Cluster, model: FakeModel) -> None:
    call = {"tool_call": {"name": "calculate", "arguments": {"expression": "6*7"}}}
    answer = {"text": "Six times seven is forty-two. " * 8, "chunk": 4, "delay": 0.03}
    counted = {"usage": {"prompt_tokens": 120, "completion_tokens": 60}}
    refused = {"only_first": 1, "do": [{"status": 429, "headers": {"retry-after": "0"}}]}
    model.script("tutor", [[refused, call, counted], [answer, counted]])
    cluster.add_agent("tutor", model.base_url, builtin_tools=["calculate"])
    for name, seconds in (("every-two-seconds", "2"), ("every-five-seconds", "5")):
        task = {"name": name, "agent_name": "tutor", "task_prompt": "Look.", "schedule_type": "interval",
                "schedule_value": seconds, "overlap": "skip"}  # fmt: skip
        assert cluster.request("POST", "/v1/tasks", task)[0] == 201


# How it is drawn


def panel(title: str, unit: str, lines: list[tuple[str, list[tuple[float, float]]]], start: float, end: float) -> str:
    most = max((value for _, points in lines for _, value in points), default=0) or 1
    drawn, legend = [], []
    for colour, (label, points) in zip(COLOURS * 4, lines, strict=False):
        at = " ".join(
            f"{(t - start) / (end - start) * WIDTH:.1f},{HEIGHT - v / most * (HEIGHT - 6):.1f}" for t, v in points
        )
        drawn.append(f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        legend.append(f'<span style="color:{colour}">{html.escape(label)}</span>')
    return (
        f"<figure><figcaption>{html.escape(title)}<small>up to {shown(most, unit)}</small></figcaption>"
        f'<svg width="{WIDTH}" height="{HEIGHT}">{"".join(drawn)}</svg><div>{" ".join(legend)}</div></figure>'
    )


def shown(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    return (f"{value:,.0f}" if value >= 100 else f"{value:.3g}") + ("/s" if unit in ("ops", "reqps") else "")


def panels(url: str, start: float, end: float) -> str:
    board = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
    values = {one["title"]: one for one in board["panels"] if one["type"] == "timeseries"}
    drawn = []
    for title in PANELS:
        lines = []
        for target in values[title]["targets"]:
            for labels, points in ask(url, target["expr"].replace("$__rate_interval", "15s"), start, end):
                label = target["legendFormat"]
                for name, value in labels.items():
                    label = label.replace("{{" + name + "}}", value)
                lines.append((label, points))
        drawn.append(panel(title, values[title]["fieldConfig"]["defaults"]["unit"], lines, start, end))
    return f"<main>{''.join(drawn)}</main>"


def waterfall(spans: list[Span]) -> str:
    """The spans as bars, each under the one that began it."""
    spans = sorted(spans, key=lambda span: span.started)
    start, end = spans[0].started, max(span.ended for span in spans)
    depth: dict[str, int] = {}
    rows = []
    for span in spans:
        depth[span.id] = depth.get(span.parent, -1) + 1
        left, wide = (span.started - start) / (end - start), (span.ended - span.started) / (end - start)
        colour = COLOURS[0] if span.service == "aintandem-serve" else COLOURS[2]
        rows.append(
            f'<tr><td style="padding-left:{depth[span.id] * 18}px">{html.escape(span.name)}</td>'
            f"<td>{span.service.removeprefix('aintandem-')}</td><td>{(span.ended - span.started) * 1000:.1f} ms</td>"
            f'<td style="width:520px"><i style="margin-left:{left * 100:.1f}%;width:{max(wide * 100, 0.4):.1f}%;'
            f'background:{colour}"></i></td></tr>'
        )
    return f"<table>{''.join(rows)}</table>"


STYLE = """
body { font: 13px system-ui, sans-serif; margin: 0; padding: 12px; color: #1e293b; display: inline-block }
main { display: grid; grid-template-columns: repeat(4, 344px); gap: 10px }
figure { margin: 0; border: 1px solid #cbd5e1; border-radius: 6px; padding: 6px }
figcaption { font-weight: 600; display: flex; justify-content: space-between } small { color: #64748b }
svg { border-bottom: 1px solid #e2e8f0 } figure div { font-size: 11px; display: flex; gap: 8px; flex-wrap: wrap }
td { padding: 3px 10px } tr:nth-child(odd) { background: #f1f5f9 }
i { display: block; height: 12px; border-radius: 3px }
"""


def save(body: str, name: str, folder: Path) -> None:
    """The picture of a page, as large as what is on it."""
    page_file = folder / "page.html"
    page_file.write_text(f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><body>{body}")
    with browser() as opened:
        page = opened(width=1480, height=800)
        page.goto(page_file.as_uri())
        page.locator("body").screenshot(path=str(IMAGES / name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", required=True, metavar="PROGRAM")
    parser.add_argument("--seconds", type=float, default=90)
    options = parser.parse_args()
    port = free_port()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        collector = stack.enter_context(Collector())
        model = stack.enter_context(FakeModel())
        names: dict[str, Any] = {"METRICS_PORT": str(port), **collector.environment}
        cluster = stack.enter_context(Cluster(folder / "cluster", web=1, workers=1, **names))
        targets = [cluster.web_urls[0].removeprefix("http://"), f"127.0.0.1:{port}"]
        url = stack.enter_context(prometheus(options.prometheus, targets, folder))
        prepare(cluster, model)
        start, end = time.time(), time.time() + options.seconds
        people = [threading.Thread(target=work, args=(cluster, end, number)) for number in range(20)]
        for number, person in enumerate(people):
            person.start()
            time.sleep(options.seconds / 3 / len(people) if number else 0)
        for person in people:
            person.join()
        save(panels(url, start, time.time()), "metrics.png", folder)

        model.script("tutor", [[{"tool_call": {"name": "calculate", "arguments": {"expression": "6*7"}}}],
                                [{"text": "Six times seven is forty-two.", "chunk": 4, "delay": 0.02}]])  # fmt: skip
        body = {"model": "tutor", "messages": [{"role": "user", "content": "How much is six times seven?"}]}
        status, _ = cluster.request("POST", "/v1/chat/completions", body, X_Session_Id="trace")
        assert status == 200
        run = until(lambda: cluster.request("GET", "/v1/sessions/trace/runs")[1]["data"][0])
        spans = collector.trace_of_run(run["id"], enough=lambda spans: len(spans) == 5)
        save(waterfall(spans), "trace.png", folder)


if __name__ == "__main__":
    main()
