// The files of the message that is being written, as chips above its text.

import { element, setText, signButton } from "../shared/dom.js";
import { fileSize } from "../shared/sizes.js";
import { gettext, number } from "../shared/words.js";
import { contentAddress, fileBadge, isPicture } from "./attachments.js";

export class UploadChips {
  #chips = new Map();

  /** `root` is a list. `onRetry(upload)` and `onRemove(upload)` are what the buttons do. */
  constructor(root, { onRetry, onRemove, onEmptied }) {
    this.root = root;
    this.onRetry = onRetry;
    this.onRemove = onRemove;
    this.onEmptied = onEmptied;
  }

  draw(uploads) {
    for (const [upload, chip] of this.#chips) {
      if (!uploads.includes(upload)) {
        chip.remove();
        this.#chips.delete(upload);
      }
    }
    this.root.hidden = uploads.length === 0;
    uploads.forEach((upload, index) => {
      const chip = this.#chips.get(upload) ?? this.#make(upload);
      if (this.root.children[index] !== chip.element) {
        this.root.insertBefore(chip.element, this.root.children[index] ?? null);
        chip.element.scrollIntoView({ block: "nearest" }); // many scroll
      }
      chip.draw();
    });
  }

  #make(upload) {
    const chip = new Chip(upload, () => this.onRetry(upload), () => this.#remove(upload));
    this.#chips.set(upload, chip);
    return chip;
  }

  /** Whoever removes a file with the keyboard goes on at the next. */
  #remove(upload) {
    const { element: gone } = this.#chips.get(upload);
    const next = gone.nextElementSibling ?? gone.previousElementSibling;
    this.onRemove(upload);
    if (next) {
      next.querySelector(".remove").focus();
    } else {
      this.onEmptied();
    }
  }
}

class Chip {
  #address = ""; // of the picture, while only this page has it

  constructor(upload, retry, remove) {
    this.upload = upload;
    this.name = element("span", "name", upload.name);
    this.name.dir = "auto";
    this.name.title = upload.name;
    this.state = element("span", "state");
    this.progress = element("progress", "");
    this.progress.max = 1;
    this.progress.setAttribute("aria-label", gettext("Upload of {name}", { name: upload.name }));
    this.retry = signButton("↻", gettext("Try {name} again", { name: upload.name }), "retry", retry);
    this.remover = signButton("✕", "", "remove", remove);
    const words = element("span", "words", this.name, this.state, this.progress);
    this.element = element("li", "upload", this.#thumbnail(), words, this.retry, this.remover);
  }

  /** Only of types that cannot hold a script. */
  #thumbnail() {
    const { file, part, name } = this.upload;
    const mediaType = part?.media_type ?? file?.type ?? "";
    if (!isPicture(mediaType) || this.upload.status === "refused") {
      return fileBadge(name);
    }
    const image = element("img", "");
    image.alt = "";
    if (!part) {
      this.#address = URL.createObjectURL(file);
    }
    image.src = part ? contentAddress(part) : this.#address;
    image.onerror = () => image.replaceWith(fileBadge(name));
    return image;
  }

  draw() {
    const { upload } = this;
    this.element.dataset.status = upload.status;
    this.progress.hidden = !upload.isBusy;
    this.progress.value = upload.progress;
    this.retry.hidden = upload.status !== "failed";
    setText(this.state, stateOf(upload));
    const label = upload.isBusy ? gettext("Cancel the upload of {name}", upload) : gettext("Remove {name}", upload);
    this.remover.setAttribute("aria-label", label);
    this.remover.title = label;
  }

  remove() {
    URL.revokeObjectURL(this.#address);
    this.element.remove();
  }
}

function stateOf({ problem, status, progress, size }) {
  if (problem) {
    return problem;
  }
  if (status === "uploading") {
    return gettext("{percent} % of {size}", { percent: number(Math.floor(progress * 100)), size: fileSize(size) });
  }
  return status === "waiting" ? gettext("Waiting…") : fileSize(size);
}
