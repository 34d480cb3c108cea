// The fields of a schedule: in plain words, with cron as the expert's field. What the server gets is in two named fields.

import { parseCron, toCron, weekdayNames } from "./plain_schedule.js";

export class ScheduleFields {
  constructor(page, form, changed) {
    this.page = page;
    this.elements = form.elements;
    const days = weekdayNames().map((name, place) => new Option(name, place));
    page["plain-weekday"].append(...days.slice(1), days[0]);
    page.repeats.addEventListener("change", () => this.#choose());
    for (const id of ["repeats", "plain-weekday", "plain-day", "plain-minute", "plain-time"]) {
      page[id].addEventListener("input", () => {
        this.#write();
        changed();
      });
    }
  }

  /** Show the schedule that the two fields have; a new task begins with every day at nine. */
  show({ isNew }) {
    if (isNew) {
      this.page.repeats.value = "day";
      this.#write();
    } else {
      const { schedule_type: type, schedule_value: value } = this.elements;
      const plain = type.value === "cron" ? parseCron(value.value) : null;
      this.page.repeats.value = plain?.every ?? type.value;
      if (plain) {
        this.#fill(plain);
      }
    }
    this.#arrange();
  }

  #fill({ minute, hour, weekday, day }) {
    this.page["plain-minute"].value = minute;
    this.page["plain-time"].value = [hour ?? 0, minute].map((part) => String(part).padStart(2, "0")).join(":");
    this.page["plain-weekday"].value = weekday ?? 1;
    this.page["plain-day"].value = day ?? 1;
  }

  #choose() {
    const { repeats } = this.page;
    const { schedule_type: type, schedule_value: value } = this.elements;
    const isOther = ["interval", "once"].includes(repeats.value) || ["interval", "once"].includes(type.value);
    if (isOther && repeats.value !== type.value) {
      value.value = ""; // which would mean nothing as the other kind
    }
    this.#write();
    this.#arrange();
  }

  /** Write the two fields from the plain ones. */
  #write() {
    const { repeats } = this.page;
    const { schedule_type: type, schedule_value: value } = this.elements;
    if (["interval", "once", "cron"].includes(repeats.value)) {
      type.value = repeats.value;
      return;
    }
    const [hour, ofTime] = (this.page["plain-time"].value || "09:00").split(":").map(Number);
    const minute = repeats.value === "hour" ? Number(this.page["plain-minute"].value) : ofTime;
    const [weekday, day] = [Number(this.page["plain-weekday"].value), Number(this.page["plain-day"].value)];
    type.value = "cron";
    value.value = toCron({ every: repeats.value, minute, hour, weekday, day });
  }

  #arrange() {
    const kind = this.page.repeats.value;
    for (const field of this.page["task-form"].querySelectorAll("[data-kinds]")) {
      field.hidden = !field.dataset.kinds.split(" ").includes(kind);
    }
  }
}
