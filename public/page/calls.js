// What an agent did: its calls of a page's tools, a line each, and Undo for those that have changed something.

import { element } from "./element.js";
import { find } from "./view.js";

/** @import { Tool } from "../relay.js" */

const MAX_CALLS = 100; // that the page shows, and that can be undone
const MAX_CHARACTERS = 200_000; // of a call's arguments

const list = find("#calls", HTMLElement);
const undo = find("#undo", HTMLButtonElement);

/**
 * The same tools, whose calls are shown, and can be undone.
 * @template State @param {Tool[]} tools @param {() => State} read What a call may replace.
 * @param {(state: State) => void} restore Called with what was there before a call. @returns {Tool[]}
 */
export function showCalls(tools, read, restore) {
  /** @type {{ before: State, line: HTMLElement }[]} */
  const changes = [];
  const showUndo = () => (undo.disabled = changes.length === 0);
  undo.addEventListener("click", () => {
    const change = changes.pop();
    if (change) restore(change.before);
    change?.line.querySelector("summary")?.append(" Undone.");
    showUndo();
  });
  return tools.map((tool) => ({
    ...tool,
    async execute(args, context) {
      const before = read();
      const { line, outcome } = createLine(tool.name, args);
      const progress = (/** @type {any[]} */ ...report) => {
        const [done, total, message] = report;
        outcome.textContent = [total ? `${done} of ${total}` : done, message].filter(Boolean).join(", ");
        context.progress(done, total, message);
      };
      try {
        const result = tool.execute(args, { ...context, progress });
        if (read() !== before) changes.push({ before, line });
        changes.splice(0, changes.length - MAX_CALLS);
        showUndo();
        const value = await result;
        outcome.textContent = typeof value === "string" ? value : "Done.";
        return value;
      } catch (error) {
        outcome.textContent = `Failed: ${error instanceof Error ? error.message : error}`;
        line.className = "failed";
        throw error;
      }
    },
  }));
}

/** The line of a call that begins, at the head of the list. @param {string} name @param {unknown} args */
function createLine(name, args) {
  const outcome = element("span", {}, "…");
  const given = element("pre", { tabIndex: 0 }, JSON.stringify(args, null, 1).slice(0, MAX_CHARACTERS));
  const summary = element("summary", {}, element("b", {}, name), ": ", outcome);
  const line = element("li", {}, element("details", {}, summary, given));
  list.prepend(line);
  for (const old of [...list.children].slice(MAX_CALLS)) old.remove();
  find("#no-calls", HTMLElement).hidden = true;
  return { line, outcome };
}
