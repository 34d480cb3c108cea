// A text that mostly grows at its end: what is there already is not touched. It is in blocks, which end where a line
// does: a browser lays out a block anew when it changes, however long it is.

import { element } from "../shared/dom.js";

const BLOCK = 600; // characters after which the next end of a line is the block's

export class GrowingText {
  #nodes = []; // the text of each block
  #length = 0;

  constructor(root) {
    this.element = root;
  }

  /** Show `text`, of which the first `unchanged` characters are shown already. */
  grow(text, unchanged) {
    while (this.#length > unchanged) {
      this.#shorten(this.#length - unchanged);
    }
    for (let at = this.#length; at < text.length; at = this.#length) {
      this.#append(text, at);
    }
  }

  /** Show `text`, which begins as what is shown, except for its end. */
  growTo(text) {
    const shown = this.#nodes.at(-1)?.data ?? "";
    const start = this.#length - shown.length;
    const isSame = text.startsWith(shown, start);
    this.grow(text, isSame ? this.#length : start);
  }

  replace(text) {
    this.grow(text, 0);
  }

  /** What is left of the text, as far as the last block goes. */
  #append(text, at) {
    let last = this.#nodes.at(-1);
    if (!last || (last.length >= BLOCK && last.data.endsWith("\n"))) {
      last = document.createTextNode("");
      this.#nodes.push(last);
      this.element.append(element("span", "block", last));
    }
    const lineEnd = text.indexOf("\n", Math.max(at, at + BLOCK - last.length - 1));
    const end = lineEnd === -1 ? text.length : lineEnd + 1;
    last.appendData(text.slice(at, end));
    this.#length = end;
  }

  #shorten(surplus) {
    const last = this.#nodes.at(-1);
    const cut = Math.min(surplus, last.length);
    this.#length -= cut;
    if (cut === last.length) {
      last.parentElement.remove();
      this.#nodes.pop();
    } else {
      last.deleteData(last.length - cut, cut);
    }
  }
}
