// One run: its waterfall and its cards, live while it goes on, and replayed afterwards.

import { api, get } from "../shared/api.js";
import { link, setText } from "../shared/dom.js";
import { exact } from "../chat/json.js";
import { Run } from "../chat/fold.js";
import { Rendering } from "../chat/rendering.js";
import { Replay } from "../chat/replay.js";
import { statusName, triggerName } from "./list.js";
import { Transcript } from "../chat/transcript.js";
import { Waterfall } from "../chat/waterfall.js";
import { cost, duration, gettext, moment, number, percentOf } from "../shared/words.js";

const FRAMES = [
  "reasoning_start", "reasoning_delta", "reasoning_step", "retry", "approval_required", "approval_resolved",
  "action_required", "action_resolved", "compaction", "warning",
  "steer_queued", "steered", "response", "error", "interrupted", "reasoning_complete", "reset",
]; // prettier-ignore
const LIVE = 250;
const AGAIN = 2000;

export class RunView {
  #frames = [];
  #cursor = 0;
  #requests = 0;
  #drawing = false;
  #replay = null;
  #played = 0; // when the replay was drawn last, by the clock of the browser

  constructor({ page, id }) {
    this.page = page;
    this.id = id;
    this.run = new Run(id);
    this.transcript = this.#newTranscript();
    this.waterfall = new Waterfall(page.waterfall, (item) => this.#show(item));
    page.cancel.addEventListener("click", () => this.#cancel());
    page.play.addEventListener("click", () => this.#play());
    page.position.addEventListener("input", () => this.#seek());
    page.cards.addEventListener("approval", ({ detail }) => this.#send(`/v1/runs/${encodeURIComponent(this.id)}/approve`, detail));
    page.cards.addEventListener("answer", ({ detail: { action_id: id, ...rest } }) => this.#send(`/v1/actions/${id}/answer`, rest));
    page.cards.addEventListener("again", ({ detail }) => this.#again(detail));
  }

  async open() {
    try {
      this.row = await get(`/v1/runs/${encodeURIComponent(this.id)}`);
    } catch (error) {
      this.#complain(error.message);
      return;
    }
    this.page.run.hidden = false;
    this.#drawRow();
    setInterval(() => this.run.status === "running" && this.#draw(), LIVE);
    this.#follow();
  }

  /** Follow the events; where a browser gives up, as it does when a server is being restarted, begin again. */
  #follow() {
    const events = new EventSource(`/v1/runs/${encodeURIComponent(this.id)}/events`);
    for (const type of FRAMES) {
      // A lost connection is an `error` event too, one without data.
      events.addEventListener(type, ({ data }) => data && this.#take(exact(data), events));
    }
    events.addEventListener("error", () => {
      if (this.row.finished_at && !this.#frames.length) {
        events.close(); // it has ended, and its events were pruned
        this.page.pruned.hidden = false;
      } else if (events.readyState === EventSource.CLOSED && this.run.status === "running") {
        setTimeout(() => this.#follow(), AGAIN);
      }
    });
  }

  #newTranscript() {
    this.page.cards.replaceChildren();
    return new Transcript(this.page.cards, new Rendering(() => {}));
  }

  #take(frame, events) {
    if (frame.type === "reset") {
      this.page.pruned.hidden = false;
      return;
    }
    if (frame.seq <= this.#cursor) {
      return;
    }
    this.#cursor = frame.seq;
    if (frame.type !== "reasoning_delta") {
      this.#frames.push(frame);
    }
    this.run.take(frame.type, frame.data, frame.timestamp);
    if (frame.type === "reasoning_complete") {
      events.close();
      this.#refresh();
    } else if (["reasoning_start", "approval_required", "approval_resolved", "action_required", "action_resolved"].includes(frame.type)) {
      this.#refresh();
    }
    this.#draw();
  }

  async #refresh() {
    const request = (this.#requests += 1);
    try {
      const row = await get(`/v1/runs/${encodeURIComponent(this.id)}`);
      if (request === this.#requests) {
        this.row = row; // an answer that was overtaken tells of the past
        this.#drawRow();
      }
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #drawRow() {
    const { page, row } = this;
    const usage = row.usage ?? {};
    setText(page["run-agent"], row.agent_name);
    page["run-status"].dataset.status = row.status;
    setText(page["run-status"], statusName(row.status));
    setText(page["run-created"], moment(row.created_at));
    setText(page["run-duration"], row.finished_at && row.started_at
      ? duration(new Date(row.finished_at) - new Date(row.started_at))
      : "–"); // prettier-ignore
    setText(page["run-model"], row.model ? [row.model, row.provider].filter(Boolean).join(" · ") : "–");
    setText(page["run-tokens"], gettext("{taken} in · {given} out tokens", {
      taken: number(usage.input_tokens ?? 0), given: number(usage.output_tokens ?? 0),
    })); // prettier-ignore
    setText(page["run-cost"], row.cost == null ? "–" : cost(row.cost));
    setText(page["run-context"], row.context_window
      ? gettext("{taken} of {all} tokens ({percent} %)", {
          taken: number(row.context_tokens), all: number(row.context_window),
          percent: percentOf(row.context_tokens, row.context_window),
        })
      : "–"); // prettier-ignore
    page["run-trigger"].replaceChildren(
      row.task_id ? link(gettext("a task"), `/tasks/?task=${encodeURIComponent(row.task_id)}`) : triggerName(row.trigger),
    );
    this.#drawSession(encodeURIComponent(row.session_id));
    page.cancel.hidden = Boolean(row.finished_at);
    page.player.hidden = !row.finished_at || this.#frames.length < 2;
  }

  // Drawn once: a link that is replaced again and again loses the keyboard's place, and clicks.
  #drawSession(session) {
    const place = this.page["run-session"];
    if (place.dataset.session === session) return;
    place.dataset.session = session;
    place.replaceChildren(
      link(gettext("Open"), `/chat/?session=${session}`), " · ",
      link(gettext("its runs"), `/runs/?session=${session}`),
    ); // prettier-ignore
  }

  #draw() {
    if (this.#drawing || this.#replay) {
      return;
    }
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.page.player.hidden = this.run.status === "running" || this.#frames.length < 2;
      if (!this.#replay) {
        this.#drawAt(this.run, Date.now() / 1000, null);
      }
    });
  }

  /** The run as it is at a moment; over the whole length of time where that is known. */
  #drawAt(run, now, whole) {
    const queuedAt = new Date(this.row.created_at) / 1000;
    const last = whole ?? (run.status === "running" ? Math.max(now, run.since) : run.since);
    this.transcript.draw({ changed: new Set([run]) });
    this.waterfall.draw(run, { from: queuedAt, to: last, now, queuedAt });
  }

  #show(item) {
    this.transcript.finish();
    const card = item && this.page.cards.querySelector(`[data-step="${item.step}"]`);
    if (card) {
      (card.querySelector("details") ?? card.closest("details"))?.setAttribute("open", "");
      card.scrollIntoView({ block: "center" });
      (card.closest("li").querySelector("summary") ?? card).focus();
    }
  }

  async #cancel() {
    try {
      await api("POST", `/v1/runs/${encodeURIComponent(this.id)}/cancel`, {});
    } catch (error) {
      this.#complain(error.message);
    }
  }

  /** The same message to the same agent, in the same chat. */
  async #again({ message, files, agent }) {
    try {
      const parts = files.length ? { parts: files } : {};
      const body = { message, ...parts, session_id: this.row.session_id };
      const { run_id: run } = await api("POST", `/v1/agents/${encodeURIComponent(agent)}/runs`, body);
      location.assign(`/runs/?run=${encodeURIComponent(run)}`);
    } catch (error) {
      this.#complain(error.message);
    }
  }

