// One task: what can be done with it, its form, and what has come of it.

import { api, get } from "../shared/api.js";
import { link, setText } from "../shared/dom.js";
import { TaskForm } from "./form.js";
import { TaskHistory } from "./history.js";
import { gettext } from "../shared/words.js";

const INTERVAL = 4000;

export class TaskView {
  constructor({ page, id, changed }) {
    this.page = page;
    this.id = id;
    this.changed = changed;
    this.form = new TaskForm({ page, saved: (task) => this.#saved(task) });
    this.history = new TaskHistory({ page, id });
    page["run-now"].addEventListener("click", () => this.#runNow());
    page.switch.addEventListener("click", () => this.#switch());
    page.remove.addEventListener("click", () => this.#remove());
  }

  async open() {
    try {
      this.task = this.id ? await get(`/v1/tasks/${encodeURIComponent(this.id)}`) : null;
      await this.form.open(this.task);
    } catch (error) {
      this.#complain(error);
      return;
    }
    this.page.task.hidden = false;
    this.history.zone = this.task?.timezone;
    this.#draw();
    if (this.id) {
      this.#watchHistory();
    } else {
      this.page["task-form"].elements.name.focus();
    }
  }

  #draw() {
    const { page, task } = this;
    setText(page["task-title"], task ? task.name : gettext("New task"));
    page.verbs.hidden = !task;
    page.history.hidden = !task;
    page["all-runs"].href = `/runs/?task=${encodeURIComponent(this.id ?? "")}`;
    setText(page.switch, task?.enabled ? gettext("Disable") : gettext("Enable"));
    setText(page.save, task ? gettext("Save") : gettext("Create the task"));
  }

  #saved(task) {
    if (!this.task) {
      location.assign(`?task=${encodeURIComponent(task.id)}`);
      return;
    }
    this.task = task;
    this.history.zone = task.timezone;
    this.#say(gettext("Saved."));
    this.#draw();
    this.changed();
  }

  async #runNow() {
    await this.#attempt(async () => {
      const { run_id: run } = await api("POST", `/v1/tasks/${this.id}/run`, {});
      this.#say(gettext("Started."), link(gettext("Watch it"), `/runs/?run=${encodeURIComponent(run)}`));
      this.changed();
      await this.history.load();
    });
  }

  async #switch() {
    await this.#attempt(async () => {
      const verb = this.task.enabled ? "disable" : "enable";
      this.task = await api("POST", `/v1/tasks/${this.id}/${verb}`, {});
      this.page["task-form"].elements.enabled.checked = this.task.enabled;
      this.#say(this.task.enabled ? gettext("Enabled.") : gettext("Disabled."));
      this.#draw();
      this.changed();
    });
  }

  #remove() {
    const { "delete-dialog": dialog, "delete-name": name } = this.page;
    name.textContent = this.task.name;
    dialog.returnValue = "";
    dialog.onclose = () =>
      dialog.returnValue === "delete" &&
      this.#attempt(async () => {
        await api("DELETE", `/v1/tasks/${this.id}`);
        location.assign(location.pathname);
      });
    dialog.showModal();
  }

  async #attempt(act) {
    this.page.problem.hidden = true;
    try {
      await act();
    } catch (error) {
      this.#complain(error);
    }
  }

  async #watchHistory() {
    try {
      await this.history.load();
    } catch (error) {
      console.warn("The history could not be had:", error);
    }
    setTimeout(() => this.#watchHistory(), INTERVAL);
  }

  #say(...words) {
    this.page.said.replaceChildren(...words.flatMap((each) => [each, " "]));
  }

  #complain(error) {
    this.page.problem.textContent = error.message;
    this.page.problem.hidden = false;
  }
}
