// A picture as large as the window. A native dialog: Escape closes it, and the focus goes back to where it was.

import { element, link, signButton } from "../shared/dom.js";
import { gettext } from "../shared/words.js";

export function openPicture({ name, address, facts }) {
  const image = element("img", "");
  image.src = address;
  image.alt = name;
  const title = element("h2", "", name);
  title.id = "picture-title";
  title.dir = "auto";
  const download = link(gettext("Download"), address);
  download.download = name;
  const dialog = element("dialog", "picture-dialog");
  const close = signButton("✕", gettext("Close"), "close", () => dialog.close());
  dialog.append(element("div", "head", title, element("span", "quiet", facts), download, close), image);
  dialog.setAttribute("aria-labelledby", title.id);
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close()); // beside the picture
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  close.focus();
}