  async #send(path, answer) {
    try {
      await api("POST", path, answer);
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #complain(words) {
    this.page.problem.textContent = words;
    this.page.problem.hidden = false;
  }

  // The replay

  #play() {
    if (this.#replay && this.page.play.dataset.state === "playing") {
      this.#setPlaying(false);
      return;
    }
    if (!this.#replay || this.#replay.isOver) {
      this.#beginReplay();
    }
    this.#setPlaying(true);
    this.#played = performance.now();
    requestAnimationFrame((time) => this.#advance(time));
  }

  #beginReplay() {
    this.#replay = new Replay(this.#frames, this.run);
    this.transcript = this.#newTranscript();
  }

  #setPlaying(isPlaying) {
    this.page.play.dataset.state = isPlaying ? "playing" : "paused";
    setText(this.page.play, isPlaying ? gettext("Pause") : gettext("Replay"));
  }

  #advance(time) {
    if (this.page.play.dataset.state !== "playing") {
      return;
    }
    const passed = ((time - this.#played) / 1000) * Number(this.page.speed.value);
    this.#played = time;
    this.#goTo(this.#replay.at + Math.max(0, passed));
    if (this.#replay.isOver) {
      this.#setPlaying(false);
    } else {
      requestAnimationFrame((next) => this.#advance(next));
    }
  }

  #seek() {
    if (!this.#replay) {
      this.#beginReplay();
    }
    const { from, to } = this.#replay;
    this.#goTo(from + (Number(this.page.position.value) / 1000) * (to - from));
  }

  #goTo(moment) {
    const { from, to } = this.#replay;
    if (this.#replay.go(moment)) {
      this.transcript = this.#newTranscript();
    }
    this.page.position.value = to > from ? ((this.#replay.at - from) / (to - from)) * 1000 : 1000;
    this.#drawAt(this.#replay.run, this.#replay.at, to);
  }
}
