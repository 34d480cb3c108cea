// The block at the end of a growing text, shown formatted while it is written.

import { element } from "../shared/dom.js";
import { formatBlock } from "./block_format.js";
import { codeBox } from "./code_box.js";
import { GrowingText } from "./growing_text.js";

const FENCE = /^( {0,3})(`{3,}|~{3,})[ \t]*([^\s`]{0,30})[^\n`]*(\n|$)/;
const LONGEST = 20_000; // characters that are formatted anew; a longer block grows as plain text

export class OpenBlock {
  nodes = [];
  #growing = null; // code, or what is too long to be formatted
  #fence = null;

  constructor(root) {
    this.root = root;
  }

  /** Show the block as it is now. `isOpen`: more of it will come. */
  show(text, firstTitle, isOpen) {
    const fence = FENCE.exec(text);
    if (fence && (fence[4] || !isOpen)) {
      this.#showCode(text, fence);
    } else if (text.length > LONGEST) {
      this.#grow(() => element("p", "plain"), text);
    } else {
      this.#growing = null;
      this.replace(fence ? [] : formatBlock(text, firstTitle, isOpen));
    }
  }

  #showCode(text, [opening, , marks, language]) {
    if (this.#fence !== opening) {
      this.#fence = opening;
      this.#growing = null;
    }
    this.#grow(() => {
      const { box, code } = codeBox(language);
      return [box, code];
    }, withoutEnd(text.slice(opening.length), marks[0]));
  }

  #grow(make, text) {
    if (!this.#growing) {
      const [outer, inner] = [make()].flat();
      this.#growing = new GrowingText(inner ?? outer);
      this.replace([outer]);
    }
    this.#growing.growTo(text);
  }

  /** Put elements in the place of those that are there. Each has a line end, which is not seen, but copied. */
  replace(elements) {
    const next = this.nodes.at(-1)?.nextSibling ?? null;
    this.nodes.forEach((node) => node.remove());
    this.nodes = elements.flatMap((each) => [each, document.createTextNode("\n")]);
    this.nodes.forEach((node) => this.root.insertBefore(node, next));
  }
}

/** Code without the fence that ends it, or the first signs of that. */
function withoutEnd(code, mark) {
  const trimmed = code.trimEnd();
  const lastLine = trimmed.lastIndexOf("\n") + 1;
  const isEnd = [...trimmed.slice(lastLine).trim()].every((sign) => sign === mark);
  return isEnd && trimmed.length > lastLine ? trimmed.slice(0, lastLine) : code;
}
