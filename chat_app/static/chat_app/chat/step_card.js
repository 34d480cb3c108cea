// The card of what a model wrote, and of the quiet lines between the steps.

import { adviceFor } from "./advice.js";
import { title } from "./card_titles.js";
import { copyButton } from "./copying.js";
import { element, setText } from "../shared/dom.js";
import { GrowingText } from "../markdown/growing_text.js";
import { MarkdownText, showHTML } from "../markdown/markdown_text.js";
import { resultFiles } from "./result_files.js";
import { duration, gettext, ngettext, number } from "../shared/words.js";

const GLIMPSE = 160;
const LONGEST_PREVIEW = 20_000; // characters
const FOLDING = new Set(["thought", "tool_result", "compaction"]);
const MARKDOWN = new Set(["thought", "final_answer", "response"]);

export class StepCard {
  isCall = false;
  #chosen = false; // whether a person has opened or closed it
  #isRendered = false;
  #advised = null;
  #files = null;
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
    this.#files ??= resultFiles(item);
    if (this.#files && !this.#files.parentNode) {
      this.element.append(this.#files);
    }
  }

  /** Whether the server has something to say of it: its Markdown as HTML, or its tokens. */
  get wantsRendering() {
    const { item } = this;
    const isSaid = item.kind === "step" || item.kind === "response";
    return !this.#isRendered && isSaid && item.status !== "streaming" && MARKDOWN.has(item.type);
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

  /** Format the text until the server answers: nobody need see the signs of Markdown. */
  preview() {
    const { item } = this;
    if (this.text instanceof GrowingText && item.text.length < LONGEST_PREVIEW) {
      this.#useMarkdown();
      this.text.preview(item.text);
      item.unchanged = item.text.length;
    }
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
    this.#chooseText();
    this.text.grow(item.text, item.unchanged);
    item.unchanged = item.text.length;
    if (item.status !== "streaming" && this.text instanceof MarkdownText) {
      this.text.finish(item.text);
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
      facts.push(gettext("step {number}", { number: number(item.iteration) }));
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
}
