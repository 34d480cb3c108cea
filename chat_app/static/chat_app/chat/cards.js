// One card for each item of a run: a step, a question to a person, or a quiet line between the steps.

import { adviceFor } from "./advice.js";
import { copyButton } from "./copying.js";
import { button, element, linkElsewhere, setText } from "../shared/dom.js";
import { laidOut } from "./json.js";
import { GrowingText } from "../markdown/growing_text.js";
import { MarkdownText, showHTML } from "../markdown/markdown_text.js";
import { duration, gettext, ngettext, number } from "../shared/words.js";

const SHOWN_AT_ONCE = 4000; // characters of a tool's arguments or result
const GLIMPSE = 160;
const FOLDING = new Set(["thought", "tool_use", "tool_result"]);
const MARKDOWN = new Set(["thought", "final_answer", "response"]);

export function cardFor(item, run) {
  return item.kind === "approval" ? new ApprovalCard(item) : new StepCard(item, run);
}

class StepCard {
  #more = null;
  #chosen = false; // whether a person has opened or closed it
  #isRendered = false;
  #drawnText = null;
  #advised = null;
  tokens = 0;

  constructor(item, run) {
    this.item = item;
    this.run = run;
    this.element = element("li", "item");
    if (item.kind === "step") {
      this.element.dataset.step = item.step;
    }
    this.title = element("span", "title");
    this.facts = element("span", "facts");
    this.glimpse = element("span", "glimpse");
    this.text = new GrowingText(element("div", "text"));
    this.text.element.dir = "auto";
    this.#build();
  }

  /** A native disclosure widget where it folds; a type is provisional while it streams, so it may change. */
  #build() {
    this.folds = FOLDING.has(this.item.type);
    const head = element(this.folds ? "summary" : "p", "label", this.title, this.facts, this.glimpse);
    if (this.folds) {
      this.body = element("details", "", head, this.text.element);
      this.body.open = true;
      head.addEventListener("click", () => (this.#chosen = true));
      this.element.replaceChildren(this.body);
    } else {
      this.body = null;
      this.element.replaceChildren(head, this.text.element);
      if (this.item.type === "final_answer" || this.item.type === "response") {
        head.append(copyButton(() => this.item.text));
      }
    }
  }

  /** Have the text formatted as it comes, which is of use where somebody watches; what is there already, the server renders. */
  #chooseText() {
    const isMarkdown = MARKDOWN.has(this.item.type) && this.item.status === "streaming";
    if (isMarkdown && this.text instanceof GrowingText) {
      this.#useMarkdown();
    } else if (!MARKDOWN.has(this.item.type) && this.text instanceof MarkdownText) {
      this.text.clear();
      this.text.element.classList.remove("markdown");
      this.text = new GrowingText(this.text.element);
      this.item.unchanged = 0;
    }
  }

  #useMarkdown() {
    this.text.replace("");
    this.text = new MarkdownText(this.text.element, () => this.#markRendered());
    this.item.unchanged = 0;
  }

  draw() {
    const { item } = this;
    if (this.folds !== FOLDING.has(item.type)) {
      this.#build();
    }
    const { dataset } = this.element;
    dataset.type = item.type;
    dataset.status = item.status;
    this.element.setAttribute("aria-busy", item.status === "streaming");
    setText(this.title, title(item));
    setText(this.facts, this.#facts());
    this.#drawText();
    this.#fold();
    this.#advise();
    this.#drawMore();
  }

  /** Whether the server has something to say of it: its Markdown as HTML, or its tokens. */
  get wantsRendering() {
    const { item } = this;
    const isSaid = item.kind === "step" || item.kind === "response";
    return !this.#isRendered && isSaid && item.status !== "streaming" && item.type !== "error" && (!this.isCutOff || MARKDOWN.has(this.item.type));
  }

  /** Whether the log has only a part of the text, which the server does not keep as a step. */
  get isCutOff() {
    return this.item.status === "stopped";
  }

  /** Have the server render the text block by block: it does not have the step, or it is too long for one piece. */
  renderBlocks() {
    if (!(this.text instanceof MarkdownText)) {
      this.#useMarkdown();
    }
    this.text.finish(this.item.text);
    this.text.renderRest();
    this.#markRendered();
  }

  #markRendered() {
    if (this.text instanceof MarkdownText && this.text.isRendered) {
      this.#isRendered = true;
      this.element.dataset.rendering = "done";
    }
  }

  /** What the server has made of it. The HTML is clean: the server's sanitiser is the only one who writes it. */
  render({ html, tokens }) {
    this.#isRendered = true;
    this.element.dataset.rendering = "done";
    this.tokens = tokens;
    setText(this.facts, this.#facts());
    if (!MARKDOWN.has(this.item.type)) {
      return;
    }
    if (html === null) {
      this.renderBlocks();
    } else {
      showHTML(this.text.element, html);
    }
  }

  #drawText() {
    const { item } = this;
    if (this.#isRendered) {
      return;
    }
    const isDone = item.status !== "streaming";
    if (isDone && (item.type === "tool_use" || item.type === "tool_result")) {
      this.#drawLaidOut(item.type === "tool_use" ? readableArguments(item) : laidOut(item.text) ?? item.text);
    } else {
      this.#chooseText();
      this.text.grow(item.text, item.unchanged);
      item.unchanged = item.text.length;
      if (isDone && this.text instanceof MarkdownText) {
        this.text.finish(item.text);
      }
    }
  }

