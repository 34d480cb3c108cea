// One tool of a server: what it says of itself, and a form to call it by hand.

import { api } from "../shared/api.js";
import { button, element } from "../shared/dom.js";
import { SchemaForm } from "../shared/schema_form.js";
import { gettext, number } from "../shared/words.js";

export function toolLine(server, tool) {
  const { tool: own, description, read_only: isReadOnly } = tool;
  const summary = element("summary", "", element("strong", "", own), " ", element("span", "quiet", description.split("\n", 1)[0]));
  const line = element("details", "tool-line", summary);
  line.addEventListener("toggle", () => line.open && line.childElementCount === 1 && line.append(...content(server, tool)), { once: true });
  if (isReadOnly) {
    summary.append(" ", element("span", "chip", gettext("Read-only")));
  }
  line.dataset.tool = own;
  return line;
}

function content(server, { tool, description, parameters }) {
  const form = element("form", "try");
  form.autocomplete = "off";
  const fields = new SchemaForm(parameters);
  const result = element("pre", "result");
  result.setAttribute("role", "status");
  result.hidden = true;
  const call = button(gettext("Call it"), "main", () => form.requestSubmit());
  form.append(fields.node, call, result);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    call.disabled = true;
    show(result, "busy", gettext("Running…"));
    try {
      const address = `/v1/mcp-servers/${encodeURIComponent(server)}/tools/${encodeURIComponent(tool)}/call`;
      const outcome = await api("POST", address, { arguments: fields.values() });
      const files = outcome.attachments.map((each) => `[${each.media_type}, ${number(each.size)} bytes]`);
      const words = [outcome.content, ...files].filter(Boolean).join("\n") || gettext("No output.");
      show(result, outcome.is_error ? "failed" : "ok", `${words}\n\n${number(outcome.duration_ms)} ms`);
    } catch (error) {
      show(result, "failed", error.message);
    } finally {
      call.disabled = false;
    }
  });
  const schema = element("details", "", element("summary", "quiet", gettext("Schema")), element("pre", "", JSON.stringify(parameters, null, 2)));
  return [element("p", "about", description), form, schema];
}

function show(place, state, words) {
  place.hidden = false;
  place.dataset.state = state;
  place.textContent = words;
}
