// What the server says of a form's fields, each sentence under its own; the rest stands elsewhere.

import { element } from "./dom.js";

// What the server says of the thing as a whole.
const WHOLE = "non_field_errors";

/** The sentences of an error by field: `{name: [sentence, …]}`. */
export function problemsOf(error) {
  const problems = Object.keys(error.fields ?? {}).length ? error.fields : { [error.param ?? WHOLE]: [error.message] };
  return Object.fromEntries(Object.entries(problems).map(([name, words]) => [name.split(".").at(-1), [words].flat()]));
}

/** Show the sentences under the fields of `form`, and those of no field of it in `place`. */
export function showProblems(form, problems, place) {
  for (const field of form.elements) {
    showProblem(field, problems[field.name]);
  }
  const others = Object.entries(problems).filter(([name]) => !form.elements[name]);
  place.textContent = others.map(([name, words]) => (name === WHOLE ? words.join(" ") : `${name}: ${words.join(" ")}`)).join("\n");
  place.hidden = !others.length;
}

/** Show the sentences under one field; undefined takes away what stands there. */
export function showProblem(field, words) {
  if (!field.name) {
    return;
  }
  const id = `problem-of-${field.name}`;
  document.getElementById(id)?.remove();
  field.removeAttribute("aria-invalid");
  if (words) {
    const problem = element("span", "wrong", words.join(" "));
    problem.id = id;
    field.after(problem);
    field.setAttribute("aria-invalid", "true");
    field.closest("details")?.setAttribute("open", "");
  }
  field.setAttribute("aria-describedby", [field.dataset.help, words && id].filter(Boolean).join(" "));
}
