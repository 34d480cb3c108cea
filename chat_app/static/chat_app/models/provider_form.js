// The form of a provider: the key comes first, since it tells whose it is.

import { api } from "../shared/api.js";
import { problemsOf, showProblems } from "../shared/form_problems.js";
import { gettext } from "../shared/words.js";
import { PRESETS, presetOfKey } from "./presets.js";

const TEXTS = ["name", "base_url", "api_key_env", "default_model"];

export class ProviderForm {
  #names = []; // of the providers that there are

  /** `saved(provider)` is called with what the server has written. */
  constructor({ page, saved }) {
    this.page = page;
    this.form = page["provider-form"];
    this.dialog = page["provider-dialog"];
    this.saved = saved;
    const { elements } = this.form;
    elements.preset.append(...PRESETS.map(({ id, title }) => new Option(title, id)));
    elements.preset.addEventListener("change", () => this.#usePreset());
    elements.api_key.addEventListener("input", () => this.#recognize());
    page["cancel-provider"].addEventListener("click", () => this.dialog.close());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
  }

  /** Open it for a provider, or for a new one if there is none. `isFirst`: there is no other real one. */
  open(provider, { names, isFirst = false }) {
    const { elements } = this.form;
    this.provider = provider;
    this.#names = names;
    this.form.reset();
    showProblems(this.form, {}, this.page["provider-problem"]);
    this.page["provider-title"].textContent = provider ? provider.name : gettext("Add a provider");
    this.page["preset-field"].hidden = Boolean(provider);
    elements.api_key.placeholder = provider?.has_api_key ? gettext("Leave empty to keep the key") : "sk-…";
    if (provider) {
      TEXTS.forEach((name) => (elements[name].value = provider[name]));
      elements.kind.value = provider.kind;
      elements.context_tokens.value = provider.context_tokens;
      elements.is_default.checked = provider.is_default;
      elements.open_to_users.checked = provider.open_to_users;
    } else {
      elements.is_default.checked = isFirst;
      this.#usePreset();
    }
    this.dialog.showModal();
  }

  #recognize() {
    const preset = !this.provider && presetOfKey(this.form.elements.api_key.value);
    if (preset && this.form.elements.preset.value !== preset.id) {
      this.form.elements.preset.value = preset.id;
      this.#usePreset();
    }
  }

  #usePreset() {
    const { elements } = this.form;
    const preset = PRESETS.find(({ id }) => id === elements.preset.value);
    elements.kind.value = preset.kind ?? "openai";
    elements.base_url.value = preset.url;
    elements.name.value = this.#freeName(preset.id);
    elements.base_url.closest("label").hidden = Boolean(preset.url && !preset.isLocal) || preset.id === "anthropic";
    elements.api_key.required = !preset.isLocal;
  }

  #freeName(id) {
    for (let number = 1; ; number += 1) {
      const name = number === 1 ? id : `${id}-${number}`;
      if (!this.#names.includes(name)) {
        return name;
      }
    }
  }

  #values() {
    const { elements } = this.form;
    const values = Object.fromEntries(TEXTS.map((name) => [name, elements[name].value.trim()]));
    if (elements.api_key.value.trim()) {
      values.api_key = elements.api_key.value.trim();
    }
    if (elements.context_tokens.value) {
      values.context_tokens = Number(elements.context_tokens.value);
    }
    const flags = { open_to_users: elements.open_to_users.checked };
    if (elements.is_default.checked) {
      flags.is_default = true;
    }
    return { ...values, ...flags, kind: elements.kind.value };
  }

  async #save() {
    const { provider, page } = this;
    const address = provider ? `/v1/providers/${encodeURIComponent(provider.name)}` : "/v1/providers";
    page["save-provider"].disabled = true;
    try {
      const written = await api(provider ? "PATCH" : "POST", address, this.#values());
      this.dialog.close();
      this.saved(written);
    } catch (error) {
      showProblems(this.form, problemsOf(error), page["provider-problem"]);
      this.form.elements.base_url.closest("label").hidden = false;
    } finally {
      page["save-provider"].disabled = false;
    }
  }
}
