// Splits a growing Markdown text into blocks that no later line changes, and the one that is still open. Each line is
// looked at once. A block ends at an empty line, or where a heading, a fence or a list interrupts it.

const FENCE = /^( *)(`{3,}|~{3,})(.*)$/;
const HEADING = /^ {0,3}#{1,6}(?:[ \t]|$)/;
const LIST_ITEM = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:[ \t]|$)/;
const INTERRUPTING_ITEM = /^ {0,3}(?:[-*+]|1[.)])[ \t]+\S/; // of a paragraph
const FOOTNOTE = /^ {0,3}\[\^[^\]\s]+\]:/;
const FORMULA = /^ {0,3}(?:\$\$|\\\[)/;
const FORMULA_IN_BRACKETS = /^ {0,3}\\\[/; // interrupts a paragraph, too
const FORMULA_END = /(?:.\$\$|\\\])\s*$|^\s*\$\$\s*$/;
const TITLE = /^ {0,3}(#{1,6})[ \t]|^[^\n]+\n {0,3}(=+|-+)[ \t]*$/m;

export class BlockSplitter {
  start = 0; // of the open block
  next = 0; // the first line that was not looked at
  #kind = ""; // of the open block: "", "list", "footnote", "formula", "text"
  #fence = "";
  #isAfterBlank = false;

  /** Look at the lines that are whole by now. Returns the blocks that ended, as [start, end]. */
  take(text) {
    const closed = [];
    for (let end = text.indexOf("\n", this.next); end !== -1; end = text.indexOf("\n", this.next)) {
      const at = this.next;
      this.next = end + 1;
      this.#look(text.slice(at, end), at, end + 1, closed);
    }
    return closed;
  }

  /** The text is whole. Returns the last blocks. */
  finish(text) {
    const closed = this.take(text);
    if (this.next < text.length) {
      this.#look(text.slice(this.next), this.next, text.length, closed);
      this.next = text.length;
    }
    this.#close(text.length, closed);
    return closed;
  }

  #look(line, at, end, closed) {
    const isBlank = !line.trim();
    if (this.#fence) {
      const [, indent, marks, rest] = FENCE.exec(line) ?? [];
      if (marks?.startsWith(this.#fence) && indent.length < 4 + 8 * (this.#kind === "list") && !rest.trim()) {
        this.#fence = "";
        if (this.#kind !== "list") {
          this.#close(end, closed);
        }
      }
      return;
    }
    if (isBlank) {
      this.#isAfterBlank = true;
      return;
    }
    if (this.#isAfterBlank ? !this.#goesOn(line) : this.#isInterrupted(line)) {
      this.#close(at, closed);
    }
    this.#isAfterBlank = false;
    this.#kind ||= kindOf(line);
    const [, indent, marks, rest] = FENCE.exec(line) ?? [];
    if (marks && !(marks[0] === "`" && rest.includes("`")) && (indent.length < 4 || this.#kind === "list")) {
      this.#fence = marks;
    } else if ((this.#kind === "text" && HEADING.test(line)) || this.#isFormulaEnd(line, at)) {
      this.#close(end, closed);
    }
  }

  #isFormulaEnd(line, at) {
    return this.#kind === "formula" && FORMULA_END.test(line) && (at > this.start || line.trim().length > 3);
  }

  /** Whether a line after an empty one belongs to the block before. */
  #goesOn(line) {
    if (this.#kind === "list") {
      return /^(?: {2}|\t)/.test(line) || LIST_ITEM.test(line);
    }
    return this.#kind === "footnote" && /^(?: {4}|\t)/.test(line);
  }

  #isInterrupted(line) {
    if (!this.#kind || this.#kind === "formula") {
      return false;
    }
    const opensFence = /^ {0,3}(?:`{3,}[^`]*|~{3,}.*)$/.test(line) && !(this.#kind === "list" && /^ {2}/.test(line));
    return opensFence || HEADING.test(line) || (this.#kind === "text" && (INTERRUPTING_ITEM.test(line) || FORMULA_IN_BRACKETS.test(line)));
  }

  #close(end, closed) {
    if (this.#kind) {
      closed.push([this.start, end]);
    }
    this.start = end;
    this.#kind = "";
    this.#fence = "";
    this.#isAfterBlank = false;
  }
}

function kindOf(line) {
  if (LIST_ITEM.test(line)) {
    return "list";
  }
  if (FOOTNOTE.test(line)) {
    return "footnote";
  }
  return FORMULA.test(line) ? "formula" : "text";
}

/** The level of a block's first heading; 0 if it has none. */
export function titleOf(block) {
  const [, marks, underline] = (/^ {0,3}(?:`{3}|~{3})/.test(block) ? null : TITLE.exec(block)) ?? [];
  return marks?.length ?? (underline ? (underline[0] === "=" ? 1 : 2) : 0);
}
