// What may be done with a message beside reading it: edit it, have it answered anew, fork the chat after it, and flip
// between its versions. The page hears of it by events: "regenerate", "version" and "fork".

import { button, element, isComposing, setText, signButton } from "../shared/dom.js";
import { gettext, number } from "../shared/words.js";

export class Branching {
  #run;
  #said;
  #form = null; // while the message is edited
  #versions = [];

  constructor(run, said) {
    this.#run = run;
    this.#said = said;
    this.versions = element("span", "versions");
    this.versions.hidden = true;
    this.place = element("span", "place");
    this.versions.append(
      signButton("‹", gettext("Previous version"), "previous", () => this.#flip(-1)),
      this.place,
      signButton("›", gettext("Next version"), "next", () => this.#flip(1)),
    );
    this.regenerate = button(gettext("Regenerate"), "link", () => this.#tell("regenerate", {}));
    this.edit = button(gettext("Edit"), "link", () => this.#open());
    this.fork = button(gettext("Fork"), "link", () => this.#tell("fork", {}));
  }

  get buttons() {
    return [this.versions, this.edit, this.regenerate, this.fork];
  }

  draw() {
    this.regenerate.hidden = this.fork.hidden = this.#run.status === "running";
  }

  drawVersions(versions) {
    this.#versions = versions;
    this.versions.hidden = versions.length < 2;
    setText(this.place, `${number(versions.indexOf(this.#run) + 1)}/${number(versions.length)}`);
  }

  #flip(by) {
    const { length } = this.#versions;
    const next = this.#versions[(this.#versions.indexOf(this.#run) + by + length) % length];
    this.#tell("version", { run: next });
  }

  #tell(name, detail) {
    const event = new CustomEvent(name, { bubbles: true, detail: { run: this.#run, ...detail } });
    this.#said.dispatchEvent(event);
  }

  #open() {
    if (this.#form) {
      return;
    }
    const field = element("textarea", "edited");
    field.value = this.#run.message;
    field.setAttribute("aria-label", gettext("Message"));
    field.rows = Math.min(12, field.value.split("\n").length + 1);
    const send = button(gettext("Send"), "", () => this.#send(field.value));
    const cancel = button(gettext("Cancel"), "link", () => this.#close());
    this.#form = element("div", "editor", field, element("p", "editor-buttons", cancel, send));
    field.addEventListener("keydown", (event) => this.#pressed(event, field));
    this.#said.hidden = true;
    this.#said.after(this.#form);
    field.focus();
  }

  #pressed(event, field) {
    if (event.key === "Enter" && !event.shiftKey && !isComposing(event)) {
      event.preventDefault();
      this.#send(field.value);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.#close();
    }
  }

  #send(message) {
    if (message.trim() || this.#run.files.length) {
      this.#close();
      this.#tell("regenerate", { message });
    }
  }

  #close() {
    this.#form.remove();
    this.#form = null;
    this.#said.hidden = !this.#run.message;
  }

  get isOpen() {
    return this.#form !== null;
  }
}
