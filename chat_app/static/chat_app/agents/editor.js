// One agent: its form, with a chat beside it that talks to what is not saved yet.

import { api, get } from "../shared/api.js";
import { element, setText } from "../shared/dom.js";
import { problemsOf, showProblems } from "../shared/form_problems.js";
import { gettext } from "../shared/words.js";
import { ModelList } from "./model_list.js";
import { ToolTree } from "./tool_tree.js";
import { Policy } from "./policy.js";
import { Trial } from "./trial.js";
import { Versions } from "./versions.js";

const TEXTS = ["name", "role", "description", "system_prompt", "model"];
const NUMBERS = ["max_iterations", "timeout", "max_total_tokens"];
const PARAMETERS = ["temperature", "max_tokens"];

export class AgentEditor {
  #isChanged = false;

  constructor({ page, name }) {
    this.page = page;
    this.name = name;
    this.form = page["agent-form"];
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    this.form.addEventListener("input", () => this.#changed());
    page.remove.addEventListener("click", () => this.#remove());
    page.duplicate.addEventListener("click", () => this.#duplicate());
    window.addEventListener("beforeunload", (event) => this.#isChanged && event.preventDefault());
  }

  async open() {
    const { page, name } = this;
    try {
      const [agent, choices] = await Promise.all([get(this.#address()), get("/agents/choices")]);
      this.agent = agent;
      this.models = new ModelList({ page, choices });
      this.tools = new ToolTree({ place: page["tool-tree"], choices, onChange: () => this.#changed() });
      this.#fillSharing(choices);
      this.#fill();
    } catch (error) {
      this.#complain(error);
      return;
    }
    page.one.hidden = false;
    if (!this.agent.is_editable) {
      this.#complain(new Error(gettext("Only its owner and administrators may change this agent.")));
      page.save.disabled = true;
      return;
    }
    new Policy({ page, name });
    new Versions({ page, name, onRestored: () => location.reload() });
    this.trial = new Trial({ page, name, values: () => this.#draft() });
    await this.trial.open();
  }

  #address() {
    return `/v1/agents/${encodeURIComponent(this.name)}`;
  }

  #fillSharing({ groups, may_publish: mayPublish }) {
    const boxes = groups.map((group) => {
      const box = element("input");
      Object.assign(box, { type: "checkbox", value: group, checked: this.agent.allowed_groups?.includes(group) });
      return element("label", "switch", box, " ", group);
    });
    this.page.groups.append(...boxes);
    this.page.sharing.hidden = !groups.length && !mayPublish;
    this.form.elements.access.closest("label").hidden = !mayPublish;
  }

  #fill() {
    const { agent, page } = this;
    const { elements } = this.form;
    setText(page["agent-title"], agent.name);
    page.chat.href = `/chat/?agent=${encodeURIComponent(agent.name)}`;
    this.models.keep(agent.provider);
    elements.provider.value = agent.provider ?? "";
    const values = { ...agent, ...agent.parameters, reasoning_effort: agent.parameters.reasoning_effort ?? "" };
    for (const name of [...TEXTS, ...NUMBERS, ...PARAMETERS, "reasoning_effort", "access"]) {
      elements[name].value = values[name] ?? "";
    }
    elements.enabled.checked = agent.enabled;
    this.models.draw();
    if (agent.is_editable) {
      this.tools.show(agent);
    }
  }

  /** The fields that a draft has: what the agent is, and not who may use it. */
  #draft() {
    const { elements } = this.form;
    const number = (name) => (elements[name].value === "" ? null : Number(elements[name].value));
    const parameters = Object.fromEntries(PARAMETERS.map((name) => [name, number(name)]));
    return {
      ...Object.fromEntries(TEXTS.filter((name) => name !== "name").map((name) => [name, elements[name].value])),
      ...Object.fromEntries(NUMBERS.map((name) => [name, number(name)])),
      provider: elements.provider.value || null,
      parameters: { ...parameters, reasoning_effort: elements.reasoning_effort.value || null },
      ...this.tools.values(),
    };
  }

  #values() {
    const { elements } = this.form;
    const groups = [...this.page.groups.querySelectorAll("input:checked")].map((box) => box.value);
    const sharing = this.page.sharing.hidden ? {} : { access: elements.access.value, allowed_groups: groups };
    return { name: elements.name.value.trim(), ...this.#draft(), ...sharing, enabled: elements.enabled.checked, version: this.agent.version };
  }

  #changed() {
    this.#isChanged = true;
    setText(this.page.said, gettext("Not saved yet"));
    this.trial?.changed();
  }

  async #save() {
    const { page } = this;
    page.save.disabled = true;
    try {
      this.agent = await api("PATCH", this.#address(), this.#values());
      this.#isChanged = false;
      showProblems(this.form, {}, page["form-problem"]);
      setText(page.said, gettext("Saved as version {number}", { number: this.agent.version }));
      if (this.agent.name !== this.name) {
        location.assign(`?agent=${encodeURIComponent(this.agent.name)}`);
      }
      setText(page["agent-title"], this.agent.name);
    } catch (error) {
      showProblems(this.form, problemsOf(error), page["form-problem"]);
      this.form.querySelector('[aria-invalid="true"]')?.focus();
    } finally {
      page.save.disabled = false;
    }
  }

  #remove() {
    const { "delete-dialog": dialog, "delete-name": name } = this.page;
    name.textContent = this.agent.name;
    dialog.returnValue = "";
    dialog.onclose = () =>
      dialog.returnValue === "delete" &&
      this.#attempt(async () => {
        await api("DELETE", this.#address());
        this.#isChanged = false;
        location.assign(location.pathname);
      });
    dialog.showModal();
  }

  /** The copy has a name of its own: the first that is free. */
  async #duplicate() {
    await this.#attempt(async () => {
      const { version, enabled, ...values } = this.#values();
      const copy = await this.#createCopy(values);
      this.#isChanged = false;
      location.assign(`?agent=${encodeURIComponent(copy.name)}`);
    });
  }

  async #createCopy(values) {
    for (let number = 2; ; number += 1) {
      try {
        return await api("POST", "/v1/agents", { ...values, name: `${values.name.slice(0, 58)}-${number}` });
      } catch (error) {
        if (error.param !== "name" || number > 20) {
          throw error;
        }
      }
    }
  }

  async #attempt(act) {
    this.page.problem.hidden = true;
    try {
      await act();
    } catch (error) {
      this.#complain(error);
    }
  }

  #complain(error) {
    this.page.problem.textContent = error.message;
    this.page.problem.hidden = false;
  }
}
