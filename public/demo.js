// A data desk, as an example of a page whose tools an agent uses. All that it needs of Parley is host({ tools }), which
// also asks the person before a tool runs that does not only read.

import { notify, showQuestions } from "./page/attention.js"; // so that no question is missed
import { showCalls } from "./page/calls.js";
import { showConnect } from "./page/connect.js"; // the panel that says how to connect an agent
import { element } from "./page/element.js";
import { drawPlot, paint, pointsOf, toText } from "./page/plot.js";
import { rememberChoice } from "./page/remember.js";
import { host } from "./relay.js";

/** @import { Plot, Row } from "./page/plot.js" */
/** @import { Tool } from "./relay.js" */
/** @typedef {{ columns: string[], rows: Row[], selected: number[], plot: Plot | null }} Desk Rows count from 1. */

// The desk. It is replaced and never changed, so that Undo can go back to what it was before.

/** @type {Desk} */
const BEGINNING = {
  columns: ["planet", "radius", "moons"],
  rows: [
    { planet: "Mercury", radius: 2440, moons: 0 },
    { planet: "Earth", radius: 6371, moons: 1 },
    { planet: "Mars", radius: 3390, moons: 2 },
  ],
  selected: [],
  plot: { type: "bar", x: "planet", y: "moons", title: "Moons" },
};
// More would freeze the tab, or not fit into a message.
const MAX_ROWS = 500;
const MAX_COLUMNS = 30;
const MAX_CHARACTERS = 200_000;
const MAX_CELL_CHARACTERS = 200;

/** @type {Desk} */
let desk = savedDesk() ?? BEGINNING;

/** The desk as it was before a reload. @returns {Desk | null} */
function savedDesk() {
  const saved = JSON.parse(sessionStorage.getItem("desk") ?? "null");
  return saved && whatIsTooMuch(saved) ? null : saved;
}

/** What a desk has too much of, or an empty text. @param {Desk} desk */
function whatIsTooMuch({ columns, rows, plot }) {
  if (rows.length > MAX_ROWS) return `${MAX_ROWS} rows`;
  if (columns.length > MAX_COLUMNS) return `${MAX_COLUMNS} columns`;
  return JSON.stringify([columns, rows, plot]).length > MAX_CHARACTERS ? `${MAX_CHARACTERS} characters` : "";
}

/** @param {Partial<Desk>} changed */
function update(changed) {
  const next = { ...desk, ...changed };
  const limit = whatIsTooMuch(next);
  check(!limit, `The desk takes no more than ${limit}.`);
  desk = next;
  sessionStorage.setItem("desk", JSON.stringify(desk));
  showTable();
  showPlot();
}

// The tools. An agent chooses among them by their descriptions, and learns from the schemas which arguments there are.
// Nobody but the tool checks these. What a tool returns goes to the agent, and so does the message of what it throws.

