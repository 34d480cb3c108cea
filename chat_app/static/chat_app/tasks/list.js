// The list of tasks, kept up to date.

import { get, nextPage } from "../shared/api.js";
import { element, link } from "../shared/dom.js";
import { distance, inWords } from "./plain_schedule.js";
import { gettext, moment, ngettext } from "../shared/words.js";

const INTERVAL = 5000;

export class TaskList {
  #tasks = [];
  #next = null;
  #requests = 0;

  constructor({ page, current }) {
    this.page = page;
    this.current = current;
    page["more-tasks"].addEventListener("click", () => this.#ask(this.#next, this.#tasks));
    setInterval(() => !document.hidden && this.load(), INTERVAL);
    this.load();
  }

  async load() {
    await this.#ask(`/v1/tasks?limit=${Math.min(200, Math.max(50, this.#tasks.length))}`, []);
  }

  async #ask(address, before) {
    const request = (this.#requests += 1);
    try {
      const list = await get(address);
      if (request === this.#requests) {
        this.#tasks = [...before, ...list.data];
        this.#next = nextPage(list);
        this.#draw();
      }
    } catch (error) {
      console.warn("The list of tasks could not be had:", error);
    }
  }

  #draw() {
    const { page } = this;
    const lines = this.#tasks.map((task) => [task.id, task.name, task.enabled, task.last_status, inWords(task), facts(task)]);
    const state = JSON.stringify(lines);
    page["no-tasks"].hidden = this.#tasks.length > 0;
    page["more-tasks"].hidden = !this.#next;
    if (page.tasks.dataset.shown !== state) {
      const focused = document.activeElement?.closest?.("#tasks li")?.dataset.task;
      page.tasks.dataset.shown = state;
      page.tasks.replaceChildren(...this.#tasks.map((task) => this.#line(task)));
      page.tasks.querySelector(`li[data-task="${focused}"] a`)?.focus();
    }
  }

  #line(task) {
    const name = element("span", "prompt", task.name);
    name.dir = "auto";
    const open = link("", `?task=${encodeURIComponent(task.id)}`);
    open.append(name, element("span", "facts", inWords(task)), element("span", "facts", facts(task)));
    open.title = task.enabled && task.next_run_at ? `${moment(task.next_run_at, task.timezone)} ${task.timezone}` : "";
    if (task.id === this.current) {
      open.setAttribute("aria-current", "page");
    }
    const line = element("li", "", open);
    line.dataset.task = task.id;
    line.dataset.status = task.enabled ? task.last_status ?? "" : "disabled";
    return line;
  }
}

function facts(task) {
  const next = task.next_run_at ? gettext("next {distance}", { distance: distance(task.next_run_at) }) : gettext("not scheduled");
  const words = [task.enabled ? next : gettext("disabled"), task.agent_name];
  if (task.total_runs) {
    words.push(ngettext("{count} run", "{count} runs", task.total_runs));
  }
  if (task.failed_runs) {
    words.push(gettext("{count} failed", { count: task.failed_runs }));
  }
  return words.join(" · ");
}
