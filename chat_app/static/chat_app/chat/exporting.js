// A conversation as a file: Markdown to read, JSON to work with.

import { approvalLabel, title } from "./card_titles.js";
import { laidOut } from "./json.js";

export function asJSON(sessionId, conversation) {
  const runs = [...conversation.runs.values()].map((run) => ({
    id: run.id,
    number: run.number,
    follows: run.follows,
    agent: run.agent,
    message: run.message,
    files: run.files,
    status: run.status,
    usage: run.usage,
    duration_ms: run.durationMs,
    items: run.items.map((item) => ({
      type: item.type,
      status: item.status,
      iteration: item.iteration,
      tool_name: item.toolName,
      tool_call_id: item.callId,
      arguments: item.arguments,
      content: item.text,
      duration_ms: item.durationMs,
      attachments: item.attachments,
    })),
  }));
  return JSON.stringify({ session_id: sessionId, exported_at: new Date().toISOString(), runs }, null, 2);
}

/** A name for the file of a chat: its title, without what file systems reserve. */
export function fileName(name) {
  return name.replace(/[\\/:*?"<>|\p{C}]+/gu, " ").replace(/\s+/g, " ").trim().replace(/^\.+/, "").slice(0, 80).trim() || "chat"; // prettier-ignore
}

export function asMarkdown(name, conversation) {
  const parts = [`# ${withoutFetches(name)}`];
  for (const run of conversation.path) {
    const names = run.files.map((file) => `[${file.name || file.media_type}]`);
    parts.push("---", [run.message, ...names].filter(Boolean).join("\n").replace(/^/gm, "> "));
    for (const item of run.items) {
      parts.push(...(item.kind === "approval" ? [`*${approvalLabel(item)}*`, item.text] : [`**${title(item)}**`, body(item)]));
    }
  }
  return `${parts.filter(Boolean).join("\n\n")}\n`;
}

function body(item) {
  if (item.type === "tool_use") {
    return fenced(JSON.stringify(item.arguments ?? {}, null, 2), "json");
  }
  if (item.type === "tool_result") {
    const json = laidOut(item.text);
    return fenced(json ?? item.text, json ? "json" : "");
  }
  return withoutFetches(item.text);
}

/** Opened elsewhere, an image would be fetched and tell who reads: outside of code, images and tags stay text. */
function withoutFetches(text) {
  let fence = "";
  return text
    .split("\n")
    .map((line) => {
      const ticks = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1] ?? "";
      if (fence ? ticks.startsWith(fence) : ticks) {
        fence = fence ? "" : ticks;
        return line;
      }
      return fence ? line : line.replace(/!\[/g, "\\![").replace(/<(?=[a-z!/?])/gi, "&lt;");
    })
    .join("\n");
}

/** Between fences that are longer than any within. */
function fenced(text, language) {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((ticks) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

export function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
