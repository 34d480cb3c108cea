// A question to a person: may this call be made? What is clicked is an `approval` event.

import { ArgumentsEditor } from "./arguments_editor.js";
import { approvalLabel } from "./card_titles.js";
import { clientToolForm } from "./client_tool_form.js";
import { questionForm } from "./question_form.js";
import { button, element, setText } from "../shared/dom.js";
import { gettext } from "../shared/words.js";

/** The form of a question; `item` is the question. */
export function approvalForm(item) {
  if (item.actionId) {
    return item.isClientTool ? clientToolForm(item) : questionForm(item);
  }
  const editor = new ArgumentsEditor(item.arguments);
  const form = element("form", "answers");
  const why = element("input", "why");
  why.placeholder = gettext("Tell the agent why (optional)");
  why.setAttribute("aria-label", gettext("Reason"));
  why.maxLength = 2000;
  const answer = (approved, forRun) => () => {
    const edited = approved ? editor.value : undefined;
    if (edited === null) {
      return;
    }
    form.inert = true;
    const detail = { tool_call_id: item.callId, approved, for_run: forRun, reason: why.value };
    if (edited !== undefined) {
      detail.arguments = edited;
    }
    form.dispatchEvent(new CustomEvent("approval", { bubbles: true, detail }));
  };
  form.append(
    keyed(button(gettext("Allow once"), "approve main", answer(true, false)), "A"),
    button(gettext("Allow for this run"), "approve-for-run", answer(true, true)),
    keyed(button(gettext("Don't allow"), "deny", answer(false, false)), "D"),
    editor.toggle,
    why,
    editor.text,
    editor.problem,
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  return form;
}

function keyed(made, key) {
  const sign = element("kbd", "", key);
  sign.setAttribute("aria-hidden", "true");
  made.setAttribute("aria-keyshortcuts", key);
  made.append(" ", sign);
  return made;
}

/** The line of a question among the steps. Where questions are pinned elsewhere, it has no form. */
export class ApprovalCard {
  isCall = false;
  wantsRendering = false;

  constructor(item, { isPinned }) {
    this.item = item;
    this.element = element("li", "item");
    this.element.dataset.type = "approval";
    this.label = element("p", "label");
    this.arguments = element("div", "text", JSON.stringify(item.arguments, null, 2));
    this.reason = element("p", "reason");
    this.reason.dir = "auto";
    this.form = approvalForm(item);
    this.isPinned = isPinned;
    this.element.append(this.label, this.reason);
    if (!isPinned) {
      this.element.append(this.arguments, this.form);
    }
  }

  draw() {
    const { item } = this;
    const isAsking = item.status === "pending";
    this.element.dataset.status = item.status;
    this.element.hidden = isAsking && this.isPinned;
    this.form.hidden = !isAsking;
    this.form.inert = false;
    this.arguments.hidden = !isAsking || item.question !== undefined; // once answered, the call's own card has them
    setText(this.label, approvalLabel(item));
    setText(this.reason, item.text);
    this.reason.hidden = !item.text;
  }
}
