// The clipboard.

import { element } from "./dom.js";

/** Copy a text, also where the page is not served securely and the browser keeps its own way to itself. */
export async function copy(text) {
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
