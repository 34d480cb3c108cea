// One MCP server: whether it works, and its tools.

import { api, get } from "../shared/api.js";
import { button, element, link } from "../shared/dom.js";
import { gettext, moment, ngettext } from "../shared/words.js";
import { toolLine } from "./tool_line.js";

export class ServerCard {
  /** `onRemove()` and `onChanged()` are called when a person wants to delete the server, or has changed it. */
  constructor(server, { onRemove, onChanged }) {
    this.server = server;
    this.onChanged = onChanged;
    this.address = `/v1/mcp-servers/${encodeURIComponent(server.name)}`;
    this.status = element("p", "status");
    this.status.setAttribute("role", "status");
    this.tools = element("div", "tools");
    const title = element("h2", "", server.name);
    const verbs = element("p", "verbs", button(gettext("Connect"), "link", () => this.check()));
    verbs.append(button(gettext("Show tools"), "link", () => this.showTools()));
    verbs.append(this.#switch("enabled", gettext("Disable"), gettext("Enable")));
    verbs.append(this.#switch("open_to_users", gettext("Close to users"), gettext("Open to users")));
    const { admin } = document.body.dataset;
    if (admin) {
      verbs.append(link(gettext("All settings"), `${admin}agents_app/mcpserver/?q=${encodeURIComponent(server.name)}`));
    }
    verbs.append(button(gettext("Delete"), "link", onRemove));
    this.node = element("li", "", element("div", "head", title, ...this.#chips()), this.#facts(), this.status, this.tools, verbs);
    this.node.dataset.server = server.name;
    this.#drawStatus();
  }

  #switch(field, off, on) {
    return button(this.server[field] ? off : on, "link", async () => {
      await this.#attempt(() => api("PATCH", this.address, { [field]: !this.server[field] }));
      this.onChanged();
    });
  }

  #chips() {
    const { enabled, open_to_users: isOpen } = this.server;
    const words = [!enabled && gettext("Disabled"), isOpen && gettext("Open to users")];
    return words.filter(Boolean).map((each) => element("span", "chip", each));
  }

  #facts() {
    const { transport, command, args, url } = this.server;
    return element("p", "quiet mono", transport === "stdio" ? [command, ...args].join(" ") : url);
  }

  #drawStatus() {
    const { check_ok: isOk, check_message: message, checked_at: at, tool_names: tools } = this.server;
    if (isOk === null) {
      this.#say("", gettext("Not connected yet"));
    } else if (isOk) {
      this.#say("ok", `✓ ${ngettext("{count} tool", "{count} tools", tools.length)} · ${moment(at)}`);
    } else {
      this.#say("failed", `✗ ${message}`);
    }
  }

  /** Connect, and show the tools that it has. */
  async check() {
    this.#say("busy", gettext("Connecting…"));
    const isDone = await this.#attempt(async () => {
      await api("POST", `${this.address}/check`);
      this.server = await get(this.address);
      this.#drawStatus();
    });
    if (isDone && this.server.check_ok) {
      await this.showTools();
    }
  }

  async showTools() {
    await this.#attempt(async () => {
      const { data } = await get(`${this.address}/tools`);
      this.tools.replaceChildren(...data.map((tool) => toolLine(this.server.name, tool)));
    });
  }

  async #attempt(act) {
    try {
      await act();
      return true;
    } catch (error) {
      this.#say("failed", error.message);
      return false;
    }
  }

  #say(state, words) {
    this.status.dataset.state = state;
    this.status.textContent = words;
  }
}
