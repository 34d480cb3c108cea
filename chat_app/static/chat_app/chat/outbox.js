// Messages that the log does not show yet. They survive a lost connection and a reload of the page; the server
// knows a message by its id, so sending one again is harmless.

export class Outbox {
  #key;
  #entries;

  constructor(sessionId) {
    this.#key = `outbox:${sessionId}`;
    this.#entries = JSON.parse(sessionStorage.getItem(this.#key) ?? "[]").map((payload) => ({ payload, sent: false }));
  }

  get payloads() {
    return this.#entries.map((entry) => entry.payload);
  }

  get hasSent() {
    return this.#entries.some((entry) => entry.sent);
  }

  add(payload) {
    this.#entries.push({ payload, sent: false });
    this.#save();
  }

  /** Send, in their order, those that this connection has not been given. */
  send(give) {
    for (const entry of this.#entries.filter((each) => !each.sent)) {
      if (!(entry.sent = give(entry.payload))) {
        return;
      }
    }
  }

  /** Nobody knows what the last connection still carried. */
  forgetSent() {
    for (const entry of this.#entries) {
      entry.sent = false;
    }
  }

  /** The message is in the log, or not wanted any more. Returns it where it was here. */
  remove(messageId) {
    const entry = this.#entries.find((each) => each.payload.message_id === messageId);
    if (entry) {
      this.#entries.splice(this.#entries.indexOf(entry), 1);
      this.#save();
    }
    return entry?.payload;
  }

  /** The message that an error is about: the one that it names, else the newest that was sent. */
  refused(messageId) {
    const sent = this.#entries.filter((entry) => entry.sent);
    return sent.find((entry) => entry.payload.message_id === messageId) ?? sent.at(-1);
  }

  #save() {
    sessionStorage.setItem(this.#key, JSON.stringify(this.payloads));
  }
}
