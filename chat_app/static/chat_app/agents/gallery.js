// All agents, each on a card, and what may be done with it.

import { api, getAll } from "../shared/api.js";
import { element, link } from "../shared/dom.js";
import { problemsOf, showProblems } from "../shared/form_problems.js";
import { gettext } from "../shared/words.js";

export class Gallery {
  #agents = [];

  constructor(page) {
    this.page = page;
    page["agent-search"].addEventListener("input", () => this.#draw());
    page["new-agent"]?.addEventListener("click", () => this.#openDialog());
    page["new-form"].addEventListener("submit", (event) => {
      event.preventDefault();
      this.#create();
    });
    page["cancel-new"].addEventListener("click", () => page["new-dialog"].close());
  }

  async load() {
    try {
      this.#agents = await getAll("/v1/agents");
    } catch (error) {
      this.page.problem.textContent = error.message;
      this.page.problem.hidden = false;
      return;
    }
    this.#draw();
  }

  #draw() {
    const words = this.page["agent-search"].value.trim().toLowerCase();
    const shown = this.#agents.filter((agent) => !words || searched(agent).includes(words));
    shown.sort((one, other) => other.is_default - one.is_default || other.enabled - one.enabled);
    this.page.gallery.replaceChildren(...shown.map(card));
    this.page["no-agents"].hidden = shown.length > 0;
  }

  #openDialog() {
    showProblems(this.page["new-form"], {}, this.page["new-problem"]);
    this.page["new-dialog"].showModal();
  }

  async #create() {
    const form = this.page["new-form"];
    try {
      const agent = await api("POST", "/v1/agents", { name: form.elements.name.value.trim() });
      location.assign(`?agent=${encodeURIComponent(agent.name)}`);
    } catch (error) {
      showProblems(form, problemsOf(error), this.page["new-problem"]);
    }
  }
}

function searched({ name, role, description, owner }) {
  return [name, role, description, owner].join("\n").toLowerCase();
}

function card(agent) {
  const address = encodeURIComponent(agent.name);
  const title = element("h2", "", agent.name);
  title.dir = "auto";
  const words = element("p", "about", agent.description || agent.role);
  words.dir = "auto";
  const verbs = element("p", "verbs");
  if (agent.enabled) {
    verbs.append(link(gettext("Chat"), `/chat/?agent=${address}`));
  }
  if (agent.is_editable) {
    verbs.append(link(gettext("Edit"), `?agent=${address}`));
  }
  const made = element("li", "", element("div", "head", title, ...chips(agent)), words, verbs);
  made.dataset.agent = agent.name;
  return made;
}

function chips(agent) {
  const words = [
    agent.is_default && gettext("Default"),
    !agent.enabled && gettext("Disabled"),
    agent.owner && gettext("by {name}", { name: agent.owner }),
    agent.access === "restricted" && gettext("Restricted"),
  ];
  return words.filter(Boolean).map((each) => element("span", "chip", each));
}
