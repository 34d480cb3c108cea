// A chat beside the form, with the agent as the form has it now.

import { api } from "../shared/api.js";

const TYPING = 500;

export class Trial {
  #timer = 0;
  #kept = ""; // the draft that the server has
  #keeping = Promise.resolve();

  /** `values()` returns the fields of the form. */
  constructor({ page, name, values }) {
    this.page = page;
    this.name = name;
    this.values = values;
    page["new-trial"].addEventListener("click", () => this.open());
    window.addEventListener("blur", () => this.#keepSoon(0)); // the chat is about to be used
  }

  async open() {
    await this.#keep();
    const address = new URL("/agents/try", location.href);
    address.searchParams.set("agent", `${this.name}@draft`);
    this.page.trial.src = address;
  }

  changed() {
    this.#keepSoon(TYPING);
  }

  #keepSoon(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#keep(), delay);
  }

  /** Send the draft, one at a time. What is wrong with it is said when it is saved. */
  #keep() {
    this.#keeping = this.#keeping.then(async () => {
      const values = this.values();
      const draft = JSON.stringify(values);
      if (draft !== this.#kept) {
        try {
          await api("PUT", `/v1/agents/${encodeURIComponent(this.name)}/draft`, values);
          this.#kept = draft;
          this.page["trial-problem"].hidden = true;
        } catch (error) {
          this.page["trial-problem"].textContent = error.message;
          this.page["trial-problem"].hidden = false;
        }
      }
    });
    return this.#keeping;
  }
}
