// Where messages are written: Enter sends, Shift+Enter breaks the line, ArrowUp takes up the last message again.
// A message with files waits for their upload; what is written survives a reload of the page.

import { countCodePoints } from "./fold.js";
import { isComposing, setText } from "../shared/dom.js";
import { gettext, number } from "../shared/words.js";

export class Composer {
  files = null; // of the message: what holds them is made after this
  #draftKey;
  #waits = false; // for uploads, to send then
  #sendLabel;
  #busy; // of the message that waits for uploads

  /** `send(message, parts)` is given what may be sent; `lastMessage()` tells what was said last. */
  constructor({ sessionId, form, field, problem, send, lastMessage }) {
    this.#draftKey = `draft:${sessionId}`;
    this.field = field;
    this.problem = problem;
    this.send = send;
    this.lastMessage = lastMessage;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.now = form.querySelector("#send-now");
    this.now.addEventListener("click", () => this.submit("steer"));
    this.button = form.querySelector('[type="submit"]');
    this.button.disabled = false; // before this, a click would load the page anew
    this.#sendLabel = this.button.textContent;
    field.value ||= sessionStorage.getItem(this.#draftKey) ?? "";
    field.addEventListener("input", () => this.#keepDraft());
    field.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** `busy`: what is to become of it if a run goes on, instead of waiting for its end. */
  submit(busy = this.#busy) {
    this.#busy = undefined;
    const message = this.field.value.replaceAll("\0", "");
    if (!message.trim() && !this.files.count) {
      return;
    }
    const longest = Number(this.field.dataset.longest); // the server's MAX_MESSAGE_CHARACTERS
    if (countCodePoints(message) > longest) {
      const count = number(longest);
      this.complain(gettext("The message is longer than {count} characters.", { count }));
      return;
    }
    if (this.files.hasProblems) {
      this.complain(gettext("Not every file was uploaded. Try again, or remove those that failed."));
      return;
    }
    this.#wait(this.files.isBusy);
    if (this.#waits) {
      this.#busy = busy;
      return;
    }
    this.#write("");
    this.complain("");
    this.send(message.trim() ? message : "", this.files.take(), busy);
  }

  /** An upload has ended, or a file was added or removed: what waits for uploads is sent, or waits no longer. */
  filesChanged() {
    if (this.#waits && (!this.files.isBusy || this.files.hasProblems)) {
      this.#wait(false);
      this.submit();
    }
  }

  /** While a run goes on, a message can be sent into it, or to be answered after it. */
  set isBusy(isBusy) {
    this.now.hidden = !isBusy;
    if (!this.#waits) {
      setText(this.button, isBusy ? gettext("Send after this") : this.#sendLabel);
    }
  }

  #wait(waits) {
    this.#waits = waits;
    this.button.ariaBusy = String(waits);
    setText(this.button, waits ? gettext("Waiting for files…") : this.#sendLabel);
  }

  #write(text) {
    this.field.value = text;
    this.#keepDraft();
  }

  #keepDraft() {
    sessionStorage.setItem(this.#draftKey, this.field.value);
  }

  /** Put a message back to where it was typed, before what was typed since. */
  takeBack({ message, parts = [] }) {
    this.#write([message, this.field.value].filter(Boolean).join("\n"));
    this.files.takeBack(parts);
  }

  complain(words) {
    this.problem.textContent = words;
    this.problem.hidden = !words;
  }

  #pressed(event) {
    if (isComposing(event)) {
      return;
    }
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.submit(event.ctrlKey || event.metaKey ? "steer" : undefined);
    } else if (event.key === "ArrowUp" && !this.field.value && this.lastMessage()) {
      event.preventDefault();
      this.#write(this.lastMessage());
      this.field.setSelectionRange(this.field.value.length, this.field.value.length);
    }
  }
}
