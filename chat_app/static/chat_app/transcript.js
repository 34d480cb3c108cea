// Draws the runs of a conversation. What changed is drawn, and nothing else; all text is text, never markup.

const LONGEST_NODE = 2000;
const LABELS = { thought: "Thought", tool_result: "Tool result", final_answer: "Answer", response: "Answer", error: "Error" };
const ENDS = { completed: "Completed", failed: "Failed", cancelled: "Stopped" };

export class Transcript {
  #root;
  #sections = new Map();

  constructor(root) {
    this.#root = root;
  }

  draw(conversation) {
    for (const run of conversation.changed) {
      if (!this.#sections.has(run)) {
        const section = new Section(run);
        this.#sections.set(run, section);
        this.#root.append(section.element);
      }
      this.#sections.get(run).draw();
    }
    conversation.changed.clear();
  }

  clear() {
    this.#sections.clear();
    this.#root.replaceChildren();
  }
}

/** A message that the log does not show yet. */
export function pendingMessage(payload, words) {
  const section = element("section", "run");
  section.dataset.status = "pending";
  section.append(element("p", "said", payload.message), element("p", "ending", words));
  return section;
}

/** One run: the message, a card for each step, and how it ended. */
class Section {
  #cards = new Map();

  constructor(run) {
    this.run = run;
    this.element = element("section", "run");
    this.element.dataset.run = run.id;
    this.said = element("p", "said");
    this.list = element("ol", "items");
    this.ending = element("p", "ending");
    this.element.append(this.said, this.list, this.ending);
  }

  draw() {
    const { run } = this;
    this.element.dataset.status = run.status;
    this.element.setAttribute("aria-label", `Message to ${run.agent}`);
    setText(this.said, run.message);
    for (const item of run.changed) {
      this.#drawItem(item);
    }
    run.changed.clear();
    setText(this.ending, run.status === "running" ? progress(run) : summary(run));
  }

  #drawItem(item) {
    let card = this.#cards.get(item);
    if (item.removed) {
      card?.element.remove();
      this.#cards.delete(item);
      return;
    }
    if (!card) {
      card = new Card(item);
      this.#cards.set(item, card);
      this.list.insertBefore(card.element, this.#following(item));
    }
    card.draw();
  }

  /** The card before which this item's belongs; null at the end. */
  #following(item) {
    const later = this.run.items.slice(this.run.items.indexOf(item) + 1);
    const next = later.find((each) => this.#cards.has(each));
    return next ? this.#cards.get(next).element : null;
  }
}

/** One step, or a quiet line between the steps. */
class Card {
  constructor(item) {
    this.item = item;
    this.element = element("li", "item");
    if (item.kind === "step") {
      this.element.dataset.step = item.step;
    }
    this.label = element("p", "label");
    this.text = new GrowingText(element("div", "text"));
    this.element.append(this.label, this.text.element);
  }

  draw() {
    const { item } = this;
    const { dataset } = this.element;
    dataset.type = item.type;
    dataset.status = item.status;
    this.element.setAttribute("aria-busy", item.status === "streaming");
    setText(this.label, label(item));
    if (item.type === "tool_use" && item.status === "finished") {
      this.text.replace(readableArguments(item));
    } else {
      this.text.grow(item.text, item.unchanged);
      item.unchanged = item.text.length;
    }
  }
}

/** A text that mostly grows at its end: what is there already is not touched. */
class GrowingText {
  #nodes = [];
  #length = 0;

  constructor(root) {
    this.element = root;
  }

  /** Show `text`, of which the first `unchanged` characters are shown already. */
  grow(text, unchanged) {
    while (this.#length > unchanged) {
      this.#shorten(this.#length - unchanged);
    }
    const added = text.slice(this.#length);
    if (!added) {
      return;
    }
    const last = this.#nodes.at(-1);
    if (last && last.length + added.length < LONGEST_NODE) {
      last.appendData(added);
    } else {
      const node = document.createTextNode(added);
      this.#nodes.push(node);
      this.element.append(node);
    }
    this.#length = text.length;
  }

  replace(text) {
    this.grow(text, 0);
  }

  #shorten(surplus) {
    const last = this.#nodes.at(-1);
    const cut = Math.min(surplus, last.length);
    this.#length -= cut;
    if (cut === last.length) {
      last.remove();
      this.#nodes.pop();
    } else {
      last.deleteData(last.length - cut, cut);
    }
  }
}

function label(item) {
  const streaming = item.status === "streaming";
  switch (item.type) {
    case "retry":
      return item.delayMs ? `Begins again after ${seconds(item.delayMs)}` : "Begins again";
    case "tool_use":
      return streaming ? "Writes a tool call" : `Calls ${item.toolName}`;
    case "tool_result":
      return [item.toolName, item.status === "failed" ? "failed" : "answered", seconds(item.durationMs)].join(" · ");
    default:
      return LABELS[item.type] ?? item.type;
  }
}

/** The arguments as JSON on several lines; what the model wrote where that was no object. */
function readableArguments(item) {
  const known = Object.keys(item.arguments ?? {}).length > 0;
  return known ? JSON.stringify(item.arguments, null, 2) : item.text === "{}" ? "" : item.text;
}

function progress(run) {
  const open = run.open.at(-1);
  if (run.retrying) {
    return "trying again…";
  }
  if (open) {
    return { thought: "thinking…", tool_use: "writing a tool call…" }[open.type] ?? "answering…";
  }
  return run.calling.length ? `calling ${run.calling.join(", ")}…` : "thinking…";
}

function summary(run) {
  const { input_tokens: taken = 0, output_tokens: given = 0, tool_calls: calls = 0 } = run.usage;
  const end = run.stopped ? run.stopped.replace(/\.$/, "") : ENDS[run.status] ?? run.status;
  const words = [end, run.agent, seconds(run.durationMs)];
  if (taken || given) {
    words.push(`${number(taken)} tokens in, ${number(given)} out`);
  }
  if (calls) {
    words.push(calls === 1 ? "1 tool call" : `${calls} tool calls`);
  }
  return words.join(" · ");
}

function seconds(milliseconds) {
  return milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

function number(value) {
  return value.toLocaleString("en");
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}
