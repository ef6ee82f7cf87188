// @ts-check
//
// The tools of a host: the ones that it has made, and those that its page has registered with the browser.

import { isObject, messageOf, toJson } from "./json.js";

/** @import * as Declared from "../relay.d.ts" */
/** @typedef {Declared.Tool & { definition: Declared.ToolDefinition }} OwnTool Its definition is a copy. */

export class Toolbox {
  #own = /** @type {Map<unknown, OwnTool>} */ (new Map());
  /** @type {Declared.ModelContext | undefined} */
  #context;

  /** @param {readonly Declared.Tool[] | Declared.ModelContext} tools */
  constructor(tools) {
    if (Array.isArray(tools)) for (const tool of tools) this.add(tool);
    else if ("getTools" in tools && "executeTool" in tools) this.#context = tools;
    else throw new TypeError("tools has to be an array, or a document.modelContext that has getTools and executeTool");
  }

  /** @param {Declared.Tool} tool @returns {OwnTool} */
  add(tool) {
    const { name } = tool;
    if (typeof tool.execute !== "function") throw new TypeError(`the tool ${name} needs execute, a function`);
    if (this.#own.has(name)) throw new TypeError(`there is a tool ${name} already`);
    const own = { name, definition: toDefinition(tool), execute: tool.execute.bind(tool) };
    this.#own.set(name, own);
    return own;
  }

  /** Whether it was there. @param {OwnTool} own */
  remove(own) {
    return this.#own.get(own.name) === own && this.#own.delete(own.name);
  }

  /** @param {() => void} listener @param {AbortSignal} signal */
  onChange(listener, signal) {
    this.#context?.addEventListener("toolchange", listener, { signal });
    listener(); // they may have changed since they were read
  }

  /** All tools, with different names. */
  async definitions() {
    const definitions = new Map(Array.from(this.#own.values(), ({ name, definition }) => [name, definition]));
    for (const tool of (await this.#context?.getTools()) ?? []) {
      if (!definitions.has(tool.name)) definitions.set(tool.name, toDefinition(tool));
    }
    return [...definitions.values()];
  }

  /** The result of a call, which says in its text what has failed. Throws the error of an unknown tool. */
  async call(/** @type {Declared.ToolCall} */ call, /** @type {Declared.ToolContext} */ context) {
    const execute = this.#own.get(call.name)?.execute ?? (await this.#adopted(call.name));
    if (!execute) throw { code: "unknown_tool", message: `There is no tool ${call.name}.` };
    try {
      if (!isObject(call.arguments)) throw new TypeError("The arguments have to be an object.");
      const result = toToolResult(await execute(call.arguments, context));
      toJson(result); // throws for what is no JSON
      return result;
    } catch (thrown) {
      return { content: [{ type: "text", text: messageOf(thrown) }], isError: true };
    }
  }

  /** What executes a tool that the page has registered with the browser. @param {string} name */
  async #adopted(name) {
    const context = this.#context;
    const tool = (await context?.getTools())?.find((tool) => tool.name === name);
    if (!context || !tool) return undefined;
    return async (/** @type {any} */ args, /** @type {Declared.ToolContext} */ { signal }) => {
      // Chrome takes an object since version 155, and took JSON before: to that this object converts.
      const input = Object.defineProperty({ ...args }, Symbol.toPrimitive, { value: () => JSON.stringify(args) });
      return fromModelContext(await context.executeTool(tool, input, { signal }));
    };
  }
}

/** The call of a tool that a request is, or null. @param {any} payload @returns {Declared.ToolCall | null} */
export function toToolCall(payload) {
  const { name, arguments: args } = (payload?.method === "tools/call" && payload.params) || {};
  return typeof name === "string" ? { name, arguments: args ?? {} } : null;
}

/** The result of a tool in the words of MCP. @param {any} value @returns {Declared.CallToolResult} */
export function toToolResult(value = "") {
  const { content } = Object(value);
  if (Array.isArray(content) && content.every((block) => typeof block?.type === "string")) return value;
  if (typeof value === "string") return { content: [{ type: "text", text: value }] };
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`The tool returned a ${typeof value}, which is no JSON.`);
  return { content: [{ type: "text", text }], structuredContent: value };
}

/** What guests see of a tool. @param {Declared.ToolDefinition} tool @returns {Declared.ToolDefinition} */
function toDefinition({ name, title, description, inputSchema, outputSchema, annotations }) {
  const schema = typeof inputSchema === "string" ? JSON.parse(inputSchema || "{}") : inputSchema; // Chrome before 155
  const input = isObject(schema) ? { type: "object", ...schema } : schema;
  const text = toJson({ name, title: title || undefined, description, inputSchema: input, outputSchema, annotations });
  return JSON.parse(text);
}

/** What a tool has returned, from the text or JSON that the browser makes of it. @param {any} result */
function fromModelContext(result) {
  if (result === null || result === "undefined") return undefined; // null if the tool has left the page
  try {
    const value = JSON.parse(result);
    return Object(value) === value ? value : result;
  } catch {
    return result;
  }
}
