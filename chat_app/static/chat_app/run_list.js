// The list of runs, with its filters. New ones appear by themselves.

import { get, getAll, nextPage } from "./api.js";
import { element, link } from "./dom.js";
import { duration, gettext, moment, ngettext } from "./words.js";

const INTERVAL = 4000;
const PAGE = 50;
const FILTERS = ["status", "agent", "trigger"];

export class RunList {
  #runs = [];
  #next = null;
  #asked = 0;

  constructor({ page, current }) {
    this.page = page;
    this.current = current;
    this.#readAddress();
    for (const option of page["filter-status"].options) {
      option.text = option.value ? statusName(option.value) : option.text;
    }
    page.filters.addEventListener("change", () => this.#filter());
    page.filters.addEventListener("submit", (event) => event.preventDefault());
    page["more-runs"].addEventListener("click", () => this.#ask(this.#next, this.#runs));
    setInterval(() => !document.hidden && this.load(), INTERVAL);
    this.#fillAgents();
    this.load();
  }

  /** All that is shown, asked for anew. */
  async load() {
    const limit = Math.min(200, Math.max(PAGE, this.#runs.length));
    await this.#ask(`/v1/runs?${new URLSearchParams({ ...this.#chosen(), limit })}`, []);
  }

  #chosen() {
    const named = FILTERS.map((name) => [name, this.page[`filter-${name}`].value]);
    return Object.fromEntries(named.filter(([, value]) => value));
  }

  #readAddress() {
    const asked = new URL(location.href).searchParams;
    for (const name of FILTERS) {
      const select = this.page[`filter-${name}`];
      const value = asked.get(name) ?? "";
      if (value && name === "agent") {
        select.append(new Option(value, value));
      }
      select.value = value;
    }
  }

  #filter() {
    const url = new URL(location.href);
    const chosen = this.#chosen();
    FILTERS.forEach((name) => (chosen[name] ? url.searchParams.set(name, chosen[name]) : url.searchParams.delete(name)));
    history.replaceState(null, "", url);
    this.#runs = [];
    this.load();
  }

  async #fillAgents() {
    const agents = await getAll("/v1/agents").catch(() => []);
    const select = this.page["filter-agent"];
    const known = new Set([...select.options].map((option) => option.value));
    select.append(...agents.filter(({ name }) => !known.has(name)).map(({ name }) => new Option(name, name)));
  }

  async #ask(address, before) {
    const asked = (this.#asked += 1);
    try {
      const list = await get(address);
      if (asked === this.#asked) {
        this.#runs = [...before, ...list.data];
        this.#next = nextPage(list);
        this.#draw();
      }
      this.page.problem.hidden = true;
    } catch (error) {
      this.page.problem.textContent = error.message;
      this.page.problem.hidden = false;
    }
  }

  #draw() {
    const { page } = this;
    const state = JSON.stringify(this.#runs.map((run) => [run.id, run.status, run.finished_at]));
    page["no-runs"].hidden = this.#runs.length > 0;
    page["more-runs"].hidden = !this.#next;
    if (page.runs.dataset.shown !== state) {
      const focused = document.activeElement?.closest?.("#runs li")?.dataset.run;
      page.runs.dataset.shown = state;
      page.runs.replaceChildren(...this.#runs.map((run) => this.#line(run)));
      page.runs.querySelector(`li[data-run="${focused}"] a`)?.focus();
    }
  }

  #line(run) {
    const url = new URL(location.href);
    url.searchParams.set("run", run.id);
    const prompt = element("span", "prompt", run.prompt.slice(0, 200));
    prompt.dir = "auto";
    const open = link("", url.pathname + url.search);
    open.append(prompt, element("span", "facts", facts(run)));
    if (run.id === this.current) {
      open.setAttribute("aria-current", "page");
    }
    const line = element("li", "", open);
    line.dataset.run = run.id;
    line.dataset.status = run.status;
    return line;
  }
}

function facts(run) {
  const tokens = (run.usage?.input_tokens ?? 0) + (run.usage?.output_tokens ?? 0);
  const words = [statusName(run.status), run.agent_name];
  if (run.started_at && run.finished_at) {
    words.push(duration(new Date(run.finished_at) - new Date(run.started_at)));
  }
  if (tokens) {
    words.push(ngettext("{count} token", "{count} tokens", tokens));
  }
  return [...words, moment(run.created_at)].join(" · ");
}

export function statusName(status) {
  const names = {
    queued: gettext("queued"),
    running: gettext("running"),
    waiting: gettext("waiting"),
    completed: gettext("completed"),
    failed: gettext("failed"),
    cancelled: gettext("cancelled"),
  };
  return names[status] ?? status;
}
