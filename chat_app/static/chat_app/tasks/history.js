// What has come of a task: its runs with what its webhook was told of them, and the moments that were left out.

import { get } from "../shared/api.js";
import { element, link } from "../shared/dom.js";
import { statusName } from "../runs/list.js";
import { duration, gettext, moment, ngettext, plain } from "../shared/words.js";

const SHOWN = 20;

export class TaskHistory {
  zone; // of the task, in which its page says every time

  constructor({ page, id }) {
    this.page = page;
    this.id = id;
  }

  async load() {
    const [runs, skips, deliveries] = await Promise.all(
      ["runs", "skips", "deliveries"].map(async (what) => (await get(`/v1/tasks/${this.id}/${what}?limit=${SHOWN}`)).data),
    );
    const deliveryOf = new Map(deliveries.map((delivery) => [delivery.run_id, delivery]));
    const lines = [...runs.map((run) => ofRun(run, deliveryOf.get(run.id), this.zone)), ...skips.map((skip) => ofSkip(skip, this.zone))];
    lines.sort((one, other) => other.at - one.at);
    this.#draw(lines.slice(0, SHOWN));
  }

  #draw(lines) {
    const list = this.page["history-list"];
    const state = JSON.stringify(lines);
    this.page["no-history"].hidden = lines.length > 0;
    if (list.dataset.shown !== state) {
      const focused = document.activeElement?.closest?.("#history-list a")?.getAttribute("href");
      list.dataset.shown = state;
      list.replaceChildren(...lines.map(drawn));
      list.querySelector(`a[href="${focused}"]`)?.focus();
    }
  }
}

function ofRun(run, delivery, zone) {
  const at = new Date(run.scheduled_for ?? run.created_at);
  const facts = [statusName(run.status), moment(at, zone)];
  if (run.started_at && run.finished_at) {
    facts.push(duration(new Date(run.finished_at) - new Date(run.started_at)));
  }
  return {
    at: at.getTime(),
    status: run.status,
    facts: facts.join(" · "),
    address: `/runs/?run=${encodeURIComponent(run.id)}`,
    words: plain(run.error ?? run.result ?? "").slice(0, 200),
    webhook: delivery && wordsOf(delivery, zone),
    failed: delivery?.status === "failed",
  };
}

function ofSkip(skip, zone) {
  const from = moment(skip.scheduled_for, zone);
  const span = skip.count > 1 ? `${from} – ${moment(skip.until, zone)}` : from;
  const count = ngettext("skipped", "skipped {count} times", skip.count);
  const words = skip.message || skip.reason;
  return { at: new Date(skip.until).getTime(), status: "skipped", facts: `${count} · ${span}`, words };
}

/** What became of telling the webhook. */
function wordsOf({ status, attempts, error, delivered_at: at, next_attempt_at: next }, zone) {
  switch (status) {
    case "delivered":
      return gettext("Webhook delivered {time}", { time: moment(at, zone) });
    case "failed":
      return `${ngettext("Webhook failed after one attempt", "Webhook failed after {count} attempts", attempts)}: ${error}`;
    default:
      return error
        ? gettext("Webhook tried again {time}: {reason}", { time: moment(next, zone), reason: error })
        : gettext("Webhook pending");
  }
}

function drawn({ status, facts, address, words, webhook, failed }) {
  const text = element("span", "facts", words);
  text.dir = "auto";
  text.title = words;
  const line = element("li", "", address ? link(facts, address) : facts, text);
  line.dataset.status = status;
  if (webhook) {
    line.append(element("span", failed ? "wrong told" : "quiet told", webhook));
  }
  return line;
}
