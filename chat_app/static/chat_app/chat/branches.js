// The tree of a session's runs, and the path through it that models are told: PROTOCOL, "Branches and forks".

export class Branches {
  changed = false; // whether the path leads elsewhere, or a run has another version, since this was set to false
  #runs = new Map(); // by their numbers
  #following = new Map(); // the runs that continue the same run, by its number
  #head = 0;
  #newest = 0;

  /** A run has begun. A log from before runs had numbers has them in their order. */
  add(run, { number = this.#newest + 1, follows = number - 1 }) {
    run.number = number;
    run.follows = follows;
    this.#runs.set(number, run);
    this.#following.set(follows, [...this.versions(run), run]);
    this.changed ||= number < this.#newest || follows !== this.#head || this.versions(run).length > 1;
    if (number > this.#newest) {
      this.#head = this.#newest = number;
    }
  }

  /** Another end of the path was chosen. */
  choose({ head, newest }) {
    this.#head = head;
    this.#newest = newest;
    this.changed = true;
  }

  /** The runs that lead to the end, the first one first. */
  path() {
    const runs = [];
    for (let at = this.#head; at > 0; ) {
      const run = this.#runs.get(at);
      if (run) {
        runs.push(run);
      }
      at = run ? Math.min(run.follows, at - 1) : at - 1;
    }
    return runs.reverse();
  }

  /** The runs that continue the same run as this one, itself among them. */
  versions(run) {
    return this.#following.get(run.follows) ?? [];
  }
}
