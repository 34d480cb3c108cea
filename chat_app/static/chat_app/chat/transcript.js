// Draws the runs of a conversation. What changed is drawn, and nothing else; all text is text, never markup.

import { attachmentList } from "./attachments.js";
import { cardFor } from "./cards.js";
import { Branching } from "./branching.js";
import { copyButton } from "./copying.js";
import { button, element, setText } from "../shared/dom.js";
import { Fold, isWork } from "./fold_of_work.js";
import { showMessage } from "./message_text.js";
import { cost, duration, elapsed, gettext, ngettext, number, percentOf } from "../shared/words.js";

const CLOCK = 1000;
// Cards are in several lists: a browser looks after a list that is out of sight as one thing, not as many.
const LONGEST_LIST = 50;
const TYPICAL_HEIGHT = 50;
// So many new items at once are an old session: its newest cards are made at once, the others when there is time.
const MANY = 3 * LONGEST_LIST;

export class Transcript {
  #root;
  #rendering;
  #options;
  #sections = new Map();

  /**
   * `rendering.watch(card)` is told of each card whose Markdown the server might render. `folds`: of a run that has
   * ended only the answer is shown; `isPinned`: open questions are asked elsewhere; `branches`: messages can be edited,
   * answered again and forked.
   */
  constructor(root, rendering, { folds = false, isPinned = false, branches = false } = {}) {
    this.#root = root;
    this.#rendering = rendering;
    this.#options = { folds, isPinned, branches };
    setInterval(() => this.#tick(), CLOCK);
  }

  draw(conversation) {
    for (const run of conversation.changed) {
      if (!this.#sections.has(run)) {
        const section = new Section(run, this.#rendering, this.#options);
        this.#sections.set(run, section);
        this.#root.append(section.element);
      }
      this.#sections.get(run).draw();
    }
    conversation.changed.clear();
    if (conversation.branches?.changed) {
      this.#drawBranches(conversation);
    }
  }

  /** Show the runs of the path, each with its place among its versions. */
  #drawBranches({ branches }) {
    branches.changed = false;
    const path = new Set(branches.path());
    for (const section of this.#sections.values()) {
      section.element.hidden = !path.has(section.run);
      if (path.has(section.run)) {
        section.branching?.drawVersions(branches.versions(section.run));
      }
    }
  }

  /** Have every card there. */
  finish() {
    this.#sections.forEach((section) => section.finish());
  }

  clear() {
    this.#sections.clear();
    this.#root.replaceChildren();
  }

  #tick() {
    for (const section of this.#sections.values()) {
      if (section.run.status === "running") {
        section.drawClock();
      }
    }
  }
}

/** A message that the log does not show yet. */
export function pendingMessage(payload, words) {
  const bubble = element("div", "said");
  bubble.dir = "auto";
  showMessage(bubble, payload.message);
  bubble.hidden = !payload.message;
  const files = attachmentList(payload.parts ?? []);
  const section = element("section", "run", ...(files ? [files] : []), bubble, element("p", "ending", words));
  section.dataset.status = "pending";
  return section;
}

/** One run: the message, a card for each item, and how it ended. */
class Section {
  #cards = new Map();
  #rendering;
  #options;
  #lastStep = -Infinity; // of those that have cards
  #owed = new Map(); // of lists whose cards are still to be made: their items
  #owing = new Map(); // of each item of those: its list