  #drawLaidOut(text) {
    if (this.#drawnText === text) {
      return;
    }
    this.#drawnText = text;
    this.text.replace(text.slice(0, SHOWN_AT_ONCE));
    if (text.length > SHOWN_AT_ONCE) {
      const words = gettext("Show all {count} characters", { count: number(text.length) });
      const all = button(words, "link show-all", () => {
        all.remove();
        this.text.replace(text);
        this.text.element.focus();
      });
      this.text.element.tabIndex = -1;
      this.text.element.after(all);
    }
  }

  #fold() {
    const { item } = this;
    if (!this.folds || item.status === "streaming") {
      return;
    }
    setText(this.glimpse, this.text.element.textContent.slice(0, 2 * GLIMPSE).replace(/\s+/g, " ").trim().slice(0, GLIMPSE));
    if (!this.#chosen) {
      this.body.open = false;
    }
  }

  #facts() {
    const { item } = this;
    if (item.kind !== "step" || item.status === "streaming") {
      return "";
    }
    const facts = [];
    if (item.iteration > 1) {
      facts.push(gettext("turn {number}", { number: number(item.iteration) }));
    }
    if (item.durationMs > 0) {
      facts.push(duration(item.durationMs));
    }
    if (this.tokens) {
      facts.push(ngettext("{count} token", "{count} tokens", this.tokens));
    }
    return facts.map((fact) => ` · ${fact}`).join("");
  }

  /** What may be done about a failure or a warning. */
  #advise() {
    const line = this.#advised === this.item.code ? null : adviceFor(this.item.code);
    if (line) {
      this.#advised = this.item.code;
      this.element.append(line);
    }
  }

  #drawMore() {
    const { item } = this;
    if (this.#more || !(item.attachments?.length || item.childSession)) {
      return;
    }
    this.#more = element("div", "more", ...item.attachments.map((each) => this.#attachment(each)));
    if (item.childSession) {
      const address = `?session=${encodeURIComponent(item.childSession)}`;
      this.#more.append(linkElsewhere(gettext("Follow that agent's session"), address));
    }
    this.element.append(this.#more);
  }

  #attachment({ id, media_type: mediaType, name, size }) {
    const address = `/v1/runs/${encodeURIComponent(this.run.id)}/artifacts/${encodeURIComponent(id)}`;
    const words = gettext("{name}, {size} bytes", { name: name || mediaType, size: number(size) });
    if (!/^image\/(png|jpeg|gif|webp)$/.test(mediaType)) {
      return linkElsewhere(words, address);
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
  wantsRendering = false;

  constructor(item) {
    this.item = item;
    this.element = element("li", "item");
    this.element.dataset.type = "approval";
    this.label = element("p", "label");
    this.arguments = element("div", "text", JSON.stringify(item.arguments, null, 2));
    this.reason = element("p", "reason");
    this.reason.dir = "auto";
    this.form = this.#buildForm();
    this.element.append(this.label, this.arguments, this.reason, this.form);
  }

  #buildForm() {
    const form = element("form", "answers");
    const why = element("input", "why");
    why.placeholder = gettext("Reason, for the agent to read");
    why.setAttribute("aria-label", gettext("Reason"));
    why.maxLength = 2000;
    const answer = (approved, forRun) => () => {
      form.inert = true;
      const detail = { tool_call_id: this.item.callId, approved, for_run: forRun, reason: why.value };
      form.dispatchEvent(new CustomEvent("approval", { bubbles: true, detail }));
    };
    form.append(
      button(gettext("Approve"), "approve", answer(true, false)),
      button(gettext("Approve for this run"), "approve-for-run", answer(true, true)),
      button(gettext("Deny"), "deny", answer(false, false)),
      why,
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    return form;
  }

  draw() {
    const { item } = this;
    const isAsking = item.status === "pending";
    this.element.dataset.status = item.status;
    this.form.hidden = !isAsking;
    this.form.inert = false;
    this.arguments.hidden = !isAsking; // once answered, the call's own card has them
    setText(this.label, approvalLabel(item));
    setText(this.reason, item.text);
    this.reason.hidden = !item.text;
  }
}

export function approvalLabel({ status, toolName: tool, by }) {
  switch (status) {
    case "pending":
      return gettext("May {tool} be called?", { tool });
    case "approved":
      return gettext("{tool} · approved by {by}", { tool, by });
    case "denied":
      return by ? gettext("{tool} · denied by {by}", { tool, by }) : gettext("{tool} · nobody answered", { tool });
    default:
      return gettext("{tool} · not answered", { tool });
  }
}

export function title(item) {
  const { toolName: tool } = item;
  const isStreaming = item.status === "streaming";
  switch (item.type) {
    case "retry":
      return item.delayMs
        ? gettext("Begins again after {time}", { time: duration(item.delayMs) })
        : gettext("Begins again");
    case "thought":
      return gettext("Thought");
    case "tool_use":
      return isStreaming ? gettext("Writes a tool call") : gettext("Calls {tool}", { tool });
    case "tool_result":
      if (isStreaming) {
        return gettext("The tool is at work");
      }
      return item.status === "failed" ? gettext("{tool} failed", { tool }) : gettext("{tool} answered", { tool });
    case "error":
      return gettext("Error");
    case "warning":
      return gettext("Warning");
    default:
      return gettext("Answer");
  }
}

/** The arguments as JSON on several lines; what the model wrote where that was no object. */
function readableArguments(item) {
  if (Object.keys(item.arguments ?? {}).length > 0) {
    return laidOut(item.text) ?? JSON.stringify(item.arguments, null, 2);
  }
  return item.text === "{}" ? "" : item.text;
}
