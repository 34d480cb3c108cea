// What an agent did on the way to its answer, folded to one line once the run has ended: "Worked 18 s · 6 tools".

import { button, element, setText } from "../shared/dom.js";
import { duration, gettext, ngettext } from "../shared/words.js";

const WORK = new Set(["thought", "tool_use", "tool_result", "approval", "retry"]);

export function isWork(item) {
  return WORK.has(item.type);
}

export class Fold {
  #isChosen = false; // a person has opened or closed it, or something in it

  constructor(section, lists) {
    this.section = section;
    this.button = button("", "link worked", () => this.#toggle());
    this.words = element("span");
    this.button.append(this.words);
    this.button.hidden = true;
    lists.addEventListener("click", ({ target }) => {
      this.#isChosen ||= target.closest("summary.label") !== null;
    });
  }

  draw(run) {
    if (run.status === "running") {
      return;
    }
    const calls = run.items.filter((item) => item.type === "tool_use").length;
    this.button.hidden = !calls;
    const words = gettext("Worked {time}", { time: duration(run.durationMs) });
    setText(this.words, [words, ngettext("{count} tool", "{count} tools", calls)].join(" · "));
    if (!this.#isChosen) {
      this.#set(calls > 0);
    }
  }

  #toggle() {
    this.#isChosen = true;
    this.#set(this.section.dataset.folded !== "true");
  }

  #set(isFolded) {
    this.section.dataset.folded = isFolded;
    this.button.setAttribute("aria-expanded", !isFolded);
  }
}
