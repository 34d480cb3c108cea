// A button that copies a text.

import { button, element } from "../shared/dom.js";
import { gettext } from "../shared/words.js";

const SAID = 1500;

/** `text()` is asked for when the button is pressed. */
export function copyButton(text) {
  const words = gettext("Copy");
  return button(words, "link copy", async ({ currentTarget: made }) => {
    await copy(text());
    made.textContent = gettext("Copied");
    setTimeout(() => (made.textContent = words), SAID);
  });
}

/** To the clipboard, also where the page is not served securely and the browser keeps its own way to itself. */
async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const field = element("textarea", "hidden", text);
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
