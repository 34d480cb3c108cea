// The chat page: one session, watched and driven over one WebSocket. See PROTOCOL, section 1.

import { api } from "../shared/api.js";
import { AgentPicker } from "./agents.js";
import { approvalLabel, toolName } from "./card_titles.js";
import { PinnedApprovals } from "./approvals.js";
import { Composer } from "./composer.js";
import { ComposerFiles } from "./composer_files.js";
import { Connection } from "./connection.js";
import { elementsById, setText } from "../shared/dom.js";
import { makeDrawer } from "./drawer.js";
import { asJSON, asMarkdown, download, fileName } from "./exporting.js";
import { Conversation } from "./fold.js";
import { Outbox } from "./outbox.js";
import { Rendering } from "./rendering.js";
import { openSession, randomId, takeParameter } from "./session.js";
import { Sessions } from "./sessions.js";
import { Transcript, pendingMessage } from "./transcript.js";
import { gettext, number } from "../shared/words.js";

const AT_END = 60; // pixels from the bottom that still count as being there
const HIDDEN_PAGE_INTERVAL = 250;
const CATCHING_UP_INTERVAL = 400;
const LONGEST_ANNOUNCEMENT = 2000;

const ADVICE = {
  4400: gettext("This link isn't valid. Start a new chat."),
  4401: gettext("You've been signed out. Reload to sign in again."),
  4403: gettext(
    "The server does not know the address that this page was opened at. Open it at the address that the server printed, or add this one to ALLOWED_HOSTS and CORS_ALLOWED_ORIGINS.",
  ),
  4404: gettext("This chat doesn't exist or you don't have access to it. Start a new chat."),
};
// Refusals of a message: it goes back to where it was typed.
const REFUSALS = ["invalid_message", "invalid_json", "agent_not_found", "session_busy", "storage_unavailable"];

const REASONING = "show-reasoning"; // in the browser's storage
const TITLE = document.title;

const page = elementsById();
const sessionId = openSession();
const outbox = new Outbox(sessionId);
const transcript = new Transcript(page.transcript, new Rendering(() => draw()), { folds: true, isPinned: true, branches: true });
const approvals = new PinnedApprovals(page.approvals);
const picker = new AgentPicker(page.agent, (name) => {
  page["new-chat"].href = `?agent=${encodeURIComponent(name)}`;
});
const composer = new Composer({
  sessionId,
  form: page.composer,
  field: page.message,
  problem: page.problem,
  send: (message, parts, busy) => say(message, parts, { busy }),
  lastMessage: () => outbox.payloads.at(-1)?.message ?? conversation.path.at(-1)?.message,
});
composer.files = new ComposerFiles({
  sessionId,
  page,
  onChange: () => composer.filesChanged(),
  complain: (words) => composer.complain(words),
});
const sessions = new Sessions({
  current: sessionId,
  page,
  complain: (words) => composer.complain(words),
  onDeleted: () => location.assign(page["new-chat"].href),
  onWaiting: (count) => {
    waitingElsewhere = count;
    drawTitle();
  },
});
let conversation = new Conversation();
let resumedAt = -1;
let liveAfter = Infinity; // what comes after this number of the log is news
let knownId = null; // of the session, which has one from its first message on
let stopping = false;
let following = true;
let scrolled = { top: 0, height: 0 };
let drawing = false;
let waitingHere = 0; // questions that nobody has answered
let waitingElsewhere = 0; // chats with such
let catchingUp = 0;
let countdown = 0;

const connection = new Connection({ address, onFrame: receive, onState: showState });

