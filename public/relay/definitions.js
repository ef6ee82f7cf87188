// @ts-check
//
// The definitions of tools: what guests see of them.

import { isObject, toJson } from "./json.js";

/** @import * as Declared from "../relay.d.ts" */

/**
 * What guests see of a tool: a copy. Throws for what is no JSON.
 * @param {Declared.ToolDefinition} tool @returns {Declared.ToolDefinition}
 */
export function toDefinition({ name, title, description, inputSchema, outputSchema, annotations, _meta }) {
  const schema = typeof inputSchema === "string" ? JSON.parse(inputSchema || "{}") : inputSchema; // Chrome before 155
  const input = isObject(schema) ? { type: "object", ...schema } : schema;
  const named = { name, title: title || undefined, description };
  return JSON.parse(toJson({ ...named, inputSchema: input, outputSchema, annotations, _meta }));
}

/**
 * The definition of a tool that the page has registered with the browser. Throws also for one that the relay would
 * refuse, and with it the whole list: the host cannot mend what another script has registered.
 * @param {Declared.ToolDefinition} tool
 */
export function toAdoptedDefinition(tool) {
  const definition = toDefinition(tool);
  const { name, inputSchema = {} } = /** @type {{ name: string, inputSchema?: any }} */ (definition);
  check(/^[\w.-]{1,128}$/.test(name), "its name has to be 1 to 128 letters, digits or _ . -");
  check(isObject(inputSchema), "its inputSchema has to be an object");
  const { type = "object", properties = {}, required = [] } = inputSchema;
  check(type === "object", 'the type of its inputSchema has to be "object"');
  check(isObject(properties) && Object.values(properties).every(isSchema), "its properties have to be schemas");
  check(Array.isArray(required) && required.every(isText), "what it requires has to be a list of names");
  check(!toJson(inputSchema).includes('"x-mcp-header":'), "its inputSchema has x-mcp-header");
  return definition;
}

/** @param {boolean} condition @param {string} message */
function check(condition, message) {
  if (!condition) throw new TypeError(message);
}

/** @param {unknown} value */
function isSchema(value) {
  return isObject(value) || typeof value === "boolean";
}

/** @param {unknown} value */
function isText(value) {
  return typeof value === "string";
}
