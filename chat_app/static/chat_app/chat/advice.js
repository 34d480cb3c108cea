// What to do about a failure: a sentence, and for administrators the place to do it.

import { element, link } from "../shared/dom.js";
import { gettext } from "../shared/words.js";

const PROVIDERS = ["agents_app/provider/", gettext("Open the providers")];
const AGENTS = ["agents_app/agent/", gettext("Open the agents")];
const SERVERS = ["agents_app/mcpserver/", gettext("Open the MCP servers")];

const ADVICE = {
  no_provider: [gettext("No model is set up yet. Add a provider and mark it as the default, then ask again."), PROVIDERS],
  no_local_model: [gettext("The model's file is missing. Set another provider as the default, then ask again."), PROVIDERS],
  local_model_broken: [gettext("The model's file cannot be used. Set another provider as the default."), PROVIDERS],
  unsupported_provider: [gettext("Choose a provider of another kind for this agent."), AGENTS],
  model_key_refused: [gettext("Put the right API key into the provider, then ask again."), PROVIDERS],
  model_unreachable: [gettext("Check that the model's server runs and that the provider's address is right."), PROVIDERS],
  model_bad_answer: [gettext("Check the provider's address: it usually ends in /v1."), PROVIDERS],
  model_timeout: [gettext("The model's server is overloaded or gone. Try again in a moment.")],
  model_unavailable: [gettext("The model's server has trouble. Try again in a moment.")],
  model_rate_limited: [gettext("The provider's limit is reached. Wait a moment, then ask again.")],
  model_refused: [gettext("Check the model's name and the parameters of the agent."), AGENTS],
  context_length_exceeded: [gettext("Begin a new chat, or choose an agent whose model remembers more.")],
  max_iterations: [gettext("Ask for less at once, or raise the agent's limit of model turns."), AGENTS],
  max_tokens: [gettext("Raise the agent's limit of tokens for one answer."), AGENTS],
  max_total_tokens: [gettext("Ask for less at once, or raise the agent's limit of tokens."), AGENTS],
  timeout: [gettext("Ask for less at once, or raise the agent's time limit."), AGENTS],
  agent_not_found: [gettext("Choose another agent.")],
  tools_unavailable: [gettext("The agent goes on without these tools. Check that the MCP server runs."), SERVERS],
  tools_changed: [gettext("Read what these tools do now. A check of the MCP server accepts it."), SERVERS],
};

/** A line of advice about the failure of that code; null where there is none to give. */
export function adviceFor(code) {
  if (!Object.hasOwn(ADVICE, code ?? "")) {
    return null;
  }
  const [words, place] = ADVICE[code];
  const line = element("p", "advice", words);
  const { admin } = document.body.dataset;
  if (place && admin) {
    const [path, name] = place;
    line.append(" ", link(name, `${admin}${path}`));
  }
  return line;
}
