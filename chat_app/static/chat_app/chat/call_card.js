// One line for a call of a tool, which fills in: what is called, with what, what came of it, and how long the tool took.

import { title, toolOf } from "./card_titles.js";
import { button, element, setText } from "../shared/dom.js";
import { laidOut } from "./json.js";
import { GrowingText } from "../markdown/growing_text.js";
import { resultFiles } from "./result_files.js";
import { duration, gettext, number } from "../shared/words.js";

const SHOWN_AT_ONCE = 4000; // characters of arguments or a result
const GLIMPSE = 120;
const MAKERS = new Set(["give_file", "run_code"]);
const SIGNS = { finished: "✓", failed: "✗" };

export class CallCard {
  isCall = true;
  wantsRendering = false;
  #files = null;
  #drawnResult = null;

  constructor(item, run) {
    this.item = item;
    this.run = run;
    this.title = element("span", "title");
    this.server = element("span", "server");
    this.glimpse = element("span", "glimpse");
    this.facts = element("span", "facts");
    this.outcome = element("span", "outcome");
    this.head = element("summary", "label call", this.title, this.server, this.glimpse, this.facts, this.outcome);
    this.arguments = new LongText("arguments");
    this.result = null; // its part of the card, once there is one
    this.body = element("details", "", this.head, heading(gettext("Arguments")), this.arguments.element);
    this.element = element("li", "item", this.body);
    this.element.dataset.type = "tool_use";
    this.element.dataset.step = item.step;
  }

  draw() {
    const { item, run } = this;
    const { tool, server } = toolOf(item.toolName);
    const status = statusOf(item, run);
    this.element.dataset.status = status;
    this.element.setAttribute("aria-busy", status === "streaming");
    setText(this.title, item.status === "streaming" ? title(item) : tool);
    setText(this.server, server);
    this.arguments.show(item.status === "streaming" ? item.text : readableArguments(item));
    this.#drawResult(item.result);
    setText(this.glimpse, glimpseOf(item));
    setText(this.facts, item.result && item.result.durationMs > 0 ? duration(item.result.durationMs) : "");
    setText(this.outcome, SIGNS[status] ?? "");
    this.outcome.className = status === "running" ? "outcome busy" : "outcome";
    this.outcome.title = OUTCOMES[status]?.() ?? "";
  }

  #drawResult(result) {
    if (!result) {
      return;
    }
    if (!this.result) {
      this.result = new LongText("result");
      const part = element("div", "item", heading(gettext("Result")), this.result.element);
      part.dataset.type = "tool_result";
      part.dataset.step = result.step;
      this.body.append(part);
      this.part = part;
    }
    this.part.dataset.status = result.status;
    if (this.#drawnResult !== result.text) {
      this.#drawnResult = result.text;
      this.result.show(laidOut(result.text) ?? result.text);
    }
    this.#files ??= resultFiles(result);
    if (this.#files && !this.#files.parentNode) {
      this.element.append(this.#files);
      this.element.toggleAttribute("data-shows-files", showsFiles(this.item.toolName, result));
    }
  }
}

/** Whether people look for the files of a result: pictures, and what a tool was called to make. */
function showsFiles(tool, { attachments = [] }) {
  return MAKERS.has(tool) ? attachments.length > 0 : attachments.some((file) => file.media_type?.startsWith("image/"));
}

const OUTCOMES = {
  running: () => gettext("Running"),
  finished: () => gettext("Done"),
  failed: () => gettext("Failed"),
};

/** A result that was not made is a failure; a call without one goes on for as long as its run does. */
function statusOf({ status, result }, run) {
  if (result) {
    return result.status;
  }
  return status === "finished" ? (run.status === "running" ? "running" : "stopped") : status;
}

function glimpseOf({ arguments: values, text, result }) {
  const texts = Object.values(values ?? {}).map((value) => (typeof value === "string" ? value : JSON.stringify(value)));
  const words = (texts.length ? texts.join(", ") : values ? "" : text).slice(0, GLIMPSE);
  const came = result?.text.slice(0, GLIMPSE);
  return [words, came].filter(Boolean).join(" → ").replace(/\s+/g, " ").trim();
}

function heading(words) {
  return element("p", "part", words);
}

/** A text of which the first 4,000 characters are shown until somebody wants all. */
class LongText {
  #shown = null;
  #all = null;

  constructor(name) {
    this.text = new GrowingText(element("div", "text"));
    this.text.element.dir = "auto";
    this.element = element("div", name, this.text.element);
  }

  show(text) {
    if (this.#shown === text) {
      return;
    }
    const before = (this.#shown ?? "").slice(0, SHOWN_AT_ONCE);
    this.#shown = text;
    this.text.grow(text.slice(0, SHOWN_AT_ONCE), text.startsWith(before) ? before.length : 0);
    this.#all?.remove();
    if (text.length > SHOWN_AT_ONCE) {
      this.#all = button(gettext("Show all {count} characters", { count: number(text.length) }), "link show-all", () => {
        this.#all.remove();
        this.text.grow(this.#shown, SHOWN_AT_ONCE);
        this.text.element.tabIndex = -1;
        this.text.element.focus();
      });
      this.element.append(this.#all);
    }
  }
}

/** The arguments as JSON on several lines; what the model wrote where that was no object. */
function readableArguments(item) {
  if (Object.keys(item.arguments ?? {}).length > 0) {
    return laidOut(item.text) ?? JSON.stringify(item.arguments, null, 2);
  }
  return item.text === "{}" ? "" : item.text;
}
