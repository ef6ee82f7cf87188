// @ts-check
//
// The tools of a host: the ones that it has made, and those that its page has registered with the browser.

import { toAdoptedDefinition, toDefinition } from "./definitions.js";
import { isObject, messageOf, toJson } from "./json.js";

/** @import * as Declared from "../relay.d.ts" */
/** @import { Approval } from "./approval.js" */
/** @typedef {Declared.Tool & { definition: Declared.ToolDefinition }} OwnTool Its definition is a copy. */

const TOOL_RETURNED = "The tool returned";

export class Toolbox {
  #own = /** @type {Map<unknown, OwnTool>} */ (new Map());
  /** @type {Declared.ModelContext | undefined} */
  #context;
  #leftOut = /** @type {Set<string>} */ (new Set()); // which tools of the context, and why, as the console says

  /** @param {readonly Declared.Tool[] | Declared.ModelContext} tools @param {Approval} approval */
  constructor(tools, approval) {
    this.approval = approval;
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
      const definition = definitions.get(tool.name) ?? this.#adoptedDefinition(tool);
      if (definition) definitions.set(tool.name, definition);
    }
    return [...definitions.values()];
  }

  /** A faulty tool must not keep the others from guests. @param {Declared.ToolDefinition} tool */
  #adoptedDefinition(tool) {
    try {
      return toAdoptedDefinition(tool);
    } catch (error) {
      const warning = `Parley leaves out the tool ${tool.name}: ${messageOf(error)}`;
      if (!this.#leftOut.has(warning)) console.warn(warning);
      this.#leftOut.add(warning);
    }
  }

  /** The result of a call, which says in its text what has failed. Throws the error of an unknown tool. */
  async call(/** @type {Declared.ToolCall} */ call, /** @type {Declared.ToolContext} */ context) {
    const tool = this.#own.get(call.name) ?? (await this.#adopted(call.name));
    if (!tool) throw { code: "unknown_tool", message: `There is no tool ${call.name}.` };
    try {
      if (!isObject(call.arguments)) throw new TypeError("The arguments have to be an object.");
      await this.approval.check(call, tool.definition, context);
      const result = toToolResult(await tool.execute(call.arguments, context));
      toJson(result, TOOL_RETURNED); // throws for what is no JSON
      return result;
    } catch (thrown) {
      return { content: [{ type: "text", text: messageOf(thrown) }], isError: true };
    }
  }

  /**
   * A tool that the page has registered with the browser.
   * @param {string} name @returns {Promise<OwnTool | undefined>}
   */
  async #adopted(name) {
    const context = this.#context;
    const tool = (await context?.getTools())?.find((tool) => tool.name === name);
    const definition = tool && this.#adoptedDefinition(tool);
    if (!context || !definition) return undefined;
    const execute = async (/** @type {any} */ args, /** @type {Declared.ToolContext} */ { signal }) => {
      // Chrome takes an object since version 155, and took JSON before: to that this object converts.
      const input = Object.defineProperty({ ...args }, Symbol.toPrimitive, { value: () => JSON.stringify(args) });
      return fromModelContext(await context.executeTool(tool, input, { signal }));
    };
    return { name, definition, execute };
  }
}

/** The call of a tool that a request is, or null. @param {any} payload @returns {Declared.ToolCall | null} */
export function toToolCall(payload) {
  const { name, arguments: args } = (payload?.method === "tools/call" && payload.params) || {};
  if (typeof name !== "string") return null;
  const client = toClient(payload.client);
  return { name, arguments: args ?? {}, ...(client && { client }) };
}

/** The program that calls, if it says who it is. @param {any} given @returns {Declared.AgentClient | null} */
export function toClient(given) {
  const { name, version } = given ?? {};
  return typeof name === "string" ? { name, ...(typeof version === "string" && { version }) } : null;
}

/** The result of a tool in the words of MCP. @param {any} value @returns {Declared.CallToolResult} */
export function toToolResult(value = "") {
  const { content } = Object(value);
  if (Array.isArray(content) && content.every((block) => typeof block?.type === "string")) return value;
  if (typeof value === "string") return { content: [{ type: "text", text: value }] };
  return { content: [{ type: "text", text: toJson(value, TOOL_RETURNED) }], structuredContent: value };
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
