// The models that the chosen provider has, offered as one types.

import { get } from "../shared/api.js";
import { gettext, ngettext } from "../shared/words.js";

export class ModelList {
  #reports = new Map(); // by provider

  constructor({ page, choices }) {
    this.page = page;
    this.choices = choices;
    const { provider, model } = page["agent-form"].elements;
    this.provider = provider;
    this.model = model;
    const [first, ...others] = choices.providers;
    const isDefault = gettext("Default ({name})", { name: first?.name ?? gettext("none yet") });
    provider.append(new Option(isDefault, ""), ...[first, ...others].filter((each) => each?.has_any_model).map(({ name }) => new Option(name, name)));
    provider.addEventListener("change", () => {
      model.value = "";
      this.draw();
    });
    model.addEventListener("focus", () => this.#load());
  }

  /** A provider that is named but not offered, for example by an administrator, stays what it is. */
  keep(name) {
    if (name && ![...this.provider.options].some((option) => option.value === name)) {
      this.provider.append(new Option(name, name));
    }
  }

  draw() {
    const chosen = this.#chosen();
    this.model.placeholder = chosen?.default_model ?? "";
    this.model.disabled = chosen ? !chosen.has_any_model : false;
    this.page.models.replaceChildren();
    this.page["model-status"].textContent = "";
  }

  #chosen() {
    const name = this.provider.value;
    return name ? this.choices.providers.find((each) => each.name === name) : this.choices.providers[0];
  }

  async #load() {
    const name = this.provider.value;
    if (!this.#reports.has(name)) {
      this.page["model-status"].textContent = gettext("Loading models…");
      this.#reports.set(name, get(`/agents/models?provider=${encodeURIComponent(name)}`));
    }
    try {
      const { models, problem } = await this.#reports.get(name);
      if (name === this.provider.value) {
        this.page.models.replaceChildren(...models.map((model) => new Option(model, model)));
        this.page["model-status"].textContent = problem || ngettext("{count} model", "{count} models", models.length);
      }
    } catch (error) {
      this.#reports.delete(name);
      this.page["model-status"].textContent = error.message;
    }
  }
}
