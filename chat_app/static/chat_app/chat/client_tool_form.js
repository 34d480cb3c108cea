// The form of a call that the calling program executes: a person may give its result, or decline. It sends `answer`.

import { button, element } from "../shared/dom.js";
import { gettext } from "../shared/words.js";

const LONGEST = 262_144;

export function clientToolForm(item) {
  const form = element("form", "answers client-tool");
  const send = (outcome, more) => {
    form.inert = true;
    const detail = { action_id: item.actionId, outcome, ...more };
    form.dispatchEvent(new CustomEvent("answer", { bubbles: true, detail }));
  };
  const text = element("textarea", "own");
  text.setAttribute("aria-label", gettext("Result (text or JSON)"));
  text.placeholder = gettext("Result (text or JSON)");
  text.maxLength = LONGEST;
  text.rows = 2;
  text.dir = "auto";
  text.spellcheck = false;
  const failed = element("input", "failed");
  failed.type = "checkbox";
  const label = element("label", "failed", failed, ` ${gettext("The tool failed")}`);
  form.append(
    text,
    label,
    button(gettext("Send result"), "main", () => send("answered", { response: text.value, is_error: failed.checked })),
    button(gettext("Decline"), "skip", () => send("declined")),
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  return form;
}
