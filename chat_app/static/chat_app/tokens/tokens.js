// One's own API tokens: made, shown once, listed, revoked.

import { api, get, nextPage } from "../shared/api.js";
import { copyButton } from "../chat/copying.js";
import { button, element, elementsById } from "../shared/dom.js";
import { day, gettext, shortMoment } from "../shared/words.js";

const page = elementsById();
const NEWEST = "/v1/tokens?limit=100&ordering=-created";
const body = page.tokens.tBodies[0];
let next = null;

async function attempt(act) {
  page.problem.hidden = true;
  try {
    await act();
  } catch (error) {
    page.problem.textContent = error.message;
    page.problem.hidden = false;
  }
}

async function list(address, before = []) {
  const { data, ...rest } = await get(address);
  next = nextPage(rest);
  body.replaceChildren(...before, ...data.map(row));
  showWhatThereIs();
}

function showWhatThereIs() {
  page.tokens.hidden = body.rows.length === 0;
  page["no-tokens"].hidden = body.rows.length > 0;
  page["more-tokens"].hidden = !next;
}

/** Each cell has its column's name, for narrow pages where the head is not shown. */
function row(token) {
  const name = element("strong", "", token.name || "–");
  name.dir = "auto";
  const revoke = button(gettext("Revoke"), "danger", () => confirm(token));
  revoke.setAttribute("aria-label", gettext("Revoke {name}", { name: token.name }));
  const cells = [
    name,
    element("code", "", `${token.begins_with}…`),
    day(token.created_at),
    shortMoment(token.last_used_at) || gettext("never"),
    ending(token.expires_at),
    revoke,
  ];
  const names = [...page.tokens.tHead.rows[0].cells].map((cell) => cell.textContent);
  const made = document.createElement("tr");
  cells.forEach((content, at) => {
    const cell = element("td", "", content);
    cell.dataset.name = names[at];
    made.append(cell);
  });
  return made;
}

function ending(at) {
  if (!at) {
    return gettext("never");
  }
  return new Date(at) > new Date() ? day(at) : gettext("ended {time}", { time: day(at) });
}

function confirm(token) {
  const { "delete-dialog": dialog, "delete-name": name } = page;
  name.textContent = token.name;
  dialog.returnValue = "";
  dialog.onclose = () =>
    dialog.returnValue === "delete" &&
    attempt(async () => {
      await api("DELETE", `/v1/tokens/${token.id}`);
      await list(NEWEST); // the tokens that it created are gone too
    });
  dialog.showModal();
}

async function make() {
  const { name, expires_in_days: days, scope } = page["new-token"].elements;
  const fields = { name: name.value.trim(), expires_in_days: days.value ? Number(days.value) : null };
  if (scope) {
    fields.scope = scope.value;
  }
  const made = await api("POST", "/v1/tokens", fields);
  page.secret.textContent = made.token;
  page.copy.replaceChildren(copyButton(() => made.token));
  page.example.textContent = `curl -H "Authorization: Bearer ${made.token}" ${location.origin}/v1/agents`;
  page.made.hidden = false;
  page["new-token"].reset();
  body.prepend(row(made));
  showWhatThereIs();
  page.secret.focus();
}

page["new-token"].addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(make);
});
page.make.disabled = false; // before this, a click would load the page anew
page["more-tokens"].addEventListener("click", () => attempt(() => list(next, [...body.rows])));
attempt(() => list(NEWEST));
