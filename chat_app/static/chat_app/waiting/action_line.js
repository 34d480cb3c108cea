// One action: what an agent wants, with the form that answers it.

import { approvalForm } from "../chat/approval_card.js";
import { approvalLabel } from "../chat/card_titles.js";
import { api } from "../shared/api.js";
import { element, link } from "../shared/dom.js";
import { gettext, moment } from "../shared/words.js";

/** `onAnswered()` is called when the action is open no more. */
export function actionLine(action, { onAnswered }) {
  const item = asItem(action);
  const label = element("h2", "", approvalLabel(item));
  label.dir = "auto";
  const problem = element("p", "problem");
  problem.setAttribute("role", "alert");
  problem.hidden = true;
  const form = approvalForm(item);
  const line = element("li", "", label, facts(action));
  if (action.kind === "approval") {
    line.append(element("pre", "arguments", JSON.stringify(action.arguments, null, 2)));
  }
  line.append(form, problem);
  line.dataset.action = action.id;
  const answer = async (body) => {
    try {
      await api("POST", `/v1/actions/${encodeURIComponent(action.id)}/answer`, body);
      onAnswered();
    } catch (error) {
      form.inert = false;
      problem.textContent = error.message;
      problem.hidden = false;
      if (error.status === 404 || error.status === 409) {
        onAnswered(error.message); // somebody else was quicker
      }
    }
  };
  form.addEventListener("approval", ({ detail }) => {
    const { approved, tool_call_id: _call, ...more } = detail;
    answer({ ...more, outcome: approved ? "answered" : "declined" });
  });
  form.addEventListener("answer", ({ detail }) => {
    const { action_id: _id, ...body } = detail;
    answer(body);
  });
  return line;
}

/** The action as the chat's forms take it. */
function asItem(action) {
  const isApproval = action.kind === "approval";
  return {
    ...(isApproval ? {} : { actionId: action.id, question: action.message }),
    kind: action.kind,
    status: "pending",
    callId: action.tool_call_id,
    toolName: action.tool_name,
    arguments: action.arguments,
    schema: action.response_schema,
  };
}

function facts(action) {
  const expires = action.expires_at && gettext("expires {time}", { time: moment(action.expires_at) });
  const chat = link(gettext("Open chat"), `/chat/?session=${encodeURIComponent(action.session_id)}`);
  return element("p", "quiet", [action.agent_name, moment(action.created_at), expires].filter(Boolean).join(" · "), " · ", chat);
}
