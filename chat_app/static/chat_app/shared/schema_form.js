// A form made of a JSON Schema: a field for each property that a field can hold, JSON for the others.

import { element } from "./dom.js";
import { gettext } from "./words.js";

export class SchemaForm {
  #fields = []; // [name, schema, control]

  constructor(schema) {
    const required = new Set(schema.required ?? []);
    this.node = element("div", "schema-form");
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      const kind = kindOf(property);
      const control = controlOf(kind, property);
      control.required = required.has(name);
      this.#fields.push({ name, kind, control });
      const title = element("span", "", name, required.has(name) ? " *" : "");
      const label = kind === "boolean" ? element("label", "switch", control, " ", title) : element("label", "", title, control);
      if (property.description) {
        label.append(element("span", "quiet", property.description));
      }
      this.node.append(label);
    }
    if (!this.#fields.length) {
      this.node.append(element("p", "quiet", gettext("No arguments.")));
    }
  }

  /** The values, without those that are empty and not required. Throws an Error that names a field with bad JSON. */
  values() {
    const values = {};
    for (const { name, kind, control } of this.#fields) {
      if (kind === "boolean") {
        if (control.checked || control.required) {
          values[name] = control.checked;
        }
      } else if (control.value !== "" || (control.required && kind === "text")) {
        values[name] = valueOf(name, kind, control.value);
      }
    }
    return values;
  }
}

function kindOf({ type, enum: choices }) {
  if (choices?.every((choice) => typeof choice === "string")) {
    return "choice";
  }
  const types = [type].flat().filter((each) => each !== "null");
  const known = { string: "text", integer: "integer", number: "number", boolean: "boolean" };
  return (types.length === 1 && known[types[0]]) || "json";
}

function controlOf(kind, property) {
  if (kind === "choice") {
    const select = element("select");
    select.append(new Option("", ""), ...property.enum.map((choice) => new Option(choice, choice)));
    select.value = property.default ?? "";
    return select;
  }
  if (kind === "json" || (kind === "text" && !(property.maxLength < 200))) {
    const area = element("textarea");
    area.rows = 1;
    area.placeholder = kind === "json" ? "JSON" : "";
    area.value = kind === "json" ? asJson(property.default) : property.default ?? "";
    return area;
  }
  const input = element("input");
  input.type = { boolean: "checkbox", text: "text" }[kind] ?? "number";
  if (kind === "boolean") {
    input.checked = property.default === true;
  } else {
    input.value = property.default ?? "";
    input.step = kind === "integer" ? "1" : "any";
  }
  return input;
}

function asJson(value) {
  return value === undefined ? "" : JSON.stringify(value);
}

function valueOf(name, kind, text) {
  if (kind === "integer" || kind === "number") {
    return Number(text);
  }
  if (kind !== "json") {
    return text;
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(gettext("{name} is not valid JSON.", { name }));
  }
}
