// The form of a task: what the server says of each field stands under it, and the next moments are shown as one types.

import { api, getAll } from "../shared/api.js";
import { element, setText } from "../shared/dom.js";
import { inWords } from "./plain_schedule.js";
import { ScheduleFields } from "./schedule_fields.js";
import { problemsOf, showProblem, showProblems } from "../shared/form_problems.js";
import { gettext, language } from "../shared/words.js";

const TYPING = 250;
const MOMENTS = 5;
const NUMBERS = new Set(["misfire_grace", "misfire_limit", "jitter", "max_retries", "retry_delay", "timeout"]);
const SCHEDULE = ["schedule_type", "schedule_value", "timezone"];

export class TaskForm {
  #timer = 0;
  #requests = 0;

  /** `saved(task)` is called with what the server has written. */
  constructor({ page, saved }) {
    this.page = page;
    this.form = page["task-form"];
    this.saved = saved;
    page.zones.append(...Intl.supportedValuesOf("timeZone").map((zone) => new Option(zone, zone)));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    this.form.addEventListener("input", ({ target }) => SCHEDULE.includes(target.name) && this.#foreseeSoon());
    this.schedule = new ScheduleFields(page, this.form, () => this.#foreseeSoon());
  }

  /** Show a task, or an empty form where there is none. */
  async open(task) {
    this.task = task;
    await this.#fillAgents(task?.agent_name);
    const { elements } = this.form;
    for (const [name, value] of Object.entries(task ?? {})) {
      const field = elements[name];
      if (field?.type === "checkbox") {
        field.checked = value;
      } else if (field) {
        field.value = value ?? "";
      }
    }
    if (!task) {
      elements.timezone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
    }
    this.schedule.show({ isNew: !task });
    this.#foresee();
  }

  async #fillAgents(current) {
    const agents = await getAll("/v1/agents");
    const names = agents.filter((agent) => agent.enabled || agent.name === current).map(({ name }) => name);
    if (current && !names.includes(current)) {
      names.unshift(current); // a version of an agent
    }
    this.form.elements.agent_name.replaceChildren(...names.map((name) => new Option(name, name)));
  }

  #values() {
    const { elements } = this.form;
    const values = {};
    for (const field of elements) {
      if (!field.name || (field.name === "webhook_secret" && !field.value)) {
        continue;
      }
      if (field.type === "checkbox") {
        values[field.name] = field.checked;
      } else if (NUMBERS.has(field.name)) {
        values[field.name] = field.value === "" ? null : Number(field.value);
      } else {
        values[field.name] = field.value;
      }
    }
    const { timeout, ...others } = values;
    const fields = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== null));
    return { ...fields, timeout };
  }

  async #save() {
    const address = this.task ? `/v1/tasks/${this.task.id}` : "/v1/tasks";
    this.page.save.disabled = true;
    try {
      this.task = await api(this.task ? "PATCH" : "POST", address, this.#values());
      showProblems(this.form, {}, this.page["form-problem"]);
      this.saved(this.task);
    } catch (error) {
      showProblems(this.form, problemsOf(error), this.page["form-problem"]);
      this.form.querySelector('[aria-invalid="true"]')?.focus();
    } finally {
      this.page.save.disabled = false;
    }
  }

  // The next moments

  #foreseeSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#foresee(), TYPING);
  }

  #schedule() {
    return Object.fromEntries(SCHEDULE.map((name) => [name, this.form.elements[name].value.trim()]));
  }

  async #foresee() {
    const request = (this.#requests += 1);
    const { elements } = this.form;
    const schedule = this.#schedule();
    if (!schedule.schedule_value) {
      this.#drawMoments([], "");
      return;
    }
    try {
      const { data } = await api("POST", "/v1/tasks/simulate", { ...schedule, count: MOMENTS });
      if (request === this.#requests) {
        SCHEDULE.forEach((name) => showProblem(elements[name], undefined));
        this.#drawMoments(data, data.length ? "" : gettext("This schedule has no future runs."));
      }
    } catch (error) {
      if (request === this.#requests) {
        const named = SCHEDULE.filter((name) => error.fields[name]);
        SCHEDULE.forEach((name) => showProblem(elements[name], error.fields[name]));
        this.#drawMoments([], named.length ? "" : error.message); // once: under its field, or here
      }
    }
  }

  #drawMoments(moments, words) {
    const zone = this.form.elements.timezone.value.trim() || "UTC";
    setText(this.page["zone-of-moments"], zone);
    setText(this.page["schedule-in-words"], moments.length ? inWords(this.#schedule()) : "");
    this.page["no-moments"].textContent = words;
    this.page["no-moments"].hidden = !words;
    this.page.moments.replaceChildren(...moments.map((each) => this.#moment(each, zone)));
  }

  #moment({ scheduled_for: at, local_time: local, reason, message }, zone) {
    const shown = new Date(at).toLocaleString(language, { timeZone: zone, dateStyle: "full", timeStyle: "medium" });
    const time = element("time", "", shown);
    time.dateTime = local;
    const line = element("li", "", time);
    if (reason !== "normal") {
      line.append(element("span", "quiet", ` · ${message}`));
    }
    return line;
  }
}
