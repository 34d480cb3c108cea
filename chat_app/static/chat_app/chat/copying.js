// A button that copies a text.

import { copy } from "../shared/clipboard.js";
import { button } from "../shared/dom.js";
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
