// The page of all that waits for a decision of this person, in whichever chat.

import { getAll } from "../shared/api.js";
import { elementsById } from "../shared/dom.js";
import { countWaiting } from "../shared/waiting_count.js";
import { actionLine } from "./action_line.js";

const INTERVAL = 5000;

const page = elementsById();
const lines = new Map(); // by the action's id

/** What is new is added, and what is open no more taken away; a form in which somebody writes stays. */
async function load() {
  let actions;
  try {
    actions = await getAll("/v1/actions?status=open");
  } catch (error) {
    page.problem.textContent = error.message;
    page.problem.hidden = false;
    return;
  }
  page.problem.hidden = true;
  const open = new Set(actions.map(({ id }) => id));
  for (const [id, line] of lines) {
    if (!open.has(id)) {
      line.remove();
      lines.delete(id);
    }
  }
  for (const action of actions) {
    if (!lines.has(action.id)) {
      lines.set(action.id, actionLine(action, { onAnswered: (problem) => answered(problem) }));
      page.actions.append(lines.get(action.id));
    }
  }
  page["nothing-waits"].hidden = lines.size > 0;
}

async function answered(problem) {
  await Promise.all([load(), countWaiting()]);
  if (problem) {
    page.problem.textContent = problem;
    page.problem.hidden = false;
  }
}

setInterval(() => !document.hidden && load(), INTERVAL);
await load();
