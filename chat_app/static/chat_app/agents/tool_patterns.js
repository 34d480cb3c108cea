// Which tools an agent has, as its patterns say it; and the patterns that say what was chosen.

/** Whether a name matches a pattern of the server: `*`, `?`, `[abc]`, `[!abc]`. */
export function matches(pattern, name) {
  const source = pattern.replace(/\[(!?)([^\]]+)\]|[*?]|[.+^${}()|\\[\]]/g, (whole, not, set) => {
    if (set) {
      return `[${not ? "^" : ""}${set.replace(/[\\^]/g, "\\$&")}]`;
    }
    return { "*": ".*", "?": "." }[whole] ?? `\\${whole}`;
  });
  return new RegExp(`^${source}$`, "s").test(name);
}

const matchesAny = (patterns, name) => patterns.some((pattern) => matches(pattern, name));

/** What an agent may do with a tool: "off", "allow" or "ask". `isThere`: the agent has the server, or the built-in tool. */
export function stateOf(agent, name, isThere) {
  const isAllowed = !agent.allowed_tools.length || matchesAny(agent.allowed_tools, name);
  if (!isThere || !isAllowed || matchesAny(agent.denied_tools, name)) {
    return "off";
  }
  return matchesAny(agent.approval_required, name) ? "ask" : "allow";
}

/**
 * The patterns that give each tool of `states`, a Map, its state. Patterns of the agent that still hold stay as they are:
 * they are meant for tools to come, too. `isThere(name)`: the agent has the tool's server, so that "off" has to be said.
 */
export function patternsFor(agent, states, isThere) {
  const names = [...states.keys()].filter(isThere);
  const inState = (...wanted) => names.filter((name) => wanted.includes(states.get(name)));
  const off = inState("off");
  const on = inState("allow", "ask");
  const allowed = agent.allowed_tools.length ? keep(agent.allowed_tools, on, []) : [];
  const stillOff = allowed.length ? off.filter((name) => matchesAny(allowed, name)) : off;
  return {
    allowed_tools: allowed,
    denied_tools: keep(agent.denied_tools, stillOff, on),
    approval_required: keep(agent.approval_required, inState("ask"), inState("allow")),
  };
}

/** `patterns` without those that match one of `not`, and with the `names` that they do not match any more. */
function keep(patterns, names, not) {
  const kept = patterns.filter((pattern) => !not.some((name) => matches(pattern, name)));
  return [...kept, ...names.filter((name) => !matchesAny(kept, name))];
}
