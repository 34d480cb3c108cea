// The page of tasks: all of them at the side, and the one that the address names, or a new one.

import { elementsById } from "../shared/dom.js";
import { TaskList } from "./list.js";
import { TaskView } from "./view.js";

const page = elementsById();
const asked = new URL(location.href).searchParams;
const id = asked.get("task");
const list = new TaskList({ page, current: id });

document.body.dataset.view = id || asked.has("new") ? "one" : "all";
if (id || asked.has("new")) {
  new TaskView({ page, id, changed: () => list.load() }).open();
}
