// The page that shows openapi.json to people.

import { element } from "./element.js";
import { find } from "./view.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

const description = await (await fetch("/openapi.json")).json();
showAbout();
find("#calls", HTMLElement).append(...Object.entries(description.paths).flatMap(pathSections));

function showAbout() {
  const { description: text, version } = description.info;
  const paragraphs = `${text}`.split("\n\n").map((paragraph) => element("p", {}, paragraph));
  find("#about", HTMLElement).append(...paragraphs, element("p", { className: "hint" }, `Version ${version}`));
}

/** The sections of a path, one for each method. @param {[path: string, item: any]} entry */
function pathSections([path, item]) {
  const methods = METHODS.filter((method) => method in item);
  return methods.map((method) => callSection(path, method, item[method], item.parameters ?? []));
}

/** @param {string} path @param {string} method @param {any} call @param {any[]} shared Parameters of all methods. */
function callSection(path, method, call, shared) {
  const section = element("section", { className: "card", id: call.operationId ?? "" });
  const line = `${method.toUpperCase()} ${path}`;
  section.append(element("h2", {}, call.summary ?? line), element("p", {}, element("code", {}, line)));
  if (call.tags) section.append(element("p", { className: "hint" }, `For: ${call.tags.join(", ")}`));
  if (call.description) section.append(element("p", {}, call.description));
  const parameters = [...shared, ...(call.parameters ?? [])].map(resolve);
  if (parameters.length) section.append(table("Parameters", line, parameters.map(parameterRow)));
  for (const [name, { value }] of Object.entries(contentExamples(call.requestBody))) {
    section.append(element("h3", {}, `Send: ${name}`), json(value, `${line}, send: ${name}`));
  }
  section.append(table("Answers", line, Object.entries(call.responses).map(responseRow)));
  for (const [status, response] of Object.entries(call.responses)) {
    if (!status.startsWith("2")) continue;
    for (const [name, { value }] of Object.entries(contentExamples(response))) {
      section.append(element("h3", {}, `${status}: ${name}`), json(value, `${line}, ${status}: ${name}`));
    }
  }
  return section;
}

/** @param {any} parameter @returns {[string, string]} */
function parameterRow({ name, in: place, description: text = "" }) {
  return [`${name} (${place})`, text];
}

/** @param {[status: string, response: any]} entry @returns {[string, string]} */
function responseRow([status, response]) {
  return [status, resolve(response).description];
}

/** The examples of a body in JSON. @param {any} body @returns {Record<string, any>} */
function contentExamples(body) {
  return resolve(body ?? {}).content?.["application/json"]?.examples ?? {};
}

/** What a reference in the document stands for. @param {any} value */
function resolve(value) {
  if (typeof value.$ref !== "string") return value;
  const names = value.$ref.slice("#/".length).split("/");
  return names.reduce((/** @type {any} */ found, /** @type {string} */ name) => found[name], description);
}

/** @param {string} title @param {string} line The call's. @param {[string, string][]} rows */
function table(title, line, rows) {
  const made = element("table", {}, element("caption", {}, title));
  for (const [name, text] of rows) {
    made.append(element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, text)));
  }
  return element("div", { className: "wide", tabIndex: 0, role: "region", ariaLabel: `${line}: ${title}` }, made);
}

/** @param {unknown} value @param {string} label */
function json(value, label) {
  return element("pre", { tabIndex: 0, role: "region", ariaLabel: label }, JSON.stringify(value, null, 2));
}
