// The chat page: one session, watched and driven over one WebSocket. See PROTOCOL, section 1.

import { Connection } from "./connection.js";
import { Conversation, countCodePoints } from "./fold.js";
import { Outbox } from "./outbox.js";
import { Transcript, pendingMessage } from "./transcript.js";

const LONGEST_MESSAGE = 100_000;
const AT_END = 60; // pixels from the bottom that still count as being there
const HIDDEN_PAGE_INTERVAL = 250;

const ADVICE = {
  4400: "This address names no valid session. Begin a new chat.",
  4401: "Sign in first, in the admin; then load this page again.",
  4403:
    "The server does not know the address that this page was opened at. Open it at the address that the server " +
    "printed, or add this one to ALLOWED_HOSTS and CORS_ALLOWED_ORIGINS.",
  4404: "This chat belongs to somebody else, or is not there any more. Begin a new chat.",
};
// Refusals of a message: it goes back to where it was typed.
const REFUSALS = ["invalid_message", "invalid_json", "agent_not_found", "session_busy", "storage_unavailable"];

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((node) => [node.id, node]));
const sessionId = openSession();
const outbox = new Outbox(sessionId);
const transcript = new Transcript(page.transcript);
let conversation = new Conversation();
let agentChosen = false;
let agentsLoaded = false;
let resumedAt = -1;
let stopping = false;
let following = true;
let drawing = false;
let countdown = 0;

const connection = new Connection({ address, onFrame: receive, onState: showState });

// The session

function openSession() {
  const url = new URL(location.href);
  const known = url.searchParams.get("session");
  if (known) {
    return known;
  }
  const made = randomId();
  url.searchParams.set("session", made);
  history.replaceState(null, "", url);
  return made;
}