function address() {
  const url = new URL(`/ws/chat/${encodeURIComponent(sessionId)}`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("after", conversation.cursor);
  if (picker.value) {
    url.searchParams.set("agent_name", picker.value);
  }
  return url;
}

// What the server says

function receive(frame) {
  if (frame.seq !== undefined) {
    takeLogged(frame);
  } else if (frame.type === "connected") {
    greet(frame.data);
  } else if (frame.type === "reset") {
    reset(frame.data.after);
  } else if (frame.type === "error") {
    showError(frame.data);
  }
}

function takeLogged(frame) {
  if (!conversation.take(frame)) {
    if (resumedAt !== conversation.cursor) {
      resumedAt = conversation.cursor;
      connection.send("resume", { after: conversation.cursor });
    }
    return;
  }
  if (frame.type === "reasoning_start" || frame.type === "steer_queued") {
    outbox.remove(frame.data.message_id);
  } else if (frame.type === "reasoning_complete") {
    stopping = false;
  }
  if (frame.seq > liveAfter) {
    announce(frame);
  }
  draw();
}

function greet({ id, agent_name: agentName, last_seq: lastSeq }) {
  if (knownId !== null && id !== knownId) {
    location.reload(); // the session was deleted meanwhile, and perhaps made again: it is another one
    return;
  }
  knownId = id;
  resumedAt = -1;
  stopping = false;
  liveAfter = lastSeq;
  picker.load(agentName);
  approvals.letAnswerAgain();
  sendOutbox();
}

/** Tell screen readers what is new, once and whole: not each word as it comes. */
function announce({ type, data }) {
  if (type === "reasoning_start" || type === "reasoning_complete") {
    sessions.refresh();
  }
  const words = news(type, data);
  if (words) {
    page.announcer.textContent = words.slice(0, LONGEST_ANNOUNCEMENT);
  }
}

function news(type, data) {
  if (type === "action_required") {
    return data.message || approvalLabel({ status: "pending", toolName: data.tool_name, isClientTool: true });
  }
  if (type === "approval_required") {
    return approvalLabel({ status: "pending", toolName: data.tool_name });
  }
  if (type === "response" || (type === "reasoning_step" && data.type === "final_answer")) {
    return `${gettext("Answer")}: ${data.content}`;
  }
  if (type === "reasoning_step" && data.type === "tool_use") {
    return gettext("Calling {tool}", { tool: toolName(data.tool_name) });
  }
  return type === "error" ? `${gettext("Error")}: ${data.message}` : data.status === "cancelled" && gettext("Stopped");
}

function reset(after) {
  if (after < conversation.cursor) {
    // The log ends before what we have seen: it is another one, so what we show is not true any more.
    transcript.clear();
    conversation = new Conversation();
    connection.send("resume", { after: 0 });
  } else {
    conversation.skipTo(after);
    page.pruned.hidden = false;
  }
  draw();
}

function showError({ message, code, field, message_id: messageId, retry_after: retryAfter }) {
  const entry = outbox.refused(messageId);
  approvals.letAnswerAgain();
  if (code === "rate_limited" && entry) {
    entry.sent = false;
    setTimeout(sendOutbox, (retryAfter ?? 1) * 1000);
  } else if (REFUSALS.includes(code) && entry) {
    outbox.remove(entry.payload.message_id);
    composer.takeBack(entry.payload);
  }
  const isFile = field?.startsWith("parts.");
  composer.complain(isFile ? gettext("A file of this message is no longer available.") : message);
  draw();
}

// The connection

function showState(name, detail) {
  clearInterval(countdown);
  page.connection.dataset.state = name;
  page["connect-now"].hidden = name !== "waiting";
  page.notice.hidden = name !== "closed";
  if (name === "waiting") {
    if (detail.code === 1009) {
      giveUpTooLarge();
    }
    outbox.forgetSent();
    countDown(detail);
    countdown = setInterval(() => countDown(detail), 500);
  } else if (name === "closed") {
    page["connection-words"].textContent = gettext("Disconnected");
    page.notice.textContent = ADVICE[detail];
  } else {
    page["connection-words"].textContent = name === "connected" ? gettext("Connected") : gettext("Connecting…");
  }
  draw();
}

function countDown({ until }) {
  const left = Math.max(1, Math.ceil((until - Date.now()) / 1000));
  page["connection-words"].textContent = gettext("Reconnecting in {left} s", { left });
}

/** What closed the connection by its size would close the next one, too. */
function giveUpTooLarge() {
  showError({ message: gettext("The message is too large for the server."), code: "invalid_message" });
}

// What the person does

/** `parts`: the files of the message. `busy`: what is to become of it if a run goes on. */
function say(message, parts = [], { agentName = picker.value, busy } = {}) {
  const payload = { message, message_id: randomId() };
  if (busy) {
    payload.if_busy = busy;
  }
  if (parts.length) {
    payload.parts = parts;
  }
  if (agentName) {
    payload.agent_name = agentName;
  }
  outbox.add(payload);
  following = true;
  sendOutbox();
}

function sendOutbox() {
  outbox.send((payload) => connection.send("chat", payload));
  draw();
}

/** Stop the run that goes on; what was sent after it gets its turn. */
function stop() {
  const [run] = conversation.running;
  stopping = connection.send("interrupt", run ? { run_id: run.id } : {});
  draw();
}

function answerApproval({ type, detail }) {
  if (!connection.send(type === "answer" ? "answer" : "approve", detail)) {
    composer.complain(gettext("Not connected: your answer was not sent. Try again in a moment."));
    draw();
  }
}

/** Ask the server for something; what comes of it is in the log. */
async function change(act) {
  try {
    await act();
  } catch (error) {
    composer.complain(error.message);
    draw();
  }
}

/** Have a message answered anew, as it was or edited, by the agent that is chosen now. */
function regenerate({ detail: { run, message } }) {
  const body = { session_id: sessionId, message_id: randomId(), if_busy: "interrupt" };
  if (picker.value) {
    body.agent_name = picker.value;
  }
  if (message !== undefined) {
    body.message = message;
    body.parts = run.files.map((file) => ({ type: "file", file_id: file.file_id }));
  }
  following = true;
  change(() => api("POST", `/v1/runs/${run.id}/regenerate`, body));
}

function selectVersion({ detail: { run } }) {
  change(() => api("POST", `/v1/runs/${run.id}/select`, { session_id: sessionId }));
}

function fork({ detail: { run } }) {
  change(async () => {
    const made = await api("POST", `/v1/sessions/${encodeURIComponent(sessionId)}/fork`, { run_id: run.id });
    location.assign(`?session=${encodeURIComponent(made.session_id)}`);
  });
}

function askExample({ target }) {
  const example = target.closest("button");
  if (example) {
    picker.choose(example.dataset.agent);
    say(example.dataset.message);
  }
}

function firstLine() {
  return conversation.runs.values().next().value?.message.trim().split("\n", 1)[0].slice(0, 80);
}

function exportSession({ target }) {
  const kind = target.closest("button")?.dataset.kind;
  const name = sessions.currentTitle || firstLine() || sessionId;
  if (kind === "markdown") {
    download(`${fileName(name)}.md`, "text/markdown", asMarkdown(name, conversation));
  } else if (kind === "json") {
    download(`${fileName(name)}.json`, "application/json", asJSON(sessionId, conversation));
  }
  page.exports.open = false;
}

/** What is not shown is still there: it is hidden, as it was asked for, on all chats of this browser. */
function showReasoning() {
  page.transcript.dataset.reasoning = page.reasoning.checked ? "shown" : "hidden";
  localStorage.setItem(REASONING, page.reasoning.checked);
}

// Drawing, at most once per animation frame

function draw() {
  if (conversation.cursor < liveAfter && liveAfter < Infinity) {
    // Thousands of steps are drawn once, and quickly; as they come, that would take long.
    catchingUp ||= setTimeout(drawNow, CATCHING_UP_INTERVAL);
    return;
  }
  if (drawing) {
    return;
  }
  drawing = true;
  if (document.hidden) {
    setTimeout(drawNow, HIDDEN_PAGE_INTERVAL); // a hidden page gets no animation frames
  } else {
    requestAnimationFrame(drawNow);
  }
}

function drawNow() {
  drawing = false;
  clearTimeout(catchingUp);
  catchingUp = 0;
  transcript.draw(conversation);
  waitingHere = approvals.draw(conversation);
  drawTitle();
  drawOutbox();
  const connected = page.connection.dataset.state === "connected";
  const busy = conversation.running.length > 0 || outbox.hasSent;
  page.empty.hidden = conversation.runs.size > 0 || outbox.payloads.length > 0 || !page.notice.hidden;
  page.exports.hidden = conversation.runs.size === 0;
  page.stop.hidden = !(busy && connected);
  page.stop.disabled = stopping;
  composer.isBusy = conversation.running.length > 0 && connected;
  setText(page.stop, stopping ? gettext("Stopping…") : gettext("Stop"));
  if (following && page.empty.hidden) {
    page.scroller.scrollTop = page.scroller.scrollHeight;
  }
}

/** The tab says how much waits for a decision. */
function drawTitle() {
  const waiting = waitingHere + waitingElsewhere;
  document.title = waiting ? `(${number(waiting)}) ${TITLE}` : TITLE;
}

function drawOutbox() {
  const words = outbox.hasSent
    ? gettext("Queued")
    : gettext("Offline – will be sent when you reconnect");
  const state = JSON.stringify([words, outbox.payloads.map((payload) => payload.message_id)]);
  if (page.outbox.dataset.shown !== state) {
    page.outbox.dataset.shown = state;
    page.outbox.replaceChildren(...outbox.payloads.map((payload) => pendingMessage(payload, words)));
  }
}

/** Whoever scrolls up wants to read there; that the page grew below, or shrank, is not scrolling up. */
function watchScrolling() {
  const { scrollHeight, scrollTop, clientHeight } = page.scroller;
  const isAtEnd = scrollHeight - scrollTop - clientHeight < AT_END;
  const wentUp = scrollTop < scrolled.top && scrollHeight >= scrolled.height;
  following = isAtEnd || (following && !wentUp);
  scrolled = { top: scrollTop, height: scrollHeight };
  page["to-end"].hidden = following;
}

function goToEnd() {
  following = true;
  page["to-end"].hidden = true;
  draw();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.defaultPrevented && !page.stop.hidden && !document.querySelector("dialog[open]")) {
    stop();
  }
});
page.stop.addEventListener("click", stop);
page.empty.addEventListener("click", askExample);
page.exports.addEventListener("click", exportSession);
page.approvals.addEventListener("approval", answerApproval);
page.approvals.addEventListener("answer", answerApproval);
page.reasoning.checked = localStorage.getItem(REASONING) !== "false";
page.reasoning.addEventListener("change", showReasoning);
showReasoning();
page.transcript.addEventListener("again", ({ detail }) => say(detail.message, detail.files, { agentName: detail.agent }));
page.transcript.addEventListener("regenerate", regenerate);
page.transcript.addEventListener("version", selectVersion);
page.transcript.addEventListener("fork", fork);
page["connect-now"].addEventListener("click", () => connection.open());
page["to-end"].addEventListener("click", goToEnd);
page.scroller.addEventListener("scroll", watchScrolling, { passive: true });
const resized = new ResizeObserver(() => following && draw());
resized.observe(page.scroller);
resized.observe(page.transcript);
makeDrawer({ side: page.side, toggle: page["side-toggle"], shade: page.shade, rest: [page.talk] });

const agentOfLink = takeParameter("agent");
if (agentOfLink) {
  picker.choose(agentOfLink);
}
connection.open();
