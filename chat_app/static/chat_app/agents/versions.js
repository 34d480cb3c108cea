// The versions of an agent: who changed what, and back to one of them.

import { api, get } from "../shared/api.js";
import { button, element } from "../shared/dom.js";
import { gettext, moment } from "../shared/words.js";

const SHOWN = 20;

export class Versions {
  /** `onRestored()` is called when the agent has an earlier version again. */
  constructor({ page, name, onRestored }) {
    this.page = page;
    this.address = `/v1/agents/${encodeURIComponent(name)}/versions`;
    this.onRestored = onRestored;
    page.versions.addEventListener("toggle", () => page.versions.open && this.load());
  }

  async load() {
    const { data } = await get(`${this.address}?limit=${SHOWN}`);
    this.page["version-list"].replaceChildren(...data.map((version) => this.#line(version)));
  }

  #line({ version, is_current: isCurrent, created_at: at, created_by: by, note }) {
    const facts = [gettext("Version {number}", { number: version }), moment(at), by, note].filter(Boolean).join(" · ");
    const line = element("li", "", element("p", "", facts));
    if (isCurrent) {
      line.firstChild.append(" ", element("span", "chip", gettext("Current")));
      return line;
    }
    const verbs = element("p", "verbs");
    verbs.append(button(gettext("Compare"), "link", () => this.#compare(version, line)));
    verbs.append(button(gettext("Restore"), "link", () => this.#restore(version)));
    line.append(verbs);
    return line;
  }

  async #compare(version, line) {
    line.querySelector("dl")?.remove();
    const { data } = await get(`${this.address}?limit=1`);
    const [before, now] = await Promise.all(
      [version, data[0].version].map(async (number) => (await get(`${this.address}/${number}`)).spec),
    );
    const list = element("dl", "changes");
    for (const name of Object.keys(now).filter((each) => JSON.stringify(before[each]) !== JSON.stringify(now[each]))) {
      list.append(element("dt", "", name), element("dd", "", element("del", "", text(before[name]))));
      list.append(element("dd", "", element("ins", "", text(now[name]))));
    }
    if (!list.children.length) {
      list.append(element("dd", "quiet", gettext("No differences.")));
    }
    line.append(list);
  }

  async #restore(version) {
    await api("POST", `${this.address}/${version}/activate`, {});
    this.onRestored();
  }
}

function text(value) {
  return typeof value === "string" ? value || "–" : JSON.stringify(value);
}
