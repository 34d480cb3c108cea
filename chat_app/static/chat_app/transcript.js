// Draws the runs of a conversation. What changed is drawn, and nothing else; all text is text, never markup.

const LONGEST_NODE = 2000;
const LABELS = { thought: "Thought", tool_result: "Tool result", final_answer: "Answer", response: "Answer", error: "Error", warning: "Warning" };
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
      card = item.kind === "approval" ? new ApprovalCard(item) : new Card(item, this.run);
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
  #more = null;

  constructor(item, run) {
    this.item = item;
    this.run = run;
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
    if (!this.#more && (item.attachments?.length || item.childSession)) {
      this.#more = element("div", "more");
      this.#more.append(...item.attachments.map((each) => this.#attachment(each)));
      if (item.childSession) {
        this.#more.append(link("Follow that agent's session", `?session=${encodeURIComponent(item.childSession)}`));
      }
      this.element.append(this.#more);
    }
  }

  #attachment({ id, media_type: mediaType, name, size }) {
    const address = `/v1/runs/${encodeURIComponent(this.run.id)}/artifacts/${encodeURIComponent(id)}`;
    const words = `${name || mediaType}, ${number(size)} bytes`;
    if (!/^image\/(png|jpeg|gif|webp)$/.test(mediaType)) {
      return link(words, address);
    }
    const image = document.createElement("img");
    image.src = address;
    image.alt = words;
    image.loading = "lazy";
    return image;
  }
}

/** A question to a person: may this call be made? What is clicked is an `approval` event of the transcript. */
class ApprovalCard {
  constructor(item) {
    this.item = item;
    this.element = element("li", "item");
    this.element.dataset.type = "approval";
    this.label = element("p", "label");
    this.arguments = element("div", "text", JSON.stringify(item.arguments, null, 2));
    this.arguments.hidden = item.step !== Infinity; // the call's own card shows them, right above
    this.reason = element("p", "reason");
    this.form = this.#buildForm();
    this.element.append(this.label, this.arguments, this.reason, this.form);
  }

  #buildForm() {
    const form = element("form", "answers");
    const why = element("input", "why");
    why.placeholder = "Reason, for the agent to read";
    why.setAttribute("aria-label", "Reason");
    why.maxLength = 2000;
    const answer = (approved, forRun) => () => {
      form.inert = true;
      const detail = { tool_call_id: this.item.callId, approved, for_run: forRun, reason: why.value };
      form.dispatchEvent(new CustomEvent("approval", { bubbles: true, detail }));
    };
    form.append(
      button("Approve", "approve", answer(true, false)),
      button("Approve for this run", "approve-for-run", answer(true, true)),
      button("Deny", "deny", answer(false, false)),
      why,
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    return form;
  }

  draw() {
    const { item } = this;
    this.element.dataset.status = item.status;
    this.form.hidden = item.status !== "pending";
    this.form.inert = false;
    setText(this.label, approvalLabel(item));
    setText(this.reason, item.text);
    this.reason.hidden = !item.text;
  }
}

function approvalLabel({ status, toolName, by }) {
  switch (status) {
    case "pending":
      return `May ${toolName} be called?`;
    case "approved":
      return `${toolName} · approved by ${by}`;
    case "denied":
      return by ? `${toolName} · denied by ${by}` : `${toolName} · nobody answered`;
    default:
      return `${toolName} · not answered`;
  }
}

function button(words, name, act) {
  const made = element("button", name, words);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

function link(words, address) {
  const made = element("a", "", words);
  made.href = address;
  made.target = "_blank";
  made.rel = "noopener";
  return made;
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
      return streaming ? "The tool is at work" : toolLabel(item);
    default:
      return LABELS[item.type] ?? item.type;
  }
}

function toolLabel({ toolName, status, durationMs }) {
  return [toolName, status === "failed" ? "failed" : "answered", seconds(durationMs)].join(" · ");
}

/** The arguments as JSON on several lines; what the model wrote where that was no object. */
function readableArguments(item) {
  const known = Object.keys(item.arguments ?? {}).length > 0;
  return known ? JSON.stringify(item.arguments, null, 2) : item.text === "{}" ? "" : item.text;
}

function progress(run) {
  const open = run.open.at(-1);
  if (run.asking.length && !open) {
    return "waiting for your approval…";
  }
  if (run.retrying) {
    return "trying again…";
  }
  if (open) {
    return { thought: "thinking…", tool_use: "writing a tool call…", tool_result: "calling a tool…" }[open.type] ?? "answering…";
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
