// The files beside the text of a message that is being written: what brings them, holds them and shows them.

import { takeFiles } from "./file_intake.js";
import { UploadChips } from "./upload_chips.js";
import { Uploads } from "./uploads.js";

export class ComposerFiles {
  /** `onChange()` is called with each change; `complain(words)` shows what is wrong with more than one file. */
  constructor({ sessionId, page, onChange, complain }) {
    this.onChange = onChange;
    this.uploads = new Uploads({
      sessionId,
      mostBytes: Number(page.uploads.dataset.mostBytes),
      onChange: () => this.#draw(),
      announce: (words) => (page["upload-news"].textContent = words),
      complain,
    });
    this.chips = new UploadChips(page.uploads, {
      onRetry: (upload) => this.uploads.retry(upload),
      onRemove: (upload) => this.uploads.remove(upload),
      onEmptied: () => page.message.focus(),
    });
    takeFiles({
      talk: page.talk,
      field: page.message,
      pairs: [
        [page["add-files"], page["file-input"]],
        [page["take-photo"], page["photo-input"]],
      ],
      take: (files) => this.uploads.add(files),
      complain,
    });
    this.uploads.restore();
  }

  get count() {
    return this.uploads.all.length;
  }

  get isBusy() {
    return this.uploads.isBusy;
  }

  get hasProblems() {
    return this.uploads.stuck.length > 0;
  }

  /** Returns the parts for a message, which has them from now on. */
  take() {
    return this.uploads.take();
  }

  takeBack(parts) {
    this.uploads.takeBack(parts);
  }

  #draw() {
    this.chips.draw(this.uploads.all);
    this.onChange();
  }
}
