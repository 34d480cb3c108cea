// The page of models: the providers, and a form for one.

import { api, getAll } from "../shared/api.js";
import { elementsById } from "../shared/dom.js";
import { ProviderCard } from "./provider_card.js";
import { ProviderForm } from "./provider_form.js";

const page = elementsById();
const form = new ProviderForm({ page, saved: (provider) => load(provider.name) });
let providers = [];

/** Show all providers; test the one of that name, which has just been saved. */
async function load(tested) {
  try {
    providers = await getAll("/v1/providers");
  } catch (error) {
    complain(error);
    return;
  }
  const cards = providers.map(
    (provider) =>
      new ProviderCard(provider, {
        onEdit: () => form.open(provider, options()),
        onRemove: () => remove(provider),
        onChanged: () => load(provider.name),
      }),
  );
  page.providers.replaceChildren(...cards.map((card) => card.node));
  page["no-providers"].hidden = cards.length > 0;
  cards.find((card) => card.provider.name === tested)?.test();
}

function options() {
  const isFirst = providers.every((provider) => provider.kind === "local");
  return { names: providers.map(({ name }) => name), isFirst };
}

function remove(provider) {
  const { "delete-dialog": dialog, "delete-name": name } = page;
  name.textContent = provider.name;
  dialog.returnValue = "";
  dialog.onclose = async () => {
    if (dialog.returnValue === "delete") {
      try {
        await api("DELETE", `/v1/providers/${encodeURIComponent(provider.name)}`);
        load();
      } catch (error) {
        complain(error);
      }
    }
  };
  dialog.showModal();
}

function complain(error) {
  page.problem.textContent = error.message;
  page.problem.hidden = false;
}

page["new-provider"].addEventListener("click", () => form.open(null, options()));
await load(new URL(location.href).searchParams.get("provider"));
if (new URL(location.href).searchParams.has("new")) {
  form.open(null, options());
}
