// A form for the arguments of a tool, made from its inputSchema.

import { parse } from "./view.js";

/** @import { ToolDefinition } from "../relay.js" */
/** @typedef {{ label: HTMLElement, read: () => unknown }} Field It reads undefined for an argument that is left out. */

/** @param {ToolDefinition} tool */
export function createToolForm({ name, inputSchema }) {
  const { properties = {}, required = [] } = /** @type {any} */ (inputSchema ?? {});
  const fields = Object.entries(properties).map(([argument, schema]) => {
    return { argument, ...createField(argument, plainSchema(schema), required.includes(argument)) };
  });
  const form = document.createElement("form");
  const button = document.createElement("button");
  button.className = "main";
  button.textContent = `Call ${name}`;
  form.append(...fields.map(({ label }) => label), button);
  /** The arguments as they are typed. */
  const read = () => {
    const entries = fields.map((field) => [field.argument, field.read()]);
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
  };
  return { form, read };
}

/** A schema without "or null". @param {any} schema @returns {any} */
function plainSchema(schema) {
  if (typeof schema !== "object") return {};
  const others = (schema.anyOf ?? []).filter((/** @type {any} */ choice) => choice?.type !== "null");
  const merged = others.length === 1 ? { ...schema, ...others[0] } : schema;
  const types = [merged.type].flat().filter((type) => type !== "null");
  return { ...merged, type: types.length === 1 ? types[0] : undefined };
}

/** @param {string} name @param {any} schema @param {boolean} required @returns {Field} */
function createField(name, schema, required) {
  const label = document.createElement("label");
  label.append(required ? name : `${name} (optional)`);
  const { input, read } = createInput(schema, required);
  if (input instanceof HTMLInputElement && input.type === "checkbox") label.prepend(input);
  else label.append(input);
  if (schema.description) {
    const hint = document.createElement("span");
    hint.className = "hint";
    hint.textContent = schema.description;
    label.append(hint);
  }
  return { label, read };
}

/** @param {any} schema @param {boolean} required @returns {{ input: HTMLElement, read: () => unknown }} */
function createInput(schema, required) {
  if (Array.isArray(schema.enum)) return createSelect(schema, required);
  if (schema.type === "boolean") return createBox(schema, required);
  if (schema.type === "number" || schema.type === "integer") return createNumber(schema, required);
  if (schema.type === "string") {
    const input = Object.assign(document.createElement("input"), { autocomplete: "off", required, dir: "auto" });
    input.value = schema.default ?? "";
    return { input, read: () => input.value || (required ? "" : undefined) };
  }
  return createJson(schema, required);
}

/** @param {any} schema @param {boolean} required */
function createSelect(schema, required) {
  const input = Object.assign(document.createElement("select"), { required });
  if (!required) input.append(new Option("", ""));
  for (const value of schema.enum) {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const isDefault = JSON.stringify(value) === JSON.stringify(schema.default);
    input.append(new Option(text, JSON.stringify(value), isDefault, isDefault));
  }
  return { input, read: () => (input.value ? parse(input.value) : undefined) };
}

/** @param {any} schema @param {boolean} required */
function createBox(schema, required) {
  const initial = schema.default === true;
  const input = Object.assign(document.createElement("input"), { type: "checkbox", checked: initial });
  return { input, read: () => (required || input.checked !== initial ? input.checked : undefined) };
}

/** @param {any} schema @param {boolean} required */
function createNumber({ type, minimum = "", maximum = "", default: initial = "" }, required) {
  const step = type === "integer" ? "1" : "any";
  const input = Object.assign(document.createElement("input"), { type: "number", required, step });
  Object.assign(input, { min: `${minimum}`, max: `${maximum}`, value: `${initial}` });
  return { input, read: () => (input.value ? Number(input.value) : undefined) };
}

/** @param {any} schema @param {boolean} required */
function createJson(schema, required) {
  const input = Object.assign(document.createElement("textarea"), { rows: 2, required, placeholder: "JSON" });
  if (schema.default !== undefined) input.value = JSON.stringify(schema.default);
  input.addEventListener("input", () => input.setCustomValidity(isJson(input.value) ? "" : "This is not JSON."));
  return { input, read: () => (input.value.trim() ? parse(input.value) : undefined) };
}

/** @param {string} text */
function isJson(text) {
  try {
    return !text.trim() || parse(text) !== undefined;
  } catch {
    return false;
  }
}
