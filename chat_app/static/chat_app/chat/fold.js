// A session's frames folded into runs and their items: PROTOCOL, section 1. Knows nothing of a page.

import { Branches } from "./branches.js";

/** One line or card of a run. `unchanged` is how much of `text` is as it was when it was last drawn. */
class Item {
  text = "";
  unchanged = 0;
  codePoints = 0;
  removed = false;

  constructor(kind, step) {
    this.kind = kind; // "step", or what is said beside the steps: "retry", "approval", "warning", "compaction", "response", "error"
    this.step = step;
    this.type = kind;
    this.status = "finished";
  }

  /** Take a delta: what the text had from `offset` on is replaced, so a delta sent again heals itself. */
  append(offset, content) {
    if (offset < this.codePoints) {
      this.#truncate(offset);
    }
    this.text += content;
    this.codePoints = offset + countCodePoints(content);
  }

  replace(content) {
    this.unchanged = Math.min(this.unchanged, commonPrefix(this.text, content));
    this.text = content;
    this.codePoints = countCodePoints(content);
  }

  #truncate(codePoints) {
    const length = indexOfCodePoint(this.text, codePoints);
    this.text = this.text.slice(0, length);
    this.unchanged = Math.min(this.unchanged, length);
  }
}

/** One message and all that came of it. */
export class Run {
  message = "";
  files = []; // of the message
  messageId = null;
  number = 0; // in the session
  follows = 0; // the number of the run that it continues; 0 for none
  agent = "";
  status = "running"; // then completed, failed or cancelled
  stopped = "";
  usage = {};
  cost = undefined; // dollars, if the price is known
  contextTokens = 0; // of the model's window, of which the last turn took so many
  contextWindow = 0;
  durationMs = 0;
  since = 0; // when what goes on now began, in seconds since the epoch
  startedAt = 0;
  items = []; // in the order of their steps
  changed = new Set();
  #steps = new Map();
  #calls = new Map(); // of tools, by their ids
  #lastType = "";

  constructor(id) {
    this.id = id;
  }

  take(type, data, timestamp) {
    switch (type) {
      case "reasoning_start":
        this.startedAt = timestamp;
        this.agent = data.agent;
        this.message = data.message;
        this.files = (data.parts ?? []).filter((part) => part.type === "file");
        this.messageId = data.message_id;
        break;
      case "reasoning_delta":
        this.#delta(data);
        break;
      case "reasoning_step":
        this.#finishStep(data, timestamp);
        break;
      case "retry":
        this.#retry(data, timestamp);
        break;
      case "approval_required":
        this.#askApproval(data, timestamp);
        break;
      case "action_required":
        this.#askApproval(data, timestamp);
        break;
      case "action_resolved":
        this.#resolveQuestion(data, timestamp);
        break;
      case "approval_resolved":
        this.#resolveApproval(data, timestamp);
        break;
      case "compaction":
        this.#compact(data);
        break;
      case "warning":
        this.#say("warning", data.message).code = data.code;
        break;
      case "response":
        this.#say("response", data.content);
        break;
      case "steer_queued":
        this.#queue(data);
        break;
      case "steered":
        this.#takeQueued(data);
        break;
      case "error":
        this.#fail(data);
        break;
      case "interrupted":
        this.stopped = data.message;
        break;
      case "reasoning_complete":
        this.#complete(data);
        break;
    }
    this.#lastType = type;
    if (type !== "reasoning_delta") {
      this.since = timestamp;
    }
  }

  /** The steps that are being written right now. */
  get open() {
    return this.items.filter((item) => item.status === "streaming");
  }

  /** What a person is asked and has not answered. */
  get asking() {
    return this.items.filter((item) => item.kind === "approval" && item.status === "pending");
  }

  /** The names of the tools that were called and have not answered. */
  get calling() {
    const answered = new Set(this.items.filter((item) => item.type === "tool_result").map((item) => item.callId));
    const uses = this.items.filter((item) => item.type === "tool_use" && item.status === "finished");
    return uses.filter((item) => !answered.has(item.callId)).map((item) => item.toolName);
  }

  get retrying() {
    return this.#lastType === "retry";
  }

