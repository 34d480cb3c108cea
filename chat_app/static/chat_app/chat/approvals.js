// The open questions of a chat, pinned above the composer: nobody has to look for them.

import { approvalForm } from "./approval_card.js";
import { approvalLabel } from "./card_titles.js";
import { element, setText } from "../shared/dom.js";
import { elapsed, gettext, ngettext, number } from "../shared/words.js";

const CLOCK = 1000;

export class PinnedApprovals {
  #item = null;
  #form = null;

  constructor(root) {
    this.root = root;
    this.label = element("p", "label");
    this.count = element("span", "quiet");
    this.expiry = element("span", "quiet");
    this.arguments = element("div", "text");
    this.arguments.tabIndex = 0;
    this.place = element("div");
    root.append(element("div", "head", this.label, this.count, this.expiry), this.arguments, this.place);
    setInterval(() => this.#drawExpiry(), CLOCK);
    document.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** Ask the first question that is open. Returns how many there are. */
  draw(conversation) {
    const asking = conversation.running.flatMap((run) => run.asking);
    this.root.hidden = asking.length === 0;
    setText(this.count, asking.length > 1 ? ngettext("{count} decision waiting", "{count} decisions waiting", asking.length) : "");
    if (this.#item !== (asking[0] ?? null)) {
      this.#item = asking[0] ?? null;
      this.#ask();
    }
    return asking.length;
  }

  /** What was clicked may have been lost with its connection. */
  letAnswerAgain() {
    if (this.#form) {
      this.#form.inert = false;
    }
  }

  #ask() {
    this.#form = this.#item && approvalForm(this.#item);
    this.place.replaceChildren(...(this.#form ? [this.#form] : []));
    if (this.#item) {
      setText(this.label, approvalLabel(this.#item));
      this.arguments.hidden = this.#item.question !== undefined;
      setText(this.arguments, JSON.stringify(this.#item.arguments, null, 2));
      this.#drawExpiry();
    }
  }

  #drawExpiry() {
    const left = this.#item?.expiresAt ? new Date(this.#item.expiresAt) / 1000 - Date.now() / 1000 : 0;
    setText(this.expiry, left > 0 ? gettext("expires in {time}", { time: roughly(left) }) : "");
  }

  /** A and D answer where nobody is writing; with Alt they do anywhere. */
  #pressed(event) {
    const isWriting = event.target.closest?.("input, textarea, select, [contenteditable]");
    const isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey && (event.altKey || !isWriting);
    const name = { KeyA: ".approve", KeyD: ".deny" }[event.code];
    if (!name || !isPlain || event.repeat || !this.#form || this.#form.inert || document.querySelector("dialog[open]")) {
      return;
    }
    event.preventDefault();
    this.#form.querySelector(name)?.click();
  }
}

function roughly(seconds) {
  if (seconds >= 5400) {
    return gettext("{count} h", { count: number(Math.round(seconds / 3600)) });
  }
  return seconds >= 90 ? gettext("{count} min", { count: number(Math.round(seconds / 60)) }) : elapsed(seconds);
}