/** Random, also where the page is not served securely and the browser keeps randomUUID to itself. */
function randomId() {
  if (crypto.randomUUID) {
    return crypto.randomUUID();
  }
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function address() {
  const url = new URL(`/ws/chat/${encodeURIComponent(sessionId)}`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("after", conversation.cursor);
  if (page.agent.value) {
    url.searchParams.set("agent_name", page.agent.value);
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
  if (frame.type === "reasoning_start") {
    outbox.remove(frame.data.message_id);
  } else if (frame.type === "reasoning_complete") {
    stopping = false;
  }
  draw();
}

function greet({ agent_name: agentName }) {
  resumedAt = -1;
  stopping = false;
  loadAgents(agentName);
  letAnswerAgain();
  sendOutbox();
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

function showError({ message, code, message_id: messageId, retry_after: retryAfter }) {
  const entry = outbox.refused(messageId);
  letAnswerAgain();
  if (code === "rate_limited" && entry) {
    entry.sent = false;
    setTimeout(sendOutbox, (retryAfter ?? 1) * 1000);
  } else if (REFUSALS.includes(code) && entry) {
    outbox.remove(entry.payload.message_id);
    page.message.value = [entry.payload.message, page.message.value].filter(Boolean).join("\n");
  }
  showProblem(message);
  draw();
}

function showProblem(words) {
  page.problem.textContent = words;
  page.problem.hidden = !words;
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
    page["connection-words"].textContent = "Closed";
    page.notice.textContent = ADVICE[detail];
  } else {
    page["connection-words"].textContent = name === "connected" ? "Connected" : "Connecting…";
  }
  draw();
}

function countDown({ until }) {
  const left = Math.max(1, Math.ceil((until - Date.now()) / 1000));
  page["connection-words"].textContent = `Reconnecting in ${left} s`;
}

/** What closed the connection by its size would close the next one, too. */
function giveUpTooLarge() {
  showError({ message: "The message is too large for the server.", code: "invalid_message" });
}

// Agents

async function loadAgents(agentName) {
  if (agentsLoaded) {
    return;
  }
  try {
    const response = await fetch("/v1/agents?limit=200", { headers: { Accept: "application/json" } });
    if (!response.ok) {
      throw new Error(`HTTP ${response.status}`);
    }
    const { data } = await response.json();
    fillPicker(data.filter((agent) => agent.enabled), agentName);
    agentsLoaded = true;
  } catch (error) {
    // The default agent answers meanwhile; the next connection asks again.
    console.warn("The list of agents could not be had:", error);
  }
}

function fillPicker(agents, agentName) {
  const options = agents.map((agent) => {
    const option = new Option(agent.role ? `${agent.name} · ${agent.role}` : agent.name, agent.name);
    option.title = agent.description ?? "";
    return option;
  });
  if (!options.length) {
    return;
  }
  page.agent.replaceChildren(...options);
  page.agent.disabled = false;
  if (!agentChosen && agents.some((agent) => agent.name === agentName)) {
    page.agent.value = agentName;
  }
}

// What the person does

function sendMessage() {
  const message = page.message.value.replaceAll("\0", "");
  if (!message.trim()) {
    return;
  }
  if (countCodePoints(message) > LONGEST_MESSAGE) {
    showProblem(`The message is longer than ${LONGEST_MESSAGE.toLocaleString("en")} characters.`);
    return;
  }
  const payload = { message, enable_reasoning: page.reasoning.checked, message_id: randomId() };
  if (page.agent.value) {
    payload.agent_name = page.agent.value;
  }
  outbox.add(payload);
  page.message.value = "";
  showProblem("");
  following = true;
  sendOutbox();
}

function sendOutbox() {
  outbox.send((payload) => connection.send("chat", payload));
  draw();
}

function stop() {
  stopping = connection.send("interrupt", {});
  draw();
}

function answerApproval({ detail }) {
  if (!connection.send("approve", detail)) {
    showProblem("Not connected: your answer was not sent. Try again in a moment.");
    draw();
  }
}

/** An answer that was clicked may have been lost with its connection. */
function letAnswerAgain() {
  for (const form of page.transcript.querySelectorAll("form.answers")) {
    form.inert = false;
  }
}

// Drawing, at most once per animation frame

function draw() {
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
  transcript.draw(conversation);
  drawOutbox();
  const connected = page.connection.dataset.state === "connected";
  const busy = conversation.running.length > 0 || outbox.hasSent;
  page.empty.hidden = conversation.runs.size > 0 || outbox.payloads.length > 0 || !page.notice.hidden;
  page.stop.hidden = !(busy && connected);
  page.stop.disabled = stopping;
  page.stop.textContent = stopping ? "Stopping…" : "Stop";
  if (following) {
    page.scroller.scrollTop = page.scroller.scrollHeight;
  }
}

function drawOutbox() {
  const words = outbox.hasSent ? "waiting for its turn…" : "not sent yet: waiting for the connection";
  const state = JSON.stringify([words, outbox.payloads.map((payload) => payload.message_id)]);
  if (page.outbox.dataset.shown !== state) {
    page.outbox.dataset.shown = state;
    page.outbox.replaceChildren(...outbox.payloads.map((payload) => pendingMessage(payload, words)));
  }
}

function watchScrolling() {
  const { scrollHeight, scrollTop, clientHeight } = page.scroller;
  following = scrollHeight - scrollTop - clientHeight < AT_END;
  page["to-end"].hidden = following;
}

function goToEnd() {
  following = true;
  page["to-end"].hidden = true;
  draw();
}

page.composer.addEventListener("submit", (event) => {
  event.preventDefault();
  sendMessage();
});
page.message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    sendMessage();
  }
});
page.agent.addEventListener("change", () => (agentChosen = true));
page.stop.addEventListener("click", stop);
page.transcript.addEventListener("approval", answerApproval);
page["connect-now"].addEventListener("click", () => connection.open());
page["to-end"].addEventListener("click", goToEnd);
page.scroller.addEventListener("scroll", watchScrolling, { passive: true });
new ResizeObserver(() => following && draw()).observe(page.scroller);

connection.open();
