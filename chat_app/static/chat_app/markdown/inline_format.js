// Emphasis, code and links of a line that is still being written: what is open is closed for display. Each character
// is looked at a bounded number of times, and what comes of it are text nodes and a few elements.

import { element } from "../shared/dom.js";

const SPECIAL = /\\[^\s\w]|`+|\*+|_+|~~|!?\[|\n/g;
const LINK = /!?\[([^\]\n]{0,300})\](?:\(([^)\n]{0,1000})(\)|$))?/y;
const ELEMENTS = { "*": "em", _: "em", "**": "strong", __: "strong", "~~": "s" };
const DEEPEST = 8;

/** Append `text` to `parent`. Returns the innermost element at its end, which is where a caret belongs. */
export function formatInline(text, parent) {
  return new Line(text, parent).format();
}

class Line {
  #at = 0;
  #open = []; // marks whose end did not come yet, with their elements

  constructor(text, parent) {
    this.text = text;
    this.parent = parent;
  }

  format() {
    SPECIAL.lastIndex = 0;
    for (let match = SPECIAL.exec(this.text); match; match = SPECIAL.exec(this.text)) {
      const [sign] = match;
      const end = this.#take(sign, match.index);
      if (end > match.index) {
        this.#at = end;
        SPECIAL.lastIndex = end;
      }
    }
    this.#write(this.text.length);
    return this.#inner;
  }

  get #inner() {
    return this.#open.at(-1)?.element ?? this.parent;
  }

  #write(end) {
    if (end > this.#at) {
      this.#inner.append(this.text.slice(this.#at, end));
    }
    this.#at = end;
  }

  /** Show what begins with that sign. Returns where it ends; `at` if it is only text. */
  #take(sign, at) {
    switch (sign[0]) {
      case "\\":
        return this.#takeEscape(sign, at);
      case "`":
        return this.#takeCode(sign, at);
      case "\n":
        this.#write(at);
        this.#inner.append(element("br"));
        return at + 1;
      case "[":
      case "!":
        return this.#takeLink(at);
      default:
        return this.#takeMarks(sign, at);
    }
  }

  #takeEscape(sign, at) {
    this.#write(at);
    const closing = { "\\(": "\\)", "\\[": "\\]" }[sign];
    if (!closing) {
      this.#inner.append(sign[1]);
      return at + 2;
    }
    const position = this.text.indexOf(closing, at + 2);
    const end = position === -1 ? this.text.length : position + 2;
    this.#inner.append(element("code", "", this.text.slice(at, end)));
    return end;
  }

  #takeCode(ticks, at) {
    this.#write(at);
    const from = at + ticks.length;
    let end = from;
    for (; end < this.text.length; end += 1) {
      if (this.text[end] === "`") {
        let length = 1;
        while (this.text[end + length] === "`") {
          length += 1;
        }
        if (length === ticks.length) {
          break;
        }
        end += length - 1;
      }
    }
    if (end > from) {
      this.#inner.append(element("code", "", this.text.slice(from, end)));
    }
    return Math.min(this.text.length, end + ticks.length);
  }

  #takeLink(at) {
    LINK.lastIndex = at;
    const [whole, words, address] = LINK.exec(this.text) ?? [];
    if (address === undefined) {
      return at;
    }
    this.#write(at);
    this.#inner.append(element("span", "link-to-be", words || address));
    return at + whole.length;
  }

  #takeMarks(run, at) {
    const [before, after] = [this.text[at - 1] ?? " ", this.text[at + run.length] ?? ""];
    const isInWord = run[0] === "_" && /\w/.test(before) && /\w/.test(after);
    if (isInWord || (/\s/.test(before) && /\s/.test(after)) || run.length > 3) {
      return at;
    }
    this.#write(at);
    for (const mark of marksOf(run)) {
      this.#toggle(mark, after);
    }
    return at + run.length;
  }

  #toggle(mark, after) {
    const open = this.#open.findLastIndex((each) => each.mark === mark);
    if (open !== -1) {
      this.#open.length = open;
    } else if (after && !/\s/.test(after) && this.#open.length < DEEPEST) {
      const made = element(ELEMENTS[mark]);
      this.#inner.append(made);
      this.#open.push({ mark, element: made });
    } else if (after) {
      this.#inner.append(mark);
    }
  }
}

function marksOf(run) {
  return run.length === 3 && run !== "~~~" ? [run.slice(0, 2), run[0]] : [run];
}
