// The page of runs: all of them at the side, and the one that the address names.

import { elementsById } from "./dom.js";
import { RunList } from "./run_list.js";
import { RunView } from "./run_view.js";

const page = elementsById();
const id = new URL(location.href).searchParams.get("run");

document.body.dataset.view = id ? "one" : "all";
new RunList({ page, current: id });
if (id) {
  new RunView({ page, id }).open();
}
