// A box of code: its language, Copy and Wrap above it. The same elements as the server's, to which the buttons are added.

import { copy } from "../shared/clipboard.js";
import { button, element } from "../shared/dom.js";
import { gettext } from "../shared/words.js";

const COPIED = 1500;

/** An empty box, for code that is being written; `code` is where it goes. */
export function codeBox(language) {
  const code = element("code", language && `language-${language}`);
  const head = element("div", "code-head", element("span", "language", language));
  const box = element("div", "code", head, element("pre", "", code));
  addTools(box);
  return { box, code };
}

/** Give boxes of code, tables and footnotes in `root` what the server does not send. */
export function addTools(root) {
  const heads = root.matches?.(".code") ? [root.firstElementChild] : root.querySelectorAll(".code > .code-head");
  for (const head of heads) {
    head.append(
      button(gettext("Wrap"), "link code-wrap", () => {}),
      button(gettext("Copy"), "link code-copy", () => {}),
    );
    head.nextElementSibling.tabIndex = 0; // what scrolls is scrolled by keys, too
  }
  for (const table of root.querySelectorAll("div.table")) {
    table.tabIndex = 0;
  }
  for (const reference of root.querySelectorAll("sup.footnote")) {
    reference.replaceChildren(button(reference.textContent, "link footnote-link", () => {}));
  }
}

document.addEventListener("click", async ({ target }) => {
  const box = target.closest?.(".code");
  if (target.matches?.(".code-wrap")) {
    target.setAttribute("aria-pressed", box.classList.toggle("wrapped"));
  } else if (target.matches?.(".code-copy")) {
    await copy(box.querySelector("code").textContent);
    target.textContent = gettext("Copied");
    setTimeout(() => (target.textContent = gettext("Copy")), COPIED);
  } else if (target.matches?.(".footnote-link")) {
    const note = target.closest(".markdown").querySelectorAll(".footnotes > li")[Number(target.textContent) - 1];
    note?.setAttribute("tabindex", "-1");
    note?.focus();
  }
});
