// Asks the server to render the Markdown of steps that have ended: of those whose list is, or will soon be, in sight.

const NEARBY = "800px 0px";
const MOST_AT_ONCE = 50;
const PATIENCE = 2000; // before it asks again where the server could not answer

export class Rendering {
  #queues = new Map(); // of each run: cards by the name of their step
  #waiting = new WeakMap(); // of each list: its cards
  #inSight = new WeakSet();
  #asking = false;

  /** `changed()` is called after cards were rendered. */
  constructor(changed) {
    this.changed = changed;
    this.observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: NEARBY });
  }

  watch(card) {
    const list = card.element.parentElement;
    card.element.dataset.rendering = "wanted";
    if (this.#inSight.has(list)) {
      this.#want(card);
      this.#ask();
      return;
    }
    const waiting = this.#waiting.get(list) ?? new Set();
    waiting.add(card);
    this.#waiting.set(list, waiting);
    this.observer.observe(list);
  }

  #seen(entries) {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) {
        this.observer.unobserve(target);
        this.#inSight.add(target); // and from now on it counts as that
        this.#waiting.get(target).forEach((card) => this.#want(card));
        this.#waiting.delete(target);
      }
    }
    this.#ask();
  }

  #want(card) {
    if (card.isCutOff) {
      card.renderBlocks();
      return;
    }
    card.preview();
    const cards = this.#queues.get(card.run.id) ?? new Map();
    cards.set(card.item.kind === "response" ? "answer" : String(card.item.step), card);
    this.#queues.set(card.run.id, cards);
  }

  async #ask() {
    if (this.#asking) {
      return;
    }
    this.#asking = true;
    try {
      while (this.#queues.size) {
        const [runId, cards] = this.#queues.entries().next().value;
        await this.#askFor(runId, cards);
      }
    } catch (error) {
      console.warn("Steps could not be rendered:", error);
      setTimeout(() => this.#ask(), PATIENCE);
    } finally {
      this.#asking = false;
    }
  }

  #giveUp(cards, name) {
    delete cards.get(name).element.dataset.rendering;
    cards.delete(name);
  }

  async #askFor(runId, cards) {
    const names = [...cards.keys()].slice(0, MOST_AT_ONCE);
    const response = await fetch(`/chat/runs/${encodeURIComponent(runId)}/steps?step=${names}`);
    if (response.status >= 500) {
      throw new Error(`HTTP ${response.status}`);
    }
    const { data } = response.ok ? await response.json() : { data: [] };
    const answers = data.flatMap((step) => [[String(step.step), step], ...(step.is_answer ? [["answer", step]] : [])]);
    const present = answers.filter(([name]) => cards.has(name));
    for (const [name, step] of present) {
      cards.get(name).render(step);
      cards.delete(name);
    }
    if (!present.length) {
      names.forEach((name) => this.#giveUp(cards, name)); // the server does not have them
    }
    if (!cards.size) {
      this.#queues.delete(runId);
    }
    this.changed();
  }
}