  #delta(data) {
    const item = this.#step(data.step);
    item.type = data.type;
    item.append(data.offset, data.content);
    this.changed.add(item);
  }

  /** A step that does not say how long it took began when what was before it ended. */
  #finishStep(data, timestamp) {
    const item = this.#step(data.step);
    item.type = data.type;
    item.iteration = data.iteration;
    item.finishedAt = timestamp;
    item.startedAt = data.duration_ms === undefined ? this.since : timestamp - data.duration_ms / 1000;
    item.status = data.is_error || data.type === "error" ? "failed" : "finished";
    item.toolName = data.tool_name;
    item.callId = data.tool_call_id;
    item.arguments = data.arguments;
    item.durationMs = Math.round((item.finishedAt - item.startedAt) * 1000);
    item.attachments = data.attachments ?? [];
    item.childSession = data.child_session_id;
    item.replace(data.content);
    this.changed.add(item);
    this.#join(item);
  }

  /** A result belongs to the line of its call. */
  #join(item) {
    if (item.type === "tool_use") {
      this.#calls.set(item.callId, item);
    } else if (item.type === "tool_result" && this.#calls.has(item.callId)) {
      item.call = this.#calls.get(item.callId);
      item.call.result = item;
      this.changed.add(item.call);
    }
  }

  #retry({ step, attempt, reason, delay_ms: delayMs }, timestamp) {
    for (const item of this.items.filter((each) => each.status === "streaming" && each.step >= step)) {
      this.#remove(item);
    }
    const last = this.items.at(-1);
    if (this.#lastType === "retry" && last?.kind === "retry" && last.attempt === attempt) {
      return; // several steps of one model turn begin again together
    }
    const item = new Item("retry", step);
    item.attempt = attempt;
    item.delayMs = delayMs;
    item.startedAt = this.since;
    item.finishedAt = timestamp + (delayMs ?? 0) / 1000; // the pause belongs to the try that failed
    item.replace(reason);
    this.#place(item);
  }

  /** The question stands right after the call that it is about. */
  #askApproval(data, timestamp) {
    const call = this.items.findLast((item) => item.type === "tool_use" && item.callId === data.tool_call_id);
    const own = data.action_id?.split("_").at(-1) ?? Infinity; // of a question that no call asks, as of a budget
    const item = new Item("approval", call ? call.step + 0.5 : Number(own));
    item.status = "pending";
    item.startedAt = timestamp;
    item.callId = data.tool_call_id;
    item.toolName = data.tool_name;
    item.arguments = data.arguments;
    item.expiresAt = data.expires_at;
    item.actionId = data.action_id; // of a question, which has a message too, or of the calling program's tool
    item.isClientTool = data.kind === "client_tool";
    item.question = item.isClientTool ? undefined : data.message;
    this.#place(item);
  }

  #resolveQuestion({ action_id: actionId, outcome, response, reason, by }, timestamp) {
    const item = this.asking.find((each) => each.actionId === actionId);
    if (item) {
      item.status = outcome === "answered" ? "approved" : "denied";
      item.response = response;
      item.by = by;
      item.finishedAt = timestamp;
      item.replace(reason);
      this.changed.add(item);
    }
  }

  #resolveApproval({ tool_call_id: callId, approved, reason, by }, timestamp) {
    const item = this.asking.find((each) => each.callId === callId);
    if (item) {
      item.status = approved ? "approved" : "denied";
      item.by = by;
      item.finishedAt = timestamp;
      item.replace(reason);
      this.changed.add(item);
    }
  }

  /** The step of the failure comes first; what kind it is only this frame says. */
  #fail({ message, code }) {
    const shown = this.items.find((item) => item.type === "error" && item.text === message);
    const item = shown ?? this.#say("error", message);
    item.status = "failed";
    item.code = code;
    this.changed.add(item);
  }

  /** A summary stands after the steps that there are: the model has read it before the next one. */
  #compact({ kind, summary }) {
    if (kind === "summary") {
      const item = new Item("compaction", Math.max(-1, ...this.#steps.keys()) + 0.5);
      item.replace(summary ?? "");
      this.#place(item);
    }
  }

  #complete(data) {
    this.status = data.status;
    this.usage = data.usage;
    this.cost = data.cost;
    this.contextTokens = data.context_tokens ?? 0;
    this.contextWindow = data.context_window ?? 0;
    this.durationMs = data.duration_ms;
    for (const item of [...this.open, ...this.asking]) {
      item.status = "stopped";
      this.changed.add(item);
    }
    for (const call of this.#calls.values()) {
      if (!call.result) {
        this.changed.add(call); // nothing will come of it
      }
    }
  }

  #say(kind, content) {
    const item = new Item(kind, Infinity);
    item.replace(content);
    this.#place(item);
    return item;
  }

  /** A message that the run takes between two of its turns, if there is another one. */
  #queue({ message_id: messageId, message, parts }) {
    const item = this.#say("steered", message);
    item.status = "pending";
    item.messageId = messageId;
    item.attachments = (parts ?? []).filter((part) => part.type === "file");
  }

  #takeQueued({ message_id: messageId }) {
    const item = this.#queued(messageId);
    if (item) {
      this.items.splice(this.items.indexOf(item), 1);
      item.status = "finished";
      item.step = Math.max(-1, ...this.#steps.keys()) + 0.5; // before the turn that has it
      this.#place(item);
    }
  }

  /** The message became a run of its own. */
  giveUp(messageId) {
    const item = this.#queued(messageId);
    if (item) {
      this.#remove(item);
    }
  }

  #queued(messageId) {
    return this.items.find((item) => item.kind === "steered" && item.status === "pending" && item.messageId === messageId);
  }

  #step(number) {
    let item = this.#steps.get(number);
    if (!item) {
      item = new Item("step", number);
      item.status = "streaming";
      item.startedAt = this.since;
      this.#steps.set(number, item);
      this.#place(item);
    }
    return item;
  }

  #place(item) {
    let at = this.items.length;
    while (at > 0 && this.items[at - 1].step > item.step) {
      at -= 1;
    }
    this.items.splice(at, 0, item);
    this.changed.add(item);
  }

  #remove(item) {
    this.#steps.delete(item.step);
    this.items.splice(this.items.indexOf(item), 1);
    item.removed = true;
    this.changed.add(item);
  }
}

