// Where messages are written: Enter sends, Shift+Enter breaks the line, ArrowUp takes up the last message again.

import { countCodePoints } from "./fold.js";
import { isComposing } from "../shared/dom.js";
import { gettext, number } from "../shared/words.js";

export class Composer {
  /** `send(message)` is given what may be sent; `lastMessage()` tells what was said last. */
  constructor({ form, field, problem, send, lastMessage }) {
    this.field = field;
    this.problem = problem;
    this.send = send;
    this.lastMessage = lastMessage;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    form.querySelector('[type="submit"]').disabled = false; // before this, a click would load the page anew
    field.addEventListener("keydown", (event) => this.#pressed(event));
  }

  submit() {
    const message = this.field.value.replaceAll("\0", "");
    if (!message.trim()) {
      return;
    }
    const longest = Number(this.field.dataset.longest); // the server's MAX_MESSAGE_CHARACTERS
    if (countCodePoints(message) > longest) {
      const count = number(longest);
      this.complain(gettext("The message is longer than {count} characters.", { count }));
      return;
    }
    this.field.value = "";
    this.complain("");
    this.send(message);
  }

  /** Put a message back to where it was typed, before what was typed since. */
  takeBack(message) {
    this.field.value = [message, this.field.value].filter(Boolean).join("\n");
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
      this.submit();
    } else if (event.key === "ArrowUp" && !this.field.value && this.lastMessage()) {
      event.preventDefault();
      this.field.value = this.lastMessage();
      this.field.setSelectionRange(this.field.value.length, this.field.value.length);
    }
  }
}
