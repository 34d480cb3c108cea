// The picker of agents.

import { getAll } from "../shared/api.js";

export class AgentPicker {
  #choice = null; // who was chosen, perhaps before the list was there
  #loaded = false;

  /** `chosen(name)` is called where a person, or a link, has chosen. */
  constructor(select, chosen) {
    this.select = select;
    this.chosen = chosen;
    select.addEventListener("change", () => this.choose(select.value));
  }

  /** Who answers the next message: the choice counts while the list is on its way, too. */
  get value() {
    return this.#loaded ? this.select.value : (this.#choice ?? this.select.value);
  }

  /** Choose an agent, now or once the list is there; one that is not in it leaves the choice as it was. */
  choose(name) {
    this.#choice = name;
    this.#show(name);
    this.chosen(name);
  }

  #show(name) {
    if ([...this.select.options].some((option) => option.value === name)) {
      this.select.value = name;
    }
  }

  /** Fill the list, once. `agentName` is chosen where nobody has chosen yet. */
  async load(agentName) {
    if (this.#loaded) {
      return;
    }
    try {
      const agents = await getAll("/v1/agents");
      this.#fill(agents.filter((agent) => agent.enabled), agentName);
      this.#loaded = true;
    } catch (error) {
      // The default agent answers meanwhile; the next connection asks again.
      console.warn("The list of agents could not be had:", error);
    }
  }

  #fill(agents, agentName) {
    const options = agents.map((agent) => {
      const option = new Option(agent.role ? `${agent.name} · ${agent.role}` : agent.name, agent.name);
      option.title = agent.description ?? "";
      return option;
    });
    const choice = this.#choice;
    if (choice?.includes("@")) {
      options.push(new Option(choice, choice)); // a version, or a draft
    }
    if (!options.length) {
      return;
    }
    this.select.replaceChildren(...options);
    this.select.disabled = false;
    this.#show(this.#choice ?? agentName);
  }
}
