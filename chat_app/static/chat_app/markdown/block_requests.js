// Has the server render blocks: gathered, at most a few requests a second, each text once.

import { api } from "../shared/api.js";

const INTERVAL = 400; // between the starts of two requests
const PATIENCE = 3000; // before asking again where the server could not answer
const MOST_BLOCKS = 50;
const MOST_CHARACTERS = 100_000;
const MOST_KEPT = 1000;

const html = new Map(); // of the blocks that were rendered, by their text
const waiting = new Map(); // of those that were not: who wants them
let timer = 0;
let last = 0;

/** Call `done(html)` once the server has rendered that block: at once if it has already; with null if it stays text. */
export function requestBlock(text, firstTitle, done) {
  const key = JSON.stringify([firstTitle, text]);
  if (html.has(key)) {
    done(html.get(key));
    return;
  }
  const entry = waiting.get(key) ?? { text, firstTitle, calls: [] };
  entry.calls.push(done);
  waiting.set(key, entry);
  timer ||= setTimeout(send, Math.max(0, last + INTERVAL - performance.now()));
}

async function send() {
  last = performance.now();
  const batch = nextBatch();
  let pause = INTERVAL;
  try {
    const blocks = batch.map(([, { text, firstTitle }]) => ({ text, first_title: firstTitle }));
    const { data } = await api("POST", "/chat/blocks", { blocks });
    data.forEach((block, at) => take(batch[at][0], block.html));
  } catch (error) {
    console.warn("Markdown could not be rendered:", error);
    pause = PATIENCE;
    if (error.status >= 400 && error.status < 500 && error.status !== 429) {
      batch.forEach(([key]) => take(key, null));
    }
  }
  timer = waiting.size ? setTimeout(send, Math.max(0, last + pause - performance.now())) : 0;
}

function nextBatch() {
  let characters = 0;
  const batch = [];
  for (const entry of waiting) {
    characters += entry[1].text.length;
    if (batch.length === MOST_BLOCKS || (batch.length && characters > MOST_CHARACTERS)) {
      break;
    }
    batch.push(entry);
  }
  return batch;
}

function take(key, result) {
  const { calls } = waiting.get(key);
  waiting.delete(key);
  html.set(key, result);
  if (html.size > MOST_KEPT) {
    html.delete(html.keys().next().value);
  }
  calls.forEach((done) => done(result));
}
