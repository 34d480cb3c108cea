// The list of runs, with its filters. New ones appear by themselves.

import { get, getAll, nextPage } from "../shared/api.js";
import { element, link } from "../shared/dom.js";
import { duration, gettext, ngettext, shortMoment } from "../shared/words.js";

const INTERVAL = 4000;
const PAGE = 50;
const FILTERS = ["status", "agent", "trigger", "task", "session"];
const FILLED = new Set(["agent", "task"]); // from the API, later: what the address asks for is there before

export class RunList {
  #runs = [];
  #next = null;
  #requests = 0;

  constructor({ page, current }) {
    this.page = page;
    this.current = current;
    this.#readAddress();
    nameOptions(page["filter-status"], statusName);
    nameOptions(page["filter-trigger"], triggerName);
    page.filters.addEventListener("change", () => this.#filter());
    page.filters.addEventListener("submit", (event) => event.preventDefault());
    page["filter-session"].addEventListener("click", () => this.#ofAllSessions());
    page["more-runs"].addEventListener("click", () => this.#ask(this.#next, this.#runs));
    setInterval(() => !document.hidden && this.load(), INTERVAL);
    this.#fill("agent", "/v1/agents", ({ name }) => [name, name]);
    this.#fill("task", "/v1/tasks", ({ id, name }) => [name, id]);
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
    const query = new URL(location.href).searchParams;
    for (const name of FILTERS) {
      const field = this.page[`filter-${name}`];
      const value = query.get(name) ?? "";
      if (value && FILLED.has(name)) {
        field.append(new Option(value, value));
      }
      field.value = value;
    }
    this.page["filter-session"].hidden = !this.page["filter-session"].value;
  }

  #filter() {
    const url = new URL(location.href);
    const chosen = this.#chosen();
    FILTERS.forEach((name) => (chosen[name] ? url.searchParams.set(name, chosen[name]) : url.searchParams.delete(name)));
    history.replaceState(null, "", url);
    this.#runs = [];
    this.load();
  }

  #ofAllSessions() {
    this.page["filter-session"].value = "";
    this.page["filter-session"].hidden = true;
    this.page["filter-status"].focus();
    this.#filter();
  }

  /** The choices of a filter: `named(row)` gives the words and the value of each. */
  async #fill(name, address, named) {
    const rows = await getAll(address).catch(() => []);
    const select = this.page[`filter-${name}`];
    const { value } = select;
    const anything = select.options[0];
    select.replaceChildren(anything, ...rows.map((each) => new Option(...named(each))));
    if (value && ![...select.options].some((option) => option.value === value)) {
      select.append(new Option(value, value)); // it is gone, its runs are there
    }
    select.value = value;
  }

  async #ask(address, before) {
    const request = (this.#requests += 1);
    try {
      const list = await get(address);
      if (request === this.#requests) {
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
  return [...words, shortMoment(run.created_at)].join(" · ");
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

export function triggerName(trigger) {
  const names = {
    chat: gettext("a chat"),
    api: gettext("the API"),
    schedule: gettext("a schedule"),
    agent: gettext("another agent"),
    mcp: gettext("an MCP client"),
    admin: gettext("the admin"),
  };
  return names[trigger] ?? trigger;
}

function nameOptions(select, nameOf) {
  for (const option of select.options) {
    option.text = option.value ? nameOf(option.value) : option.text;
  }
}
