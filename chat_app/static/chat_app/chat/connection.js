// One WebSocket that comes back: with backoff and jitter, and not where coming back is of no use.

import { exact } from "./json.js";

const HOPELESS = new Set([4400, 4401, 4403, 4404]);
const FIRST_DELAY = 500;
const LONGEST_DELAY = 15_000;
const PATIENCE = 10_000; // until the server's first frame
const DOUBT = 3_000; // until it answers where the connection may have been lost without a word
const SETTLED = 5_000; // a connection that lasted this long was a good one

export class Connection {
  #socket = null;
  #attempt = 0;
  #retry = 0;
  #watch = 0;
  #settled = 0;
  #heartbeat = 30_000;
  #ready = false;

  /**
   * `address()` is asked at each attempt; `onFrame(frame)` gets each frame; `onState(name, detail)` hears
   * "connecting", "connected", "waiting" (with the time of the next attempt) and "closed" (with the code).
   */
  constructor({ address, onFrame, onState }) {
    this.address = address;
    this.onFrame = onFrame;
    this.onState = onState;
    addEventListener("online", () => this.#doubt());
    document.addEventListener("resume", () => this.#doubt()); // the tab was suspended
    document.addEventListener("visibilitychange", () => !document.hidden && this.#doubt());
  }

  /** The network or the tab is back: connect at once; what seems to be a connection may have been lost meanwhile. */
  #doubt() {
    if (this.#retry) {
      this.open();
    } else if (this.send("ping", {})) {
      this.#expectFrame(DOUBT, () => this.open());
    }
  }

  open() {
    this.#forgetTimers();
    this.onState("connecting");
    const socket = new WebSocket(this.address());
    this.#socket = socket;
    this.#expectFrame(PATIENCE);
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(exact(data));
    socket.onclose = ({ code }) => socket === this.#socket && this.#closed(code);
  }

  /** Send a message. Returns false where there is nobody to send it to. */
  send(type, payload) {
    if (!this.#ready) {
      return false;
    }
    this.#socket.send(JSON.stringify({ type, payload }));
    return true;
  }

  #receive(frame) {
    this.#expectFrame(this.#heartbeat * 2.5);
    if (frame.type === "connected") {
      this.#ready = true;
      this.#heartbeat = (frame.data.heartbeat_interval ?? 30) * 1000;
      this.#settled = setTimeout(() => (this.#attempt = 0), SETTLED);
      this.onState("connected");
    } else if (frame.type === "ping") {
      this.send("pong", { timestamp: frame.data?.timestamp });
    }
    this.onFrame(frame);
  }

  /** A server that says nothing for so long is gone, whatever the network believes. */
  #expectFrame(milliseconds, then = () => {}) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      this.#socket.close();
      this.#closed(1006);
      then();
    }, milliseconds);
  }

  #closed(code) {
    this.#forgetTimers();
    this.#socket = null;
    this.#ready = false;
    if (HOPELESS.has(code)) {
      this.onState("closed", code);
      return;
    }
    const longest = Math.min(FIRST_DELAY * 2 ** this.#attempt, LONGEST_DELAY);
    const delay = longest * (0.5 + Math.random() / 2);
    this.#attempt += 1;
    this.#retry = setTimeout(() => this.open(), delay);
    this.onState("waiting", { until: Date.now() + delay, code });
  }

  #forgetTimers() {
    for (const timer of [this.#retry, this.#watch, this.#settled]) {
      clearTimeout(timer);
    }
    this.#retry = 0;
  }
}
