// What to do about a failure: a sentence, and for administrators the place to do it.

import { element, link } from "../shared/dom.js";
import { gettext } from "../shared/words.js";

const PROVIDERS = ["/models/", gettext("Open models")];
const AGENTS = ["/agents/", gettext("Open agents")];
const SERVERS = ["/tools/", gettext("Open tools")];

const ADVICE = {
  no_provider: [gettext("No model is set up yet. Add a provider and mark it as the default, then ask again."), PROVIDERS],
  no_local_model: [gettext("The model's file is missing. Set another provider as the default, then ask again."), PROVIDERS],
  local_model_broken: [gettext("The model's file cannot be used. Set another provider as the default."), PROVIDERS],
  unsupported_provider: [gettext("Choose a provider of another kind for this agent."), AGENTS],
  model_key_refused: [gettext("Check the provider's API key, then try again."), PROVIDERS],
  model_unreachable: [gettext("Check that the model server is running and the base URL is correct."), PROVIDERS],
  model_bad_answer: [gettext("Check the provider's address: it usually ends in /v1."), PROVIDERS],
  model_timeout: [gettext("The provider isn't responding. Try again in a moment.")],
  model_unavailable: [gettext("The provider is having problems. Try again in a moment.")],
  model_rate_limited: [gettext("The provider's limit is reached. Wait a moment, then ask again.")],
  model_refused: [gettext("Check the model's name and the parameters of the agent."), AGENTS],
  context_length_exceeded: [gettext("Start a new chat, or pick an agent whose model has a larger context window.")],
  max_iterations: [gettext("Break the request into smaller parts, or raise the agent's step limit."), AGENTS],
  max_tokens: [gettext("Increase the agent's max output tokens."), AGENTS],
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
  if (place && "superuser" in document.body.dataset) {
    const [address, name] = place;
    line.append(" ", link(name, address));
  }
  return line;
}
