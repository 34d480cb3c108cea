// How files come into the message: dropped, pasted, chosen, photographed.

import { gettext } from "../shared/words.js";

/** `take(files)` is given what came. `pairs` are buttons, each with the file input that it opens. */
export function takeFiles({ talk, field, pairs, take, complain }) {
  for (const [opener, input] of pairs) {
    opener.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      take([...input.files]);
      input.value = ""; // the same file may be chosen again
      field.focus();
    });
  }
  document.addEventListener("paste", (event) => paste(event, { field, take }));
  takeDrops(talk, (transfer) => {
    const { files, hasFolders } = filesOf(transfer);
    if (hasFolders) {
      complain(gettext("Folders cannot be added. Add their files instead."));
    }
    take(files);
    field.focus();
  });
}

/** Office programs give a picture of what they copy beside its text: then the text is meant. */
function paste(event, { field, take }) {
  const { files, types } = event.clipboardData ?? { files: [], types: [] };
  const isElsewhere = event.target !== field && event.target.closest?.("input, textarea, dialog");
  const isText = types.includes("text/plain") && types.includes("text/html");
  if (files.length && !isElsewhere && !isText) {
    event.preventDefault();
    take([...files]);
    field.focus();
  }
}

/** A drop beside the chat is for nobody, rather than for the browser, which would leave the page. */
function takeDrops(talk, drop) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (hasFiles(event)) {
      const isOver = talk.contains(event.target) && !talk.inert && !document.querySelector("dialog[open]");
      event.preventDefault();
      event.dataTransfer.dropEffect = isOver ? "copy" : "none";
      talk.classList.toggle("dropping", isOver);
    }
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) {
      talk.classList.remove("dropping");
    }
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) {
      return;
    }
    event.preventDefault();
    talk.classList.remove("dropping");
    if (talk.contains(event.target)) {
      drop(event.dataTransfer);
    }
  });
}

function filesOf(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const isFolder = (item) => item.webkitGetAsEntry?.()?.isDirectory;
  const files = items.filter((item) => !isFolder(item)).map((item) => item.getAsFile());
  return { files: files.filter(Boolean), hasFolders: items.some(isFolder) };
}
