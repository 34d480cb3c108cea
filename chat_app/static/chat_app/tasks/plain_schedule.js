// Schedules in plain words, and the cron lines that mean them. Other cron lines are shown as they are.

import { gettext, language } from "../shared/words.js";

const SHORTHANDS = { "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *" };
const DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const A_SUNDAY = Date.UTC(2023, 0, 1);
const DAY = 86400 * 1000;

/** What a cron line repeats, as `{every, minute, hour, weekday, day}`; null if the form has no plain words for it. */
export function parseCron(line) {
  const text = line.trim().toLowerCase();
  const fields = (SHORTHANDS[text] ?? text).split(/\s+/);
  if (fields.length !== 5 || fields[3] !== "*") {
    return null;
  }
  const [minute, hour, day, weekdays] = [number(fields[0], 59), number(fields[1], 23), number(fields[2], 31), fields[4]];
  if (minute === null) {
    return null;
  }
  if (hour === null) {
    return fields[1] === "*" && fields[2] === "*" && weekdays === "*" ? { every: "hour", minute } : null;
  }
  if (weekdays === "*") {
    return day ? { every: "month", minute, hour, day } : fields[2] === "*" ? { every: "day", minute, hour } : null;
  }
  if (fields[2] !== "*") {
    return null;
  }
  if (["1-5", "mon-fri"].includes(weekdays)) {
    return { every: "weekdays", minute, hour };
  }
  const weekday = DAYS.includes(weekdays) ? DAYS.indexOf(weekdays) : number(weekdays, 7);
  return weekday === null ? null : { every: "week", minute, hour, weekday: weekday % 7 };
}

function number(text, most) {
  return /^\d{1,2}$/.test(text) && Number(text) <= most ? Number(text) : null;
}

/** The cron line of what `parseCron` returns. */
export function toCron({ every, minute, hour, weekday, day }) {
  const at = `${minute} ${hour}`;
  return {
    hour: `${minute} * * * *`,
    day: `${at} * * *`,
    weekdays: `${at} * * MON-FRI`,
    week: `${at} * * ${DAYS[weekday]?.toUpperCase()}`,
    month: `${at} ${day} * *`,
  }[every];
}

/** The names of the days of the week, from Sunday. */
export function weekdayNames() {
  const format = new Intl.DateTimeFormat(language, { weekday: "long", timeZone: "UTC" });
  return DAYS.map((_, place) => format.format(A_SUNDAY + place * DAY));
}

/** A task's schedule in words, with its zone: `Weekdays at 9:00 AM, Berlin`. */
export function inWords({ schedule_type: type, schedule_value: value, timezone }) {
  if (type === "interval") {
    return every(Number(value));
  }
  if (type === "once") {
    return gettext("Once, {time}, {zone}", { time: value.replace("T", " "), zone: city(timezone) });
  }
  const plain = parseCron(value);
  return gettext("{schedule}, {zone}", { schedule: plain ? ofPlain(plain) : gettext("Cron {line}", { line: value }), zone: city(timezone) });
}

function ofPlain({ every: unit, minute, hour, weekday, day }) {
  const time = clock(hour ?? 0, minute);
  switch (unit) {
    case "hour":
      return minute ? gettext("Every hour, {minute} minutes past", { minute }) : gettext("Every hour");
    case "day":
      return gettext("Every day at {time}", { time });
    case "weekdays":
      return gettext("Weekdays at {time}", { time });
    case "week":
      return gettext("Every {weekday} at {time}", { weekday: weekdayNames()[weekday], time });
    default:
      return gettext("Monthly on day {day} at {time}", { day, time });
  }
}

function clock(hour, minute) {
  const options = { hour: "numeric", minute: "2-digit", timeZone: "UTC" };
  return new Date(A_SUNDAY + (hour * 60 + minute) * 60 * 1000).toLocaleTimeString(language, options);
}

function every(seconds) {
  const [unit, size] = UNITS.find(([, length]) => seconds % length === 0) ?? ["second", 1];
  const count = new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(seconds / size);
  return gettext("Every {duration}", { duration: count });
}

/** The last part of a zone's name: `Berlin`. */
function city(zone) {
  return zone.split("/").at(-1).replaceAll("_", " ");
}

/** How far a moment is away: `in 19 hours`. */
export function distance(iso) {
  const seconds = (new Date(iso) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS.at(-1);
  return new Intl.RelativeTimeFormat(language, { numeric: "always" }).format(Math.round(seconds / size), unit);
}
