// The form of a question that an agent asks: its options, or a text. What is sent is an `answer` event.

import { button, element, isComposing } from "../shared/dom.js";
import { gettext } from "../shared/words.js";

const LONGEST = 10_000;

export function questionForm(item) {
  const form = element("form", "answers question");
  const send = (outcome, response) => {
    form.inert = true;
    const detail = { action_id: item.actionId, outcome, ...(response === undefined ? {} : { response }) };
    form.dispatchEvent(new CustomEvent("answer", { bubbles: true, detail }));
  };
  const { options = [], other } = item.arguments;
  form.append(...options.map((option) => button(option, "option", () => send("answered", option))));
  if (!options.length || other) {
    form.append(...ownAnswer(send));
  }
  form.append(button(gettext("Skip the question"), "skip", () => send("declined")));
  form.addEventListener("submit", (event) => event.preventDefault());
  return form;
}

function ownAnswer(send) {
  const text = element("textarea", "own");
  text.setAttribute("aria-label", gettext("Your answer"));
  text.placeholder = gettext("Your answer");
  text.maxLength = LONGEST;
  text.rows = 2;
  text.dir = "auto";
  const sendText = () => text.value.trim() && send("answered", text.value.trim());
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !isComposing(event)) {
      event.preventDefault();
      sendText();
    }
  });
  return [text, button(gettext("Answer"), "main", sendText)];
}
