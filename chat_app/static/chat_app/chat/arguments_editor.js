// The arguments of a call that waits for approval, to be changed before it is made.

import { exact } from "./json.js";
import { button, element } from "../shared/dom.js";
import { gettext } from "../shared/words.js";

export class ArgumentsEditor {
  constructor(args) {
    this.written = JSON.stringify(args, null, 2);
    this.text = element("textarea", "edited");
    this.text.setAttribute("aria-label", gettext("Arguments, as JSON"));
    this.text.spellcheck = false;
    this.text.hidden = true;
    this.problem = element("p", "problem");
    this.problem.setAttribute("role", "alert");
    this.problem.hidden = true;
    this.toggle = button(gettext("Edit the arguments"), "edit", () => this.#toggle());
    this.toggle.setAttribute("aria-expanded", "false");
  }

  /** What the call is to be made with: nothing where nobody changed it; null where the text is no JSON object. */
  get value() {
    if (this.text.hidden || this.text.value === this.written) {
      return undefined;
    }
    const value = parsed(this.text.value);
    this.problem.hidden = value !== null;
    this.problem.textContent = value === null ? gettext("The arguments are not a JSON object.") : "";
    return value;
  }

  #toggle() {
    this.text.hidden = !this.text.hidden;
    this.problem.hidden = true;
    this.toggle.setAttribute("aria-expanded", String(!this.text.hidden));
    if (!this.text.hidden) {
      this.text.value ||= this.written;
      this.text.rows = Math.min(12, this.text.value.split("\n").length + 1);
      this.text.focus();
    }
  }
}

function parsed(text) {
  try {
    const value = exact(text);
    return value && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
