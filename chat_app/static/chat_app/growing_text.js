// A text that mostly grows at its end: what is there already is not touched.

const LONGEST_NODE = 2000;

export class GrowingText {
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
