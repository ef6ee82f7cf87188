// The tools of the session that a guest has joined: a form for each, and the results of their calls.

import { createToolForm } from "./tool-form.js";
import { createResult } from "./tool-result.js";
import { announce, createEntry, find, formatArguments } from "./view.js";

/** @import { Guest, ProgressReport, RelayError, ToolDefinition } from "../relay.js" */

const section = find("#guest-tools", HTMLElement);
const list = find("ul", HTMLUListElement, section);
let callCount = 0;

/**
 * Show the tools.
 * @param {readonly ToolDefinition[]} tools @param {() => Guest} join @param {(item: HTMLElement) => void} onCall Called
 * with the entry of a call that begins.
 */
export function showGuestTools(tools, join, onCall) {
  section.hidden = !tools.length;
  list.replaceChildren(...tools.map((tool) => createItem(tool, join, onCall, tools.length === 1)));
}

/**
 * @param {ToolDefinition} tool @param {() => Guest} join @param {(item: HTMLElement) => void} onCall
 * @param {boolean} open
 */
function createItem(tool, join, onCall, open) {
  const item = document.createElement("li");
  const details = Object.assign(document.createElement("details"), { open });
  const summary = document.createElement("summary");
  summary.textContent = tool.title ? `${tool.title} (${tool.name})` : tool.name;
  const description = document.createElement("p");
  description.textContent = tool.description ?? "";
  const { form, read } = createToolForm(tool);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    callTool(join(), tool.name, read(), onCall);
  });
  details.append(summary, description, form);
  item.append(details);
  return item;
}

/**
 * @param {Guest} guest @param {string} name @param {Record<string, any>} args
 * @param {(item: HTMLElement) => void} onCall
 */
async function callTool(guest, name, args, onCall) {
  const title = `Call ${++callCount}: ${name}`;
  const entry = createEntry(title, formatArguments(args));
  entry.form.remove();
  entry.setOutcome("Waiting for the host");
  onCall(entry.item);
  try {
    const result = await guest.callTool(name, args, { onProgress: (report) => entry.setOutcome(toText(report)) });
    entry.item.append(createResult(result, title));
    entry.setOutcome(result.isError ? "The tool has failed" : "Done", result.isError);
  } catch (error) {
    entry.setOutcome(/** @type {RelayError} */ (error).message, true);
  }
  announce(`${title}: ${entry.outcome.textContent}`);
}

/** @param {ProgressReport} report */
function toText({ progress, total, message }) {
  const count = total === undefined ? `${progress}` : `${progress} of ${total}`;
  return message ? `${count}: ${message}` : count;
}