  constructor(run, rendering, options) {
    this.run = run;
    this.#rendering = rendering;
    this.#options = options;
    this.element = element("section", "run");
    this.element.dataset.run = run.id;
    this.title = element("h2", "hidden");
    this.bubble = element("div", "said");
    this.bubble.dir = "auto";
    this.again = button(gettext("Ask again"), "link again", () => this.#askAgain());
    this.branching = options.branches ? new Branching(run, this.bubble) : null;
    const more = this.branching?.buttons ?? [];
    this.actions = element("p", "actions", ...more, copyButton(() => run.message), this.again);
    this.lists = element("div", "lists");
    this.fold = options.folds ? new Fold(this.element, this.lists) : null;
    this.now = element("span", "now");
    this.clock = element("span", "clock");
    this.ending = element("p", "ending", this.now, this.clock);
    this.element.append(this.title, this.bubble, this.actions, ...(this.fold ? [this.fold.button] : []), this.lists, this.ending);
  }

  draw() {
    const { run } = this;
    const isRunning = run.status === "running";
    this.element.dataset.status = run.status;
    setText(this.title, gettext("Message to {agent}", { agent: run.agent }));
    showMessage(this.bubble, run.message);
    this.bubble.hidden = !run.message || Boolean(this.branching?.isOpen);
    this.#drawFiles();
    this.#postpone();
    for (const item of run.changed) {
      this.#drawItem(item);
    }
    run.changed.clear();
    setText(this.now, isRunning ? activity(run) : summary(run));
    this.again.hidden = isRunning;
    this.branching?.draw();
    this.fold?.draw(run);
    this.drawClock();
  }

  #drawFiles() {
    this.files ??= attachmentList(this.run.files);
    if (this.files && !this.files.parentNode) {
      this.bubble.before(this.files);
    }
  }

  drawClock() {
    const isRunning = this.run.status === "running";
    setText(this.clock, isRunning ? ` ${elapsed(Date.now() / 1000 - this.run.since)}` : "");
  }

  /** Lay out lists for many new items; cards are made for the newest, which is what people look at first. */
  #postpone() {
    const isNew = (item) => !item.removed && !item.call && !this.#cards.has(item) && !this.#owing.has(item);
    const fresh = this.run.changed.size > MANY ? this.run.items.filter((item) => this.run.changed.has(item) && isNew(item)) : [];
    const later = fresh.slice(0, -MANY);
    if (!later.length || later[0].step < this.#lastStep) {
      return;
    }
    for (let at = 0; at < later.length; at += LONGEST_LIST) {
      const items = later.slice(at, at + LONGEST_LIST);
      const list = this.#newList(items.length);
      this.#owed.set(list, items);
      items.forEach((item) => this.#owing.set(item, list));
    }
    this.#newList(0);
    whenIdle((hasTime) => this.#makeOwed(hasTime));
  }

  /** Make cards, of the newest lists first, for as long as there is time. Returns whether that is all. */
  #makeOwed(hasTime) {
    for (const [list, items] of [...this.#owed].reverse()) {
      while (items.length) {
        if (!hasTime()) {
          return false;
        }
        const item = items.pop();
        this.#owing.delete(item);
        if (!item.removed) {
          const card = cardFor(item, this.run, this.#options);
          this.#cards.set(item, card);
          list.prepend(card.element);
          this.#drawCard(card);
        }
      }
      this.#owed.delete(list);
    }
    return true;
  }

  /** Make all cards that are still to be made: somebody wants one of them. */
  finish() {
    this.#makeOwed(() => true);
  }

  #drawItem(item) {
    if (this.#owing.has(item)) {
      return; // its card will show it as it is then
    }
    let card = this.#cards.get(item);
    if (item.removed || item.call || (card && card.isCall !== (item.type === "tool_use"))) {
      card?.element.remove(); // a result is part of its call's card, and a type is provisional while it streams
      this.#cards.delete(item);
      card = undefined;
    }
    if (item.removed || item.call) {
      return;
    }
    if (!card) {
      const next = this.#following(item);
      if (this.#owing.has(next)) {
        this.#owe(item, next);
        return;
      }
      card = cardFor(item, this.run, this.#options);
      this.#place(card, this.#cards.get(next)?.element);
      this.#cards.set(item, card);
    }
    this.#drawCard(card);
  }

  #drawCard(card) {
    card.draw();
    if (!isWork(card.item) || card.element.hasAttribute("data-shows-files")) {
      card.element.parentElement.dataset.shows = "true";
    }
    if (card.wantsRendering) {
      this.#rendering.watch(card);
    }
  }

  /** Have an item's card made just before that of another item whose card is still to be made. */
  #owe(item, next) {
    const list = this.#owing.get(next);
    const items = this.#owed.get(list);
    items.splice(items.indexOf(next), 0, item);
    this.#owing.set(item, list);
  }

