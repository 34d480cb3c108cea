// What cards and lines are called.

import { duration, gettext } from "../shared/words.js";

/** A tool's own name, and that of its MCP server, if it has one. */
export function toolOf(name = "") {
  const at = name.indexOf("__");
  return at > 0 ? { tool: name.slice(at + 2), server: name.slice(0, at) } : { tool: name, server: "" };
}

/** The same in one: `echo (everything)`. */
export function toolName(name) {
  const { tool, server } = toolOf(name);
  return server ? gettext("{tool} ({server})", { tool, server }) : tool;
}

export function approvalLabel({ status, toolName: name, by, question, response, isClientTool }) {
  if (isClientTool) {
    return clientToolLabel(status, toolName(name), by);
  }
  if (question !== undefined) {
    return questionLabel(status, question, by, response);
  }
  const tool = toolName(name);
  switch (status) {
    case "pending":
      return gettext("Allow {tool} to run?", { tool });
    case "approved":
      return gettext("{tool} · allowed by {by}", { tool, by });
    case "denied":
      return by ? gettext("{tool} · declined by {by}", { tool, by }) : gettext("{tool} · expired without a decision", { tool });
    default:
      return gettext("{tool} · cancelled", { tool });
  }
}

function clientToolLabel(status, tool, by) {
  switch (status) {
    case "pending":
      return gettext("{tool} · waiting for the calling program", { tool });
    case "approved":
      return gettext("{tool} · result from {by}", { tool, by });
    case "denied":
      return by ? gettext("{tool} · declined by {by}", { tool, by }) : gettext("{tool} · expired without a result", { tool });
    default:
      return gettext("{tool} · cancelled", { tool });
  }
}

function questionLabel(status, question, by, response) {
  switch (status) {
    case "pending":
      return question;
    case "approved":
      return gettext("{question} · {by}: {response}", { question, by, response });
    case "denied":
      return by ? gettext("{question} · skipped by {by}", { question, by }) : gettext("{question} · expired without an answer", { question });
    default:
      return gettext("{question} · cancelled", { question });
  }
}

export function title(item) {
  const isStreaming = item.status === "streaming";
  switch (item.type) {
    case "retry":
      return item.delayMs
        ? gettext("Retrying in {time}", { time: duration(item.delayMs) })
        : gettext("Retrying with a shorter history");
    case "thought":
      return gettext("Reasoning");
    case "tool_use":
      return isStreaming ? gettext("Preparing a tool call…") : toolName(item.toolName);
    case "tool_result":
      return isStreaming ? gettext("Tool running…") : gettext("Result of {tool}", { tool: toolName(item.toolName) });
    case "error":
      return gettext("Error");
    case "compaction":
      return gettext("Earlier messages were summarized");
    case "warning":
      return gettext("Warning");
    case "steered":
      return item.status === "pending" ? gettext("Sent – read at the next step") : gettext("Sent meanwhile");
    default:
      return gettext("Answer");
  }
}
