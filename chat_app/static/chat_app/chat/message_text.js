// What a person wrote: plain text, with code between fences in boxes. None of it is markup.

import { element } from "../shared/dom.js";
import { codeBox } from "../markdown/code_box.js";

const FENCED = /^(`{3,}|~{3,})[ \t]*([^\s`]{0,30})[^\n`]*\n([\s\S]*?)(?:^\1[ \t]*$\n?|(?![\s\S]))/gm;
const LONGEST = 20_000; // characters in which code is looked for

/** Show a message, once. */
export function showMessage(root, message) {
  if (root.dataset.length === String(message.length)) {
    return;
  }
  root.dataset.length = message.length;
  root.replaceChildren(...(message.length > LONGEST ? [message] : partsOf(message)));
}

function partsOf(message) {
  const parts = [];
  let at = 0;
  for (const { 0: whole, 2: language, 3: body, index } of message.matchAll(FENCED)) {
    parts.push(message.slice(at, index).replace(/\n$/, ""));
    const { box, code } = codeBox(language);
    code.textContent = body;
    parts.push(element("div", "markdown", box));
    at = index + whole.length;
  }
  return [...parts, message.slice(at)].filter(Boolean);
}
