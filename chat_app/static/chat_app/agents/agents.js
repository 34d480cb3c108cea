// The page of agents: all of them, or the one that the address names.

import { elementsById } from "../shared/dom.js";
import { AgentEditor } from "./editor.js";
import { Gallery } from "./gallery.js";

const page = elementsById();
const name = new URL(location.href).searchParams.get("agent");

page.all.hidden = Boolean(name);
if (name) {
  new AgentEditor({ page, name }).open();
} else {
  new Gallery(page).load();
}
