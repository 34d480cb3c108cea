// The page of runs: all of them at the side, and the one that the address names.

import { elementsById } from "../shared/dom.js";
import { RunList } from "./list.js";
import { RunView } from "./view.js";

const page = elementsById();
const id = new URL(location.href).searchParams.get("run");

document.body.dataset.view = id ? "one" : "all";
new RunList({ page, current: id });
if (id) {
  new RunView({ page, id }).open();
}
