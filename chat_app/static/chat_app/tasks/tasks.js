// The page of tasks: all of them at the side, and the one that the address names, or a new one.

import { elementsById } from "../shared/dom.js";
import { TaskList } from "./list.js";
import { TaskView } from "./view.js";

const page = elementsById();
const query = new URL(location.href).searchParams;
const id = query.get("task");
const list = new TaskList({ page, current: id });

document.body.dataset.view = id || query.has("new") ? "one" : "all";
if (id || query.has("new")) {
  new TaskView({ page, id, changed: () => list.load() }).open();
}
