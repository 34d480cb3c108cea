// Which session the page is about.

/** The id in the address; a new one is put there where there is none. */
export function openSession() {
  const url = new URL(location.href);
  const id = url.searchParams.get("session");
  if (id) {
    return id;
  }
  const made = randomId();
  url.searchParams.set("session", made);
  history.replaceState(null, "", url);
  return made;
}

/** The value of a parameter of the address, which is taken out of it. */
export function takeParameter(name) {
  const url = new URL(location.href);
  const value = url.searchParams.get(name);
  url.searchParams.delete(name);
  history.replaceState(null, "", url);
  return value;
}

/** Random, also where the page is not served securely and the browser keeps randomUUID to itself. */
export function randomId() {
  if (crypto.randomUUID) {
    return crypto.randomUUID();
  }
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
