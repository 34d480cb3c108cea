// The block that is being written, as elements: only for the eye, until the server has rendered it. No text becomes
// markup.

import { element } from "../shared/dom.js";
import { formatInline } from "./inline_format.js";

const DEEPEST = 5;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:[ \t]+(.*))?$/;
const TABLE_LINE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const PARTIAL = /^\s*(?:[-*+=#>|:~`_ ]+|\d{1,9}[.)]?)$/; // signs whose meaning only what follows shows
const TASK = /^\[([ xX])\](?:\s+|$)/;
const FORMULA = /^ {0,3}(?:\$\$|\\\[)/;

/** The elements of a block. `isOpen`: its end is still being written. */
export function formatBlock(text, firstTitle, isOpen) {
  const lines = text.replace(/\s+$/, "").split("\n");
  if (isOpen && PARTIAL.test(lines.at(-1)) && !(lines.length > 1 && lines[0].includes("|"))) {
    lines.pop();
  }
  return blocksOf(lines, { firstTitle, depth: 0 });
}

function blocksOf(lines, context) {
  const made = [];
  let at = 0;
  while (at < lines.length) {
    if (lines[at].trim()) {
      const [node, next] = blockAt(lines, at, context);
      made.push(node);
      at = next;
    } else {
      at += 1;
    }
  }
  return made;
}

/** The block at a line, and the line after it. */
function blockAt(lines, at, context) {
  const line = lines[at];
  const isShallow = context.depth < DEEPEST;
  const heading = HEADING.exec(line);
  if (heading) {
    return [title(heading[1].length, heading[2], context), at + 1];
  }
  if (RULE.test(line)) {
    return [element("hr"), at + 1];
  }
  if (isShallow && QUOTE.test(line)) {
    return quoteAt(lines, at, context);
  }
  if (isShallow && ITEM.test(line)) {
    return listAt(lines, at, context);
  }
  if (isTable(lines, at)) {
    return tableAt(lines, at);
  }
  if (FORMULA.test(line)) {
    return [element("div", "formula", element("code", "", lines.slice(at).join("\n"))), lines.length];
  }
  return paragraphAt(lines, at, context);
}

function title(level, words, { firstTitle }) {
  const made = element(`h${Math.max(3, Math.min(6, level - (firstTitle || level) + 3))}`);
  formatInline(words, made);
  return made;
}

function quoteAt(lines, at, context) {
  const end = endOf(lines, at, (line) => QUOTE.test(line));
  const inner = lines.slice(at, end).map((line) => QUOTE.exec(line)[1]);
  return [element("blockquote", "", ...blocksOf(inner, deeper(context))), end];
}

function listAt(lines, at, context) {
  const first = ITEM.exec(lines[at]);
  const [, indent, marker] = first;
  const items = [];
  let next = at;
  for (let item = first; next < lines.length && isItemOf(item, first); item = ITEM.exec(lines[next] ?? "")) {
    const from = next;
    next = endOf(lines, from + 1, (line) => !line.trim() || line.startsWith(`${indent}  `) || isLazy(line, indent));
    items.push({ words: item[3] ?? "", rest: lines.slice(from + 1, next) });
  }
  const isLoose = items.some(({ rest }, number) => hasGap(rest, number < items.length - 1));
  const list = element(/\d/.test(marker) ? "ol" : "ul", "", ...items.map((item) => itemOf(item, isLoose, context)));
  if (list.localName === "ol" && Number.parseInt(marker, 10) !== 1) {
    list.start = Number.parseInt(marker, 10);
  }
  return [list, next];
}

function isItemOf(item, first) {
  return item !== null && item[1].length <= first[1].length + 1 && item[2].at(-1) === first[2].at(-1);
}

function isLazy(line, indent) {
  return !ITEM.test(line) && !QUOTE.test(line) && !HEADING.test(line) && line.startsWith(indent);
}

/** Whether an item has an empty line within, or before the next one: then its paragraphs stand apart. */
function hasGap(lines, isBeforeAnother) {
  const last = lines.findLastIndex((line) => line.trim());
  return lines.slice(0, isBeforeAnother ? undefined : last + 1).some((line) => !line.trim());
}

function itemOf({ words, rest }, isLoose, context) {
  const task = TASK.exec(words);
  const inner = [task ? words.slice(task[0].length) : words, ...rest.map((line) => line.replace(/^(?: {1,4}|\t)/, ""))];
  const made = element("li", task ? "task-item" : "");
  for (const block of blocksOf(inner, deeper(context))) {
    made.append(...(block.localName === "p" && !isLoose ? block.childNodes : [block]));
  }
  if (task) {
    const isDone = task[1] !== " ";
    (isLoose ? made.querySelector("p") ?? made : made).prepend(element("span", isDone ? "task done" : "task", `[${isDone ? "x" : " "}] `));
  }
  return made;
}

function isTable(lines, at) {
  if (!lines[at].includes("|")) {
    return false;
  }
  const next = lines[at + 1];
  return next === undefined ? /^ {0,3}\|/.test(lines[at]) : TABLE_LINE.test(next) && /[-|]/.test(next);
}

function tableAt(lines, at) {
  const end = endOf(lines, at + 2, (line) => line.trim());
  const alignment = cells(lines[at + 1] ?? "").map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : ""));
  const row = (line, name) => element("tr", "", ...cells(line).map((cell, column) => cellOf(name, cell, alignment[column])));
  const table = element("table", "", element("thead", "", row(lines[at], "th")));
  table.append(element("tbody", "", ...lines.slice(at + 2, end).map((line) => row(line, "td"))));
  return [element("div", "table", table), Math.max(end, at + 1)];
}

function cellOf(name, words, alignment = "") {
  const made = element(name, alignment);
  formatInline(words, made);
  return made;
}

function cells(line) {
  return line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "").split(/(?<!\\)\|/).map((cell) => cell.trim()); // prettier-ignore
}

function paragraphAt(lines, at, context) {
  const end = endOf(lines, at + 1, (line, number) => line.trim() && !startsBlock(lines, number, context));
  const words = lines.slice(at, end).map((line) => line.trim());
  const [, underline] = /^(=+|-+)$/.exec(words.at(-1)) ?? [];
  if (underline && words.length > 1) {
    return [title(underline[0] === "=" ? 1 : 2, words.slice(0, -1).join("\n"), context), end];
  }
  const made = element("p");
  formatInline(words.join("\n"), made);
  return [made, end];
}

function startsBlock(lines, at, { depth }) {
  const line = lines[at];
  return HEADING.test(line) || (depth < DEEPEST && (QUOTE.test(line) || ITEM.test(line)));
}

function endOf(lines, from, goesOn) {
  let at = from;
  while (at < lines.length && goesOn(lines[at], at)) {
    at += 1;
  }
  return at;
}

function deeper(context) {
  return { ...context, depth: context.depth + 1 };
}
