// The page of tools: MCP servers, added by pasting what their README says.

import { api, getAll } from "../shared/api.js";
import { elementsById } from "../shared/dom.js";
import { gettext } from "../shared/words.js";
import { serversOf } from "./pasting.js";
import { ServerCard } from "./server_card.js";

const page = elementsById();

/** Show all servers, and connect to those of the names, which have just been added. */
async function load(added = []) {
  let servers;
  try {
    servers = await getAll("/v1/mcp-servers");
  } catch (error) {
    complain(page.problem, error);
    return;
  }
  const cards = servers.map((server) => new ServerCard(server, { onRemove: () => remove(server), onChanged: () => load() }));
  page.servers.replaceChildren(...cards.map((card) => card.node));
  page["no-servers"].hidden = cards.length > 0;
  await Promise.all(cards.filter((card) => added.includes(card.server.name)).map((card) => card.check()));
}

async function add() {
  page["paste-problem"].hidden = true;
  page["add-server"].disabled = true;
  const added = [];
  try {
    const servers = serversOf(page.paste.value);
    for (const server of servers) {
      added.push((await create(server)).name);
    }
    page.paste.value = "";
  } catch (error) {
    complain(page["paste-problem"], error);
  } finally {
    page["add-server"].disabled = false;
  }
  if (added.length) {
    await load(added);
  }
}

async function create(server) {
  try {
    return await api("POST", "/v1/mcp-servers", server);
  } catch (error) {
    const words = Object.entries(error.fields).map(([field, sentences]) => `${field}: ${[sentences].flat().join(" ")}`);
    throw new Error(gettext("{name}: {problem}", { name: server.name, problem: words.join(" ") || error.message }));
  }
}

function remove(server) {
  const { "delete-dialog": dialog, "delete-name": name } = page;
  name.textContent = server.name;
  dialog.returnValue = "";
  dialog.onclose = async () => {
    if (dialog.returnValue === "delete") {
      try {
        await api("DELETE", `/v1/mcp-servers/${encodeURIComponent(server.name)}`);
        await load();
      } catch (error) {
        complain(page.problem, error);
      }
    }
  };
  dialog.showModal();
}

function complain(place, error) {
  place.textContent = error.message;
  place.hidden = false;
}

page["paste-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  add();
});
await load();
