// One file on its way to /v1/files.

import { randomId } from "./session.js";
import { gettext } from "../shared/words.js";

const SILENCE = 60_000; // without any progress; then the connection counts as lost

export class Upload {
  status = "waiting"; // then uploading, and uploaded, failed (it may be tried again) or refused
  progress = 0; // from 0 to 1
  problem = "";
  part = null; // of a message, once uploaded
  isOurs = true; // no message has it yet
  #request = null;
  #silence = 0;

  constructor({ name, size, file = null, id = randomId() }) {
    this.id = id;
    this.file = file;
    this.name = name;
    this.size = size;
  }

  /** A file that the server has already. */
  static ofPart(part, { id, isOurs = false } = {}) {
    const upload = new Upload({ name: part.name || part.media_type, size: part.size, id });
    upload.status = "uploaded";
    upload.part = part;
    upload.isOurs = isOurs;
    return upload;
  }

  get isBusy() {
    return this.status === "waiting" || this.status === "uploading";
  }

  refuse(problem) {
    this.status = "refused";
    this.problem = problem;
  }

  /** Send the file; `onChange()` is called with each change, and the promise is kept when it is over. */
  async send(onChange) {
    this.status = "uploading";
    this.progress = 0;
    this.problem = "";
    onChange();
    if (await this.#isReadable()) {
      await new Promise((done) => this.#send(onChange, done));
    }
    onChange();
  }

  cancel() {
    this.status = "canceled";
    clearTimeout(this.#silence);
    this.#request?.abort();
  }

  /** Ask for a byte first: what fails later may as well be the network. */
  async #isReadable() {
    try {
      await this.file.slice(0, 1).arrayBuffer();
    } catch {
      this.refuse(gettext("The file cannot be read. Add it again."));
    }
    return this.status === "uploading";
  }

  #send(onChange, done) {
    const form = new FormData();
    form.append("file", this.file, this.name);
    const request = new XMLHttpRequest(); // fetch does not say how far an upload is
    this.#request = request;
    request.open("POST", "/v1/files");
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    request.upload.onprogress = ({ loaded, total }) => {
      this.progress = total ? loaded / total : 0;
      this.#expectProgress();
      onChange();
    };
    request.onload = () => this.#answered(request);
    request.onerror = () => this.#fail(gettext("The upload was interrupted. Try again."));
    request.onloadend = () => {
      clearTimeout(this.#silence);
      done();
    };
    this.#expectProgress();
    request.send(form);
  }

  #expectProgress() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.#fail(gettext("The upload was interrupted. Try again."));
      this.#request.abort();
    }, SILENCE);
  }

  #answered({ status, response }) {
    if (status === 201) {
      const { id, media_type: mediaType, filename, bytes } = response;
      this.part = { type: "file", file_id: id, media_type: mediaType, name: filename, size: bytes };
      this.status = "uploaded";
      return;
    }
    this.#fail(response?.error?.message ?? gettext("The server answered with an error (HTTP {status}).", { status }));
  }

  #fail(problem) {
    if (this.status !== "canceled") {
      this.status = "failed";
      this.problem = problem;
    }
  }
}
