// The card of each item of a run: a call of a tool, a question to a person, or what is written.

import { ApprovalCard } from "./approval_card.js";
import { CallCard } from "./call_card.js";
import { StepCard } from "./step_card.js";

export function cardFor(item, run, options) {
  if (item.kind === "approval") {
    return new ApprovalCard(item, options);
  }
  return item.type === "tool_use" ? new CallCard(item, run) : new StepCard(item, run);
}
