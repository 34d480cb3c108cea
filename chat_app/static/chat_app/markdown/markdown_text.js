// A Markdown text that grows: blocks that have ended are rendered by the server, once; the last one is formatted here.

import { addTools } from "./code_box.js";
import { requestBlock } from "./block_requests.js";
import { BlockSplitter, titleOf } from "./block_splitter.js";
import { OpenBlock } from "./open_block.js";

const INTERVAL = 100; // between two looks of the block that is being written
const SHARE = 10; // and at least so many times as long as the last one took

export class MarkdownText {
  #splitter = new BlockSplitter();
  #text = "";
  #firstTitle = 0;
  #open = null;
  #due = 0;
  #timer = 0;
  #unrendered = 0;
  #rest = []; // blocks that the server was not asked for
  #isDone = false;

  /** `changed()` is called after the server has rendered a block. */
  constructor(root, changed) {
    this.element = root;
    this.changed = changed;
    root.classList.add("markdown");
  }

  /** Show `text`, of which the first `unchanged` characters are shown already. */
  grow(text, unchanged) {
    if (unchanged < this.#splitter.next) {
      this.clear();
    }
    this.#text = text;
    for (const block of this.#splitter.take(text)) {
      this.#request(this.#format(block));
    }
    this.#drawOpen();
  }

  /** The text is whole. Its last blocks are only formatted: the server will be asked for all of it, or for these. */
  finish(text) {
    this.grow(text, text.length);
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.#isDone) {
      this.#isDone = true;
      for (const block of this.#splitter.finish(text)) {
        this.#rest.push(this.#format(block));
      }
    }
  }

  /** Format a text that is whole, until the server has rendered all of it. */
  preview(text) {
    this.#text = text;
    this.#isDone = true;
    this.#rest = this.#splitter.finish(text).map((block) => this.#format(block));
  }

  /** Have the server render the last blocks, too. */
  renderRest() {
    this.#rest.splice(0).forEach((block) => this.#request(block));
  }

  /** Whether the server has rendered all blocks. */
  get isRendered() {
    return this.#isDone && this.#unrendered + this.#rest.length === 0;
  }

  clear() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#splitter = new BlockSplitter();
    this.#firstTitle = 0;
    this.#open = null;
    this.#isDone = false;
    this.#rest = [];
    this.element.replaceChildren();
  }

  /** Show a block that has ended as it is now, until the server has rendered it. */
  #format([start, end]) {
    const text = this.#text.slice(start, end);
    const block = { text, firstTitle: this.#firstTitle, view: this.#open ?? new OpenBlock(this.element) };
    this.#open = null;
    this.#firstTitle ||= titleOf(text);
    block.view.show(text, block.firstTitle, false);
    return block;
  }

  #request({ text, firstTitle, view }) {
    this.#unrendered += 1;
    requestBlock(text, firstTitle, (html) => {
      this.#unrendered -= 1;
      if (html !== null && view.nodes[0]?.parentNode === this.element) {
        view.replace(elementsOf(html));
      }
      this.changed();
    });
  }

  /** The open block is drawn at most ten times a second, and less often if that takes long. */
  #drawOpen() {
    if (this.#timer || this.#splitter.start >= this.#text.length) {
      return;
    }
    const left = this.#due - performance.now();
    if (left > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = 0;
        this.#drawOpen();
      }, left);
      return;
    }
    const began = performance.now();
    this.#open ??= new OpenBlock(this.element);
    this.#open.show(this.#text.slice(this.#splitter.start), this.#firstTitle, true);
    const now = performance.now();
    this.#due = now + Math.max(INTERVAL, SHARE * (now - began));
  }
}

/** Show HTML of the server in `root`, whose elements stay where they are the same. The server has sanitized it. */
export function showHTML(root, html) {
  root.classList.add("markdown");
  const fresh = elementsOf(html);
  const old = [...root.children];
  let same = 0;
  while (same < Math.min(fresh.length, old.length) && fresh[same].isEqualNode(old[same])) {
    same += 1;
  }
  const kept = same ? [...root.childNodes].indexOf(old[same - 1]) + 1 : 0;
  [...root.childNodes].slice(kept).forEach((node) => node.remove());
  root.append("\n", ...fresh.slice(same).flatMap((each) => [each, "\n"]));
}

/** The only place where HTML becomes elements. */
function elementsOf(html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  addTools(made.content);
  return [...made.content.children];
}