/** All runs of a session, as far as the cursor. */
export class Conversation {
  cursor = 0;
  runs = new Map();
  changed = new Set();
  branches = new Branches();
  #steered = new Map(); // the runs that got messages while they worked, by the ids of these

  /** Take a frame of the log, once. Returns false where something before it is missing. */
  take(frame) {
    if (frame.seq <= this.cursor) {
      return true;
    }
    if ((frame.first ?? frame.seq) > this.cursor + 1) {
      return false;
    }
    this.cursor = frame.seq;
    if (frame.run_id === null) {
      this.#takeOfSession(frame);
      return true;
    }
    const run = this.#run(frame.run_id);
    if (frame.type === "reasoning_start") {
      this.branches.add(run, frame.data);
      this.#giveUp(frame.data.message_id);
    } else if (frame.type === "steer_queued") {
      this.#steered.set(frame.data.message_id, run);
    }
    run.take(frame.type, frame.data, frame.timestamp);
    this.changed.add(run);
    return true;
  }

  /** A message that no run took while it worked has become one of its own. */
  #giveUp(messageId) {
    const former = this.#steered.get(messageId);
    if (former) {
      former.giveUp(messageId);
      this.#steered.delete(messageId);
      this.changed.add(former);
    }
  }

  #takeOfSession({ type, data }) {
    if (type === "run_replaced" || type === "forked") {
      this.branches.choose(data);
    }
  }

  /** What is up to here was pruned on the server. */
  skipTo(seq) {
    this.cursor = Math.max(this.cursor, seq);
  }

  /** The runs that models are told of, and the page shows. */
  get path() {
    return this.branches.path();
  }

  get running() {
    return [...this.runs.values()].filter((run) => run.status === "running");
  }

  #run(id) {
    let run = this.runs.get(id);
    if (!run) {
      run = new Run(id);
      this.runs.set(id, run);
    }
    return run;
  }
}

export function countCodePoints(text) {
  let count = text.length;
  for (let at = 0; at < text.length - 1; at += 1) {
    if (isPair(text, at)) {
      count -= 1;
      at += 1;
    }
  }
  return count;
}

function indexOfCodePoint(text, codePoints) {
  let at = 0;
  for (let passed = 0; passed < codePoints && at < text.length; passed += 1) {
    at += isPair(text, at) ? 2 : 1;
  }
  return at;
}

function isPair(text, at) {
  return (text.charCodeAt(at) & 0xfc00) === 0xd800 && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00;
}

function commonPrefix(one, other) {
  if (other.startsWith(one)) {
    return one.length;
  }
  let length = 0;
  while (length < one.length && one[length] === other[length]) {
    length += 1;
  }
  return length;
}