  #place(card, next) {
    if (next) {
      next.before(card.element);
      return;
    }
    let list = this.lists.lastElementChild;
    if (!list || list.childElementCount >= LONGEST_LIST) {
      list = this.#newList(0);
    }
    list.append(card.element);
    estimateHeight(list, list.childElementCount);
  }

  #newList(count) {
    const list = element("ol", "items");
    estimateHeight(list, count);
    this.lists.append(list);
    return list;
  }

  /** The next item that has a card or is to have one; null at the end. */
  #following(item) {
    if (item.step >= this.#lastStep) {
      this.#lastStep = item.step;
      return null;
    }
    const { items } = this.run;
    for (let at = items.length - 1, next = null; at >= 0; at -= 1) {
      if (items[at] === item) {
        return next;
      }
      if (this.#cards.has(items[at]) || this.#owing.has(items[at])) {
        next = items[at];
      }
    }
    return null;
  }

  #askAgain() {
    const { message, files, agent } = this.run;
    this.element.dispatchEvent(new CustomEvent("again", { bubbles: true, detail: { message, files, agent } }));
  }
}

/** What a browser takes a list to be high while it is out of sight. */
function estimateHeight(list, count) {
  list.style.setProperty("contain-intrinsic-block-size", `auto ${count * TYPICAL_HEIGHT}px`);
}

/** Call `work(hasTime)` while the browser has nothing better to do, until it returns true. */
function whenIdle(work) {
  idly((idle) => work(() => idle.timeRemaining() > 1) || whenIdle(work));
}

/** Safari tells nobody when it is idle: there a little is done between frames. */
const idly =
  globalThis.requestIdleCallback ??
  ((act) =>
    setTimeout(() => {
      const end = performance.now() + 8;
      act({ timeRemaining: () => end - performance.now() });
    }, 16));

/** What the agent does now. */
export function activity(run) {
  const open = run.open.at(-1);
  if (run.asking.length && !open) {
    return run.asking[0].actionId ? gettext("waiting for your answer…") : gettext("waiting for your decision…");
  }
  if (run.retrying) {
    return gettext("trying again…");
  }
  switch (open?.type) {
    case undefined: {
      const tools = run.calling.join(", ");
      return tools ? gettext("calling {tools}…", { tools }) : gettext("thinking…");
    }
    case "thought":
      return gettext("thinking…");
    case "tool_use":
      return gettext("writing a tool call…");
    case "tool_result":
      return gettext("calling a tool…");
    default:
      return gettext("answering…");
  }
}

function summary(run) {
  const { input_tokens: taken = 0, output_tokens: output = 0, tool_calls: calls = 0 } = run.usage;
  const words = [ending(run.status), run.agent, duration(run.durationMs)];
  if (taken || output) {
    words.push(gettext("{taken} in · {given} out tokens", { taken: number(taken), given: number(output) }));
  }
  if (calls) {
    words.push(ngettext("{count} tool call", "{count} tool calls", calls));
  }
  if (run.cost !== undefined && Number(run.cost) > 0) {
    words.push(cost(run.cost));
  }
  if (run.contextWindow) {
    words.push(gettext("context {percent} % full", { percent: percentOf(run.contextTokens, run.contextWindow) }));
  }
  return words.join(" · ");
}

export function ending(status) {
  switch (status) {
    case "completed":
      return gettext("Completed");
    case "failed":
      return gettext("Failed");
    case "cancelled":
      return gettext("Stopped");
    default:
      return status;
  }
}
