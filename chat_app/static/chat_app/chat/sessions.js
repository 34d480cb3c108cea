// The sessions at the side: search, open, rename, delete.

import { api, get, nextPage } from "../shared/api.js";
import { element, isComposing, link, signButton } from "../shared/dom.js";
import { gettext, language } from "../shared/words.js";

const TYPING = 200;
const INTERVAL = 15_000;
const PAGE = 40;

export class Sessions {
  #rows = [];
  #next = null;
  #timer = 0;
  #requests = 0;
  #renaming = false;

  constructor({ current, page, complain, onDeleted, onWaiting }) {
    this.current = current;
    this.page = page;
    this.complain = complain;
    this.onDeleted = onDeleted;
    this.onWaiting = onWaiting;
    page["session-search"].addEventListener("input", () => this.refresh(TYPING));
    page["all-sessions"].addEventListener("change", () => this.refresh());
    page["more-sessions"].addEventListener("click", () => this.#loadMore());
    setInterval(() => !document.hidden && this.refresh(), INTERVAL);
    document.addEventListener("visibilitychange", () => !document.hidden && this.refresh());
    this.refresh();
  }

  /** Ask for the list anew, in a moment: several reasons to do so often come together. */
  refresh(delay = 0) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), delay);
  }

  async #load() {
    const limit = Math.min(200, Math.max(PAGE, this.#rows.length));
    const query = new URLSearchParams({ limit, search: this.page["session-search"].value.trim() });
    if (this.page["all-sessions"].checked) {
      query.set("all", "1");
    }
    await this.#ask(`/chat/sessions?${query}`, []);
  }

  async #loadMore() {
    await this.#ask(this.#next, this.#rows);
  }

  async #ask(address, before) {
    const request = (this.#requests += 1);
    try {
      const list = await get(address);
      if (request !== this.#requests || this.#renaming) {
        return; // what was asked later counts
      }
      this.#rows = [...before, ...list.data];
      this.#next = nextPage(list);
      this.#draw();
    } catch (error) {
      console.warn("The list of sessions could not be had:", error);
    }
  }

  #draw() {
    const { page } = this;
    const shown = (row) => [row.id, row.title, row.unfinished, row.waiting, dayGroup(row.updated_at)];
    const state = JSON.stringify(this.#rows.map(shown));
    this.onWaiting(this.#rows.filter((session) => session.waiting && !this.#isCurrent(session)).length);
    page["more-sessions"].hidden = !this.#next;
    page["no-sessions"].hidden = this.#rows.length > 0;
    if (page.sessions.dataset.shown !== state) {
      const focused = document.activeElement?.closest?.("#sessions li")?.dataset.session;
      page.sessions.dataset.shown = state;
      page.sessions.replaceChildren(...this.#lines());
      page.sessions.querySelector(`li[data-session="${CSS.escape(focused ?? "")}"] a`)?.focus();
    }
  }

  /** The lines of the sessions, with a heading before the first of each group of days. */
  #lines() {
    let group = "";
    return this.#rows.flatMap((session) => {
      const before = group;
      group = dayGroup(session.updated_at);
      const heading = group === before ? [] : [element("li", "group-name", group)];
      return [...heading, this.#line(session)];
    });
  }

  /** The title of the chat that is open, if it is in the list. */
  get currentTitle() {
    return this.#rows.find((session) => this.#isCurrent(session))?.title;
  }

  #isCurrent(session) {
    return [session.id, session.session_id].includes(this.current);
  }

  #line(session) {
    const name = session.title || session.session_id;
    const open = link(name, `?session=${encodeURIComponent(session.session_id)}`);
    open.dir = "auto";
    open.title = [name, session.agent_name].filter(Boolean).join(" · ");
    const line = element("li", "session", open);
    line.dataset.session = session.id;
    if (this.#isCurrent(session)) {
      open.setAttribute("aria-current", "page");
    }
    if (session.unfinished) {
      const words = session.waiting ? gettext("Waiting for your decision") : gettext("Running");
      const mark = element("span", session.waiting ? "waits" : "busy", element("span", "hidden", words));
      mark.title = words;
      line.append(mark);
    }
    line.append(
      signButton("✎", gettext("Rename {name}", { name }), "rename", () => this.#rename(line, session)),
      signButton("✕", gettext("Delete {name}", { name }), "delete", () => this.#confirm(session)),
    );
    return line;
  }

  #rename(line, session) {
    const field = element("input", "title");
    field.value = session.title;
    field.maxLength = 200;
    field.dir = "auto";
    field.setAttribute("aria-label", gettext("Title"));
    this.#renaming = true;
    line.replaceChildren(field);
    field.select();
    field.focus();
    const done = async (isKept) => {
      if (!this.#renaming) {
        return;
      }
      this.#renaming = false;
      if (isKept && field.value.trim() !== session.title) {
        await this.#change("PATCH", session, { title: field.value.trim() });
      }
      delete this.page.sessions.dataset.shown;
      await this.#load();
      this.page.sessions.querySelector(`li[data-session="${CSS.escape(session.id)}"] a`)?.focus();
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (isComposing(event)) {
        return;
      }
      if (event.key === "Enter" || event.key === "Escape") {
        event.preventDefault();
        done(event.key === "Enter");
      }
    });
    field.addEventListener("blur", () => done(true));
  }

  #confirm(session) {
    const { "delete-dialog": dialog, "delete-name": name } = this.page;
    name.textContent = session.title || session.session_id;
    dialog.returnValue = "";
    dialog.onclose = async () => {
      if (dialog.returnValue === "delete" && (await this.#change("DELETE", session))) {
        this.refresh();
        if (this.#isCurrent(session)) {
          this.onDeleted();
        }
      }
    };
    dialog.showModal();
  }

  /** Whether it was done. */
  async #change(method, session, body) {
    try {
      await api(method, `/v1/sessions/${encodeURIComponent(session.id)}`, body);
      return true;
    } catch (error) {
      this.complain(error.message);
      return false;
    }
  }
}

const DAY = 86_400_000;

/** What the day of a moment is called: today, yesterday, then weeks and months. */
function dayGroup(iso) {
  const today = new Date().setHours(0, 0, 0, 0);
  const at = new Date(iso).setHours(0, 0, 0, 0);
  const days = Math.round((today - at) / DAY); // rounded: a day of a clock change has 23 or 25 hours
  if (days <= 1) {
    return days < 1 ? gettext("Today") : gettext("Yesterday");
  }
  if (days <= 30) {
    return days <= 7 ? gettext("Previous 7 days") : gettext("Previous 30 days");
  }
  return new Date(iso).toLocaleDateString(language, { month: "long", year: "numeric" });
}
