// A run that has ended, once more: each frame at its time, and what the model wrote as gradually as it took.

import { Run } from "./fold.js";

export class Replay {
  #taken = 0;
  #written = new Map(); // of the steps being written: how much is shown

  /** `whole` is the run with all its frames; they are in order. */
  constructor(frames, whole) {
    this.frames = frames;
    this.whole = whole;
    this.from = frames[0].timestamp;
    this.to = frames.at(-1).timestamp;
    this.#begin();
  }

  #begin() {
    this.run = new Run(this.whole.id);
    this.at = this.from;
    this.#taken = 0;
    this.#written.clear();
  }

  /** Show the run as it was at that moment. Returns whether it began anew, for going back. */
  go(moment) {
    const isBack = moment < this.at;
    if (isBack) {
      this.#begin();
    }
    this.at = Math.min(moment, this.to);
    while (this.#taken < this.frames.length && this.frames[this.#taken].timestamp <= this.at) {
      const { type, data, timestamp } = this.frames[this.#taken];
      this.run.take(type, data, timestamp);
      this.#taken += 1;
    }
    this.#write();
    return isBack;
  }

  get isOver() {
    return this.#taken === this.frames.length;
  }

  /** The part of each step under way that was there by now, as if its text had come evenly. */
  #write() {
    for (const frame of this.frames.slice(this.#taken)) {
      const { type, data } = frame;
      const began = type === "reasoning_step" && this.#beginning(data.step);
      if (began && began < this.at) {
        this.#writeStep(data, (this.at - began) / (frame.timestamp - began));
      }
    }
  }

  #beginning(step) {
    return this.whole.items.find((item) => item.kind === "step" && item.step === step)?.startedAt;
  }

  #writeStep({ step, type, iteration, content }, share) {
    const all = Array.from(content); // code points, which offsets count
    const before = this.#written.get(step) ?? 0;
    const now = Math.floor(all.length * share);
    if (now > before) {
      this.#written.set(step, now);
      const piece = all.slice(before, now).join("");
      this.run.take("reasoning_delta", { step, type, iteration, offset: before, content: piece }, this.at);
    }
  }
}
