// The tools of the session that a guest has joined: a form for each, and the results of their calls.

import { createCounter } from "./history.js";
import { createToolForm } from "./tool-form.js";
import { createResult, textOf } from "./tool-result.js";
import { announce, createEntry, find, formatArguments, reveal } from "./view.js";

/** @import { Guest, ProgressReport, RelayError, ToolDefinition } from "../relay.js" */
/** @import { Entry } from "./view.js" */
/** @typedef {(item: HTMLElement) => void} OnCall Called with the entry of a call that begins. */
/** @typedef {(texts: ReturnType<Entry["texts"]>) => void} OnDone Called when a call is done. */

const section = find("#guest-tools", HTMLElement);
const list = find("ul", HTMLUListElement, section);
const nextCall = createCounter("guest calls");

export function hideGuestTools() {
  section.hidden = true;
  list.replaceChildren();
}

/** @param {readonly ToolDefinition[]} tools @param {() => Guest} join @param {OnCall} onCall @param {OnDone} onDone */
export function showGuestTools(tools, join, onCall, onDone) {
  section.hidden = !tools.length;
  const items = tools.map((tool) => {
    return createItem(tool, tools.length === 1, (args) => callTool(join(), tool.name, args, onCall, onDone));
  });
  list.replaceChildren(...items);
}

/** @param {ToolDefinition} tool @param {boolean} open @param {(args: Record<string, any>) => void} call */
function createItem(tool, open, call) {
  const item = document.createElement("li");
  const details = Object.assign(document.createElement("details"), { open });
  const summary = document.createElement("summary");
  summary.textContent = tool.title ? `${tool.title} (${tool.name})` : tool.name;
  const description = document.createElement("p");
  description.textContent = tool.description ?? "";
  const { form, read } = createToolForm(tool);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    call(read());
  });
  details.append(summary, description, form);
  item.append(details);
  return item;
}

/**
 * @param {Guest} guest @param {string} name @param {Record<string, any>} args
 * @param {OnCall} onCall @param {OnDone} onDone
 */
async function callTool(guest, name, args, onCall, onDone) {
  const title = `Call ${nextCall()}: ${name}`;
  const entry = createEntry(title, formatArguments(args));
  entry.form.remove();
  entry.setOutcome("Waiting for the host");
  onCall(entry.item);
  let answer = "";
  try {
    const result = await guest.callTool(name, args, { onProgress: (report) => entry.setOutcome(toText(report)) });
    entry.item.append(createResult(result, title));
    answer = textOf(result);
    entry.setOutcome(result.isError ? "The tool has failed" : "Done", result.isError);
  } catch (error) {
    entry.setOutcome(/** @type {RelayError} */ (error).message, true);
  }
  reveal(entry.item);
  onDone(entry.texts(answer));
  announce(`${title}: ${entry.outcome.textContent}`);
}

/** @param {ProgressReport} report */
function toText({ progress, total, message }) {
  const count = total === undefined ? `${progress}` : `${progress} of ${total}`;
  return message ? `${count}: ${message}` : count;
}
