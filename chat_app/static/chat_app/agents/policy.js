// What an agent may do and reach, as its saved version has it.

import { get } from "../shared/api.js";
import { element } from "../shared/dom.js";

export class Policy {
  constructor({ page, name }) {
    this.page = page;
    this.address = `/v1/agents/${encodeURIComponent(name)}/policy`;
    page.policy.addEventListener("toggle", () => page.policy.open && this.load());
  }

  async load() {
    const { rules } = await get(this.address);
    const servers = Map.groupBy(rules, ({ server }) => server);
    const lists = [...servers].map(([server, lines]) => {
      const list = element("ul", "", ...lines.map(({ text }) => element("li", "", text)));
      return server ? [element("p", "server", server), list] : [list];
    });
    this.page["policy-rules"].replaceChildren(...lists.flat());
  }
}
