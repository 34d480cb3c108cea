// What people read, in their language. The server renders the catalogue into the page.

const catalogue = JSON.parse(document.getElementById("catalogue")?.textContent ?? "{}");
export const language = document.documentElement.lang || "en";

/** The text in the page's language, with `{name}` replaced. The name is the one that `makemessages` looks for. */
export function gettext(text, values = {}) {
  return filled(catalogue[text] || text, values);
}

/** The same of a number of things: English and the languages that we have tell one from many. */
export function ngettext(one, many, count) {
  const [oneOf, manyOf] = catalogue[one] ?? [one, many];
  return filled(count === 1 ? oneOf : manyOf, { count: number(count) });
}

function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

const grouped = new Intl.NumberFormat(language); // making one takes long

export function number(value) {
  return grouped.format(value);
}

const withTenths = new Intl.NumberFormat(language, { minimumFractionDigits: 1 });

/** A duration: `420 ms`, `3.2 s`, `4:05 min`. */
export function duration(milliseconds) {
  if (milliseconds < 1000) {
    return `${Math.round(milliseconds)} ms`;
  }
  const tenths = Math.round(milliseconds / 100);
  if (tenths < 600) {
    return `${withTenths.format(tenths / 10)} s`;
  }
  const all = Math.round(milliseconds / 1000);
  return `${Math.floor(all / 60)}:${String(all % 60).padStart(2, "0")} min`;
}

/** A time that goes on, in whole seconds. */
export function elapsed(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return whole < 60 ? `${whole} s` : duration(whole * 1000);
}

/** Dollars: small sums with as many digits as it takes to tell them from nothing. */
export function cost(dollars) {
  const options = { style: "currency", currency: "USD", maximumSignificantDigits: 3 };
  return new Intl.NumberFormat(language, Number(dollars) < 1 ? options : { style: "currency", currency: "USD" }).format(dollars);
}

/** A share in whole percent; what is not nothing has at least one. */
export function percentOf(part, whole) {
  return number(part > 0 ? Math.max(1, Math.round((100 * part) / whole)) : 0);
}

/** A moment, short: today only the time, this year without the year. For lists. `zone`: the browser's, if none is named. */
export function shortMoment(iso, zone) {
  if (!iso) {
    return "";
  }
  const [at, now] = [new Date(iso), new Date()];
  const options = { hour: "numeric", minute: "2-digit", timeZone: usable(zone) };
  if (at.toDateString() !== now.toDateString()) {
    Object.assign(options, { day: "numeric", month: "short" });
  }
  if (at.getFullYear() !== now.getFullYear()) {
    options.year = "numeric";
  }
  return at.toLocaleString(language, options);
}

export function day(iso) {
  return iso ? new Date(iso).toLocaleDateString(language, { dateStyle: "medium" }) : "";
}

export function moment(iso, zone) {
  return iso ? new Date(iso).toLocaleString(language, { dateStyle: "medium", timeStyle: "medium", timeZone: usable(zone) }) : "";
}

/** A time zone, if the browser knows it; else its own. */
function usable(zone) {
  try {
    return zone && new Intl.DateTimeFormat(language, { timeZone: zone }) && zone;
  } catch {
    return undefined;
  }
}

/** What was written in Markdown, without its signs: for a line that only gives a glimpse of it. */
export function plain(text) {
  return text.replace(/\*\*|`+|^\s*#+\s/gm, "").replace(/\||:?-{3,}:?|\s/g, " ").replace(/ {2,}/g, " ").trim();
}
