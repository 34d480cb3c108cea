// The tools of an agent: those built in, and those of each server, each off, allowed, or asked for first.

import { button, element } from "../shared/dom.js";
import { gettext } from "../shared/words.js";
import { patternsFor, stateOf } from "./tool_patterns.js";

const STATES = { off: gettext("Off"), allow: gettext("Allow"), ask: gettext("Ask first") };

export class ToolTree {
  #states = new Map(); // of each tool that is shown
  #servers = new Map(); // the server of each tool; null for one built in

  /** `onChange()` is called with each choice of a person. */
  constructor({ place, choices, onChange }) {
    this.place = place;
    this.choices = choices;
    this.onChange = onChange;
  }

  show(agent) {
    this.agent = agent;
    const builtin = this.choices.builtin_tools;
    this.#learn(builtin, null, (name) => agent.builtin_tools.includes(name));
    const groups = [this.#group(gettext("Built in"), "", builtin)];
    for (const server of this.choices.mcp_servers) {
      const tools = toolsOf(server);
      this.#learn(tools, server.name, () => agent.mcp_servers.includes(server.name));
      groups.push(this.#group(server.name, server.description, tools));
    }
    this.place.replaceChildren(...groups);
  }

  /** The fields of the agent that hold the choice. */
  values() {
    const isOn = (name) => this.#states.get(name) !== "off";
    const shown = this.choices.mcp_servers.map(({ name }) => name);
    const others = this.agent.mcp_servers.filter((name) => !shown.includes(name)); // for example disabled ones
    const servers = shown.filter((server) => [...this.#servers].some(([tool, of]) => of === server && isOn(tool)));
    const builtin = this.choices.builtin_tools.map(({ name }) => name).filter(isOn);
    const isThere = (name) => {
      const server = this.#servers.get(name);
      return server === null ? builtin.includes(name) : servers.includes(server);
    };
    return {
      builtin_tools: builtin,
      mcp_servers: [...others, ...servers],
      ...patternsFor(this.agent, this.#states, isThere),
    };
  }

  #learn(tools, server, isThere) {
    for (const { name } of tools) {
      this.#servers.set(name, server);
      this.#states.set(name, stateOf(this.agent, name, isThere(name)));
    }
  }

  #group(title, description, tools) {
    const count = element("span", "quiet");
    const list = element("ul");
    const selects = tools.map((tool) => this.#select(tool, () => drawCount()));
    const drawCount = () => {
      const on = tools.filter(({ name }) => this.#states.get(name) !== "off").length;
      count.textContent = gettext("{on} of {all}", { on, all: tools.length });
    };
    const setAll = (state) => {
      tools.forEach(({ name }, index) => {
        this.#states.set(name, state);
        selects[index].value = state;
        selects[index].dataset.state = state;
      });
      drawCount();
      this.onChange();
    };
    list.append(...tools.map((tool, index) => line(tool, selects[index])));
    drawCount();
    const heading = element("summary", "", element("strong", "", title), " ", count);
    const verbs = element("p", "verbs-of-group", button(gettext("Allow all"), "link", () => setAll("allow")));
    verbs.append(button(gettext("All off"), "link", () => setAll("off")));
    const group = element("details", "tool-group", heading);
    if (description) {
      group.append(element("p", "quiet", description));
    }
    group.append(verbs, list);
    group.open = tools.some(({ name }) => this.#states.get(name) !== "off");
    return group;
  }

  #select({ name, label }, drawCount) {
    const select = element("select");
    select.setAttribute("aria-label", label);
    select.append(...Object.entries(STATES).map(([value, words]) => new Option(words, value)));
    select.value = select.dataset.state = this.#states.get(name);
    select.addEventListener("change", () => {
      this.#states.set(name, select.value);
      select.dataset.state = select.value;
      drawCount();
      this.onChange();
    });
    return select;
  }
}

/** A server that was never checked has tools that nobody knows: they are chosen together. */
function toolsOf({ name, tools }) {
  return tools.length ? tools : [{ name: `${name}__*`, label: gettext("All its tools") }];
}

function line({ name, label }, select) {
  const words = element("span", "tool-label", label);
  words.title = name;
  return element("li", "", words, select);
}
