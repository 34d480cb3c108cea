// The files of the message that is being written, in their order. They survive a reload of the page.

import { api, get } from "../shared/api.js";
import { fileSize } from "../shared/sizes.js";
import { gettext, ngettext, number } from "../shared/words.js";
import { forgetFile, keepFile, keptFile } from "./kept_files.js";
import { Upload } from "./upload.js";

const MOST = 20;
const AT_ONCE = 2;

export class Uploads {
  all = [];
  #key;
  #mostBytes;
  #uploadedCount = 0; // since all were at rest

  /** `onChange()` is called with each change; `announce(words)` says it to screen readers. `mostBytes` 0: no limit. */
  constructor({ sessionId, mostBytes, onChange, announce, complain }) {
    this.#key = `files:${sessionId}`;
    this.#mostBytes = mostBytes;
    this.onChange = onChange;
    this.announce = announce;
    this.complain = complain;
  }

  get isBusy() {
    return this.all.some((upload) => upload.isBusy);
  }

  /** Those that cannot be sent as they are. */
  get stuck() {
    return this.all.filter((upload) => upload.problem);
  }

  add(files) {
    const room = MOST - this.all.length;
    if (files.length > room) {
      this.complain(gettext("A message takes {count} files at most.", { count: number(MOST) }));
    }
    for (const file of files.slice(0, room)) {
      const upload = new Upload({ name: file.name, size: file.size, file });
      this.all.push(upload);
      this.#check(upload);
      if (upload.isBusy) {
        keepFile(upload.id, file);
      }
    }
    this.#changed();
    this.#pump();
  }

  /** What the server would refuse anyway is not uploaded. */
  #check(upload) {
    if (0 < this.#mostBytes && this.#mostBytes < upload.size) {
      upload.refuse(gettext("Larger than the limit of {size}.", { size: fileSize(this.#mostBytes) }));
    } else if (!upload.size) {
      upload.refuse(gettext("The file is empty."));
    }
    this.#announceProblem(upload);
  }

  retry(upload) {
    upload.status = "waiting";
    upload.problem = "";
    this.#changed();
    this.#pump();
  }

  /** Take a file out of the message; one that no message has is deleted on the server, too. */
  remove(upload) {
    upload.cancel();
    this.all.splice(this.all.indexOf(upload), 1);
    forgetFile(upload.id);
    if (upload.part && upload.isOurs) {
      api("DELETE", `/v1/files/${encodeURIComponent(upload.part.file_id)}`).catch(() => {}); // it may be gone
    }
    this.#changed();
    this.#pump();
  }

  /** Returns the parts of all files for a message, which has them from now on. */
  take() {
    const parts = this.all.map((upload) => upload.part);
    this.all = [];
    this.#changed();
    return parts;
  }

  /** Put the files of a message back, before those that were added since. */
  takeBack(parts) {
    const uploads = parts.map((part) => Upload.ofPart(part));
    this.all.unshift(...uploads);
    this.#changed();
    uploads.forEach((upload) => this.#verify(upload));
  }

  /** Show what a page before this one had. */
  async restore() {
    const rows = JSON.parse(sessionStorage.getItem(this.#key) ?? "[]");
    const uploads = await Promise.all(rows.map(restored));
    this.all.unshift(...uploads);
    this.#changed();
    this.#pump();
    uploads.filter((upload) => upload.part).forEach((upload) => this.#verify(upload));
  }

  async #verify(upload) {
    try {
      await get(`/v1/files/${encodeURIComponent(upload.part.file_id)}`);
    } catch (error) {
      if (error.status === 404) {
        upload.refuse(gettext("No longer available. Add it again."));
        this.#changed();
      }
    }
  }

  #pump() {
    const free = AT_ONCE - this.all.filter((upload) => upload.status === "uploading").length;
    for (const upload of this.all.filter((each) => each.status === "waiting").slice(0, Math.max(0, free))) {
      upload.send(() => this.onChange()).then(() => this.#ended(upload));
    }
  }

  #ended(upload) {
    if (upload.status === "uploaded") {
      this.#uploadedCount += 1;
      forgetFile(upload.id);
    }
    this.#announceProblem(upload);
    if (!this.isBusy && this.#uploadedCount) {
      this.announce(ngettext("{count} file uploaded", "{count} files uploaded", this.#uploadedCount));
      this.#uploadedCount = 0;
    }
    this.#changed();
    this.#pump();
  }

  #announceProblem({ name, problem }) {
    if (problem) {
      this.announce(`${name}: ${problem}`);
    }
  }

  #changed() {
    const rows = this.all
      .filter((upload) => upload.status !== "refused")
      .map(({ id, name, size, part, isOurs }) => ({ id, name, size, part, isOurs }));
    sessionStorage.setItem(this.#key, JSON.stringify(rows));
    this.onChange();
  }
}

async function restored({ id, name, size, part, isOurs }) {
  if (part) {
    return Upload.ofPart(part, { id, isOurs });
  }
  const upload = new Upload({ id, name, size, file: await keptFile(id) });
  if (!upload.file) {
    upload.refuse(gettext("The page was reloaded before the upload ended. Add the file again."));
  }
  return upload;
}