/** @type {Tool[]} */
const tools = [
  {
    name: "get_data",
    description: "Returns the table (columns and rows), which rows are selected (they count from 1), and the plot.",
    annotations: { readOnlyHint: true },
    execute: () => desk,
  },
  {
    name: "set_columns",
    description:
      "Sets the columns of the table. Rows keep their values of the columns that stay, or go if they have none.",
    inputSchema: { properties: { columns: { type: "array", items: { type: "string" } } }, required: ["columns"] },
    execute(/** @type {{ columns: string[] }} */ { columns }) {
      const isList = Array.isArray(columns) && columns.every((name) => name && typeof name === "string");
      check(isList && new Set(columns).size === columns.length, "columns has to be a list of different names.");
      const cut = desk.rows.map((row) => Object.fromEntries(columns.map((name) => [name, row[name]])));
      const kept = cut.filter((row) => Object.values(row).some((value) => value !== undefined));
      const selected = desk.selected.map((number) => kept.indexOf(cut[number - 1]) + 1).filter(Boolean);
      const isShown = desk.plot && columns.includes(desk.plot.x) && columns.includes(desk.plot.y);
      update({ columns, rows: kept, selected, plot: isShown ? desk.plot : null });
      return `The columns are: ${columns.join(", ")}.`;
    },
  },
  {
    name: "add_rows",
    description: "Adds rows at the end of the table. Each row is an object with a value for each column.",
    inputSchema: { properties: { rows: { type: "array", items: { type: "object" } } }, required: ["rows"] },
    execute(/** @type {{ rows: Row[] }} */ { rows }) {
      check(Array.isArray(rows) && rows.every((row) => row instanceof Object), "rows has to be a list of objects.");
      const unknown = rows.flatMap(Object.keys).find((name) => !desk.columns.includes(name));
      check(unknown === undefined, `There is no column ${unknown}, only: ${desk.columns.join(", ")}.`);
      update({ rows: [...desk.rows, ...rows] });
      return `The table has ${desk.rows.length} rows now.`;
    },
  },
  {
    name: "plot",
    description: "Plots two columns in place of the plot before: as bars (x is a label), or as points (x is a number).",
    inputSchema: {
      properties: {
        type: { enum: ["bar", "scatter"] },
        x: { type: "string", description: "A column." },
        y: { type: "string", description: "A column of numbers." },
        title: { type: "string", description: "By default: y by x." },
      },
      required: ["type", "x", "y"],
    },
    execute({ type, x, y, title }) {
      check(["bar", "scatter"].includes(type), "type has to be bar or scatter.");
      check([x, y].every((name) => desk.columns.includes(name)), `x and y have to be of: ${desk.columns.join(", ")}.`);
      const plot = { type, x, y, title: `${title ?? `${y} by ${x}`}` };
      const count = pointsOf(desk.rows, plot).length;
      check(count, "No row has numbers there.");
      update({ plot });
      return `The plot shows ${count} of ${desk.rows.length} rows.`;
    },
  },
  {
    name: "select",
    description: "Selects rows by their numbers, and no others: they are highlighted in the table and in the plot.",
    inputSchema: { properties: { rows: { type: "array", items: { type: "integer" } } }, required: ["rows"] },
    execute(/** @type {{ rows: number[] }} */ { rows }) {
      const areRows = Array.isArray(rows) && rows.every((row) => Number.isInteger(row) && desk.rows[row - 1]);
      check(areRows, `rows has to be a list of numbers from 1 to ${desk.rows.length}.`);
      update({ selected: rows });
      return `Selected: ${rows.join(", ") || "no row"}.`;
    },
  },
  {
    name: "walk_through",
    description: "Selects one row after the other, so that the person can follow. It takes some seconds for each row.",
    inputSchema: {
      properties: { seconds: { type: "number", description: "For each row, 1 by default, at most 10." } },
    },
    async execute({ seconds = 1 }, { signal, progress }) {
      check(seconds > 0 && seconds <= 10, "seconds has to be a number up to 10.");
      const { length } = desk.rows;
      for (let row = 1; row <= length; row++) {
        signal.throwIfAborted(); // the agent may have given up
        update({ selected: desk.rows[row - 1] ? [row] : [] });
        progress(row, length, `row ${row}`);
        await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      }
      return `The person has seen ${length} rows.`;
    },
  },
  {
    name: "get_picture",
    description: "Returns a picture of the plot.",
    annotations: { readOnlyHint: true },
    execute() {
      const picture = find("#plot svg");
      check(picture, "There is nothing to plot yet.");
      const [, data] = paint(picture).toDataURL("image/png").split(",");
      return { content: [{ type: "image", mimeType: "image/png", data }] };
    },
  },
  {
    name: "ask_person",
    description: "Asks the person at this page a question, and returns the answer. It may take a few minutes.",
    inputSchema: { properties: { question: { type: "string" } }, required: ["question"] },
    annotations: { readOnlyHint: true },
    execute({ question }, { signal }) {
      check(typeof question === "string", "question has to be a text.");
      return new Promise((resolve, reject) => {
        const answer = element("input", { required: true, autocomplete: "off", dir: "auto" });
        const label = element("label", { dir: "auto" }, question, answer);
        const form = element("form", {}, label, element("button", {}, "Answer"));
        form.addEventListener("submit", (/** @type {Event} */ event) => {
          event.preventDefault();
          resolve(answer.value);
          form.remove();
          countQuestions();
        });
        // The agent may give up, or the session end. Then nobody waits for the answer any more.
        signal.addEventListener("abort", () => {
          reject(signal.reason);
          form.remove();
          countQuestions();
        });
        find("#questions").append(form);
        notify(question);
        countQuestions();
      });
    },
  },
];

/** @param {unknown} condition @param {string} message For the agent, which may then do better. */
function check(condition, message) {
  if (!condition) throw new Error(message);
}

// The page.

function showTable() {
  const { columns, rows, selected } = desk;
  const head = ["#", ...columns].map((name) => element("th", { scope: "col" }, name));
  const body = rows.map((row, index) => {
    const isSelected = selected.includes(index + 1);
    const box = element("input", { type: "checkbox", checked: isSelected });
    box.addEventListener("change", () => {
      const others = desk.selected.filter((number) => number !== index + 1);
      update({ selected: box.checked ? [...others, index + 1] : others });
      find(`tr:nth-child(${index + 1}) input`).focus();
    });
    const number = element("td", {}, element("label", {}, box, `${index + 1}`));
    const texts = columns.map((name) => toText(row[name]).slice(0, MAX_CELL_CHARACTERS));
    const cells = texts.map((text) => element("td", { dir: "auto" }, text));
    return element("tr", { className: isSelected ? "selected" : "" }, number, ...cells);
  });
  find("thead").replaceChildren(element("tr", {}, ...head));
  find("tbody").replaceChildren(...body);
}

function showPlot() {
  const { plot, rows, selected } = desk;
  const points = plot ? pointsOf(rows, plot) : [];
  const nothing = element("p", {}, "There is nothing to plot yet.");
  find("#plot").replaceChildren(plot && points.length ? drawPlot(plot, points, selected) : nothing);
}

function countQuestions() {
  showQuestions(find("#questions").children.length, () => find("#questions input").focus());
}

/** @param {string} selector @returns {any} */
function find(selector) {
  return document.querySelector(selector);
}

update({});

// The session. After a reload it is the same one, and so is the code.

try {
  const approval = find("#approve");
  rememberChoice(approval);
  const session = await host({ tools: showCalls(tools, () => desk, update), approve: approval.value });
  const approve = () => (session.approve = approval.value);
  approval.addEventListener("change", approve);
  approve(); // it may have been changed while the session was opened
  const showState = () => {
    find("#state").textContent = session.state === "ended" ? "ended: reload for a new one" : session.state;
    find("#state").dataset.state = session.state;
  };
  session.addEventListener("state", showState);
  showState();
  find("#code").textContent = `${session.code.slice(0, 4)}-${session.code.slice(4)}`;
  showConnect(session);
  const fold = () => (find("#how-to-connect").open = false); // the agent is at work: leave the room to the table
  session.addEventListener("request", fold, { once: true });
} catch (error) {
  find("#state").textContent = `No session: ${error instanceof Error ? error.message : error}`;
  find("#state").dataset.state = "disconnected";
}
