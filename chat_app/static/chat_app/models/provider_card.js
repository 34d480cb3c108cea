// One provider: where it is, whether it answers, and which of its models is the default.

import { api } from "../shared/api.js";
import { button, element } from "../shared/dom.js";
import { gettext, ngettext, number } from "../shared/words.js";

export class ProviderCard {
  /** `onEdit()`, `onRemove()` and `onChanged()` are called when a person wants that, or has changed the provider. */
  constructor(provider, { onEdit, onRemove, onChanged }) {
    this.provider = provider;
    this.onChanged = onChanged;
    this.status = element("p", "status quiet");
    this.status.setAttribute("role", "status");
    this.models = element("label", "default-model", gettext("Default model"), " ");
    this.models.hidden = true;
    const title = element("h2", "", provider.name);
    const verbs = element("p", "verbs", button(gettext("Test"), "link", () => this.test()));
    verbs.append(button(gettext("Edit"), "link", onEdit), button(gettext("Delete"), "link", onRemove));
    if (!provider.is_default) {
      verbs.append(button(gettext("Make it the default"), "link", () => this.#change({ is_default: true })));
    }
    this.node = element("li", "", element("div", "head", title, ...this.#chips()), this.#facts(), this.status, this.models, verbs);
    this.node.dataset.provider = provider.name;
  }

  #chips() {
    const { provider } = this;
    const words = [
      provider.is_default && gettext("Default"),
      provider.open_to_users && gettext("Open to users"),
      !provider.has_api_key && provider.kind === "anthropic" && gettext("No key"),
    ];
    return words.filter(Boolean).map((each) => element("span", "chip", each));
  }

  #facts() {
    const { kind, base_url: url, default_model: model } = this.provider;
    const place = kind === "local" ? gettext("in this server's process") : url || "https://api.anthropic.com";
    return element("p", "quiet", [place, model || gettext("no default model")].join(" · "));
  }

  /** Ask the provider for its models, and offer them. */
  async test() {
    this.status.dataset.state = "busy";
    this.status.textContent = gettext("Testing…");
    try {
      const report = await api("POST", `/v1/providers/${encodeURIComponent(this.provider.name)}/check`);
      this.status.dataset.state = report.ok ? "ok" : "failed";
      this.status.textContent = report.ok
        ? `✓ ${number(report.duration_ms)} ms, ${ngettext("{count} model", "{count} models", report.models.length)}`
        : `✗ ${report.message}`;
      this.#offer(report.models);
    } catch (error) {
      this.status.dataset.state = "failed";
      this.status.textContent = error.message;
    }
  }

  #offer(models) {
    const present = this.provider.default_model;
    const select = element("select");
    select.append(new Option(gettext("Choose…"), ""), ...models.map((model) => new Option(model, model)));
    if (present && !models.includes(present)) {
      select.append(new Option(gettext("{model} (not in its list)", { model: present }), present));
    }
    select.value = present;
    select.addEventListener("change", () => select.value && this.#change({ default_model: select.value }));
    this.models.replaceChildren(gettext("Default model"), " ", select);
    this.models.hidden = !models.length || this.provider.kind === "local";
  }

  async #change(values) {
    try {
      await api("PATCH", `/v1/providers/${encodeURIComponent(this.provider.name)}`, values);
      this.onChanged();
    } catch (error) {
      this.status.textContent = error.message;
    }
  }
}
