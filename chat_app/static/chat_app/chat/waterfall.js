// A run's steps as bars over time: model turns, tools, waits. Grows while the run goes on.

import { approvalLabel, title } from "./card_titles.js";
import { element, setText } from "../shared/dom.js";
import { duration, gettext } from "../shared/words.js";

export class Waterfall {
  #rows = new Map();

  /** `chosen(item)` is called where a bar was clicked. */
  constructor(root, chosen) {
    this.root = root;
    this.chosen = chosen;
  }

  /** Draw what there is at `now`; the whole width is from `from` to `to`. All in seconds since the epoch. */
  draw(run, { from, to, now, queuedAt }) {
    const spans = spansOf(run, { now, queuedAt });
    const length = Math.max(0.001, to - from);
    const keys = new Set(spans.map((span) => span.key));
    for (const [key, row] of this.#rows) {
      if (!keys.has(key)) {
        row.element.remove();
        this.#rows.delete(key);
      }
    }
    spans.forEach((span, at) => {
      const row = this.#row(span);
      if (this.root.children[at] !== row.element) {
        this.root.insertBefore(row.element, this.root.children[at] ?? null);
      }
      row.draw(span, (span.from - from) / length, (span.to - from) / length);
    });
  }

  #row(span) {
    let row = this.#rows.get(span.key);
    if (!row) {
      row = new Row(() => this.chosen(span.item));
      this.#rows.set(span.key, row);
    }
    return row;
  }
}

class Row {
  constructor(act) {
    this.name = element("span", "name");
    this.time = element("span", "time");
    this.bar = element("span", "bar-of-time");
    this.button = element("button", "row", this.name, this.time, element("span", "track", this.bar));
    this.button.type = "button";
    this.button.addEventListener("click", act);
    this.element = element("li", "", this.button);
  }

  draw({ type, status, words, from, to }, start, end) {
    this.element.dataset.type = type;
    this.element.dataset.status = status;
    setText(this.name, words);
    setText(this.time, duration(Math.max(0, to - from) * 1000));
    const left = Math.min(1, Math.max(0, start));
    this.bar.style.setProperty("inset-inline-start", `${left * 100}%`);
    this.bar.style.setProperty("inline-size", `${Math.max(0, Math.min(1, end) - left) * 100}%`);
  }
}

/** What took time: from and to in seconds since the epoch; what goes on ends now. */
export function spansOf(run, { now, queuedAt }) {
  const spans = [];
  if (run.startedAt && queuedAt && run.startedAt > queuedAt) {
    spans.push({ key: "queue", type: "wait", words: gettext("Queued"), from: queuedAt, to: run.startedAt });
  }
  for (const item of run.items) {
    const isApproval = item.kind === "approval";
    const isRetry = item.kind === "retry";
    if (item.startedAt !== undefined && (item.kind === "step" || isApproval || isRetry)) {
      const words = isApproval ? approvalLabel(item) : title(item);
      const isOpen = item.finishedAt === undefined;
      const to = isOpen ? (run.status === "running" ? now : run.since) : item.finishedAt;
      spans.push({ key: item, item, type: item.type, status: isRetry ? "failed" : item.status, words, from: item.startedAt, to });
    }
  }
  return spans;
}
