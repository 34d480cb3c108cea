// Requests to /v1 and its like: JSON both ways, and an error says what the server says.

export async function api(method, address, body) {
  const options = { method, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(address, options);
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (!response.ok) {
    const error = new Error(answer?.error?.message ?? `HTTP ${response.status}`);
    error.status = response.status;
    error.fields = answer?.error?.fields ?? {};
    error.param = answer?.error?.param;
    throw error;
  }
  return answer;
}

export const get = (address) => api("GET", address);

/** `next` of a list, on the address at which this page was opened. */
export function nextPage(list) {
  const url = list.next && new URL(list.next);
  return url ? url.pathname + url.search : null;
}

/** The rows of every page of a list; 200 at a time, which is the most that a page may hold. */
export async function getAll(address) {
  const rows = [];
  let next = `${address}${address.includes("?") ? "&" : "?"}limit=200`;
  while (next) {
    const list = await get(next);
    rows.push(...list.data);
    next = nextPage(list);
  }
  return rows;
}
