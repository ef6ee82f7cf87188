// @ts-check
//
// The dialog that asks the person at the page whether a call may run. The page's scripts cannot answer it, only the
// browser's user.

/** @import * as Declared from "../relay.d.ts" */

const ARGUMENT_STYLE = { maxHeight: "12rem", overflow: "auto", whiteSpace: "pre-wrap", overflowWrap: "anywhere" };
const SETTLING_MS = 500; // a click that was meant for what the dialog covers does not count
const MAX_OPEN_CHARACTERS = 300; // of an argument; a longer one is folded
const MAX_INDENTED_CHARACTERS = 10_000;

/** @type {[answer: Declared.ApprovalAnswer, label: string][]} */
const BUTTONS = [
  ["deny", "Deny"],
  ["once", "Allow once"],
  ["tool", "Allow this tool"],
];

/** @type {Declared.Ask} */
export function askInDialog({ name, arguments: args, client, tool, signal }) {
  const dialog = element("dialog", { ariaLabel: `Allow ${visible(name)}?` });
  Object.assign(dialog.style, { width: "34rem", maxWidth: "calc(100vw - 2rem)", boxSizing: "border-box" });
  const asker = client ? visible([client.name, client.version].filter(Boolean).join(" ")) : "An agent";
  const title = tool.title ? `${visible(tool.title)} (${visible(name)})` : visible(name);
  const question = element("p", {}, `${asker} wants to use `, element("strong", {}, title), " of this page.");
  const buttons = element("p", {});
  Object.assign(buttons.style, { display: "flex", flexWrap: "wrap", gap: "0.6rem" });
  dialog.append(element("h2", {}, "Allow this?"), question, ...argumentsOf(args), buttons);
  return new Promise((resolve) => {
    let shownAt = performance.now();
    const onVisible = () => (shownAt = performance.now());
    const settle = (/** @type {Declared.ApprovalAnswer} */ answer) => {
      document.removeEventListener("visibilitychange", onVisible);
      dialog.remove();
      resolve(answer);
    };
    for (const [answer, label] of BUTTONS) {
      const button = element("button", { type: "button", autofocus: answer === "deny" }, label);
      button.addEventListener("click", (/** @type {MouseEvent} */ event) => {
        if (event.isTrusted && performance.now() - shownAt > SETTLING_MS) settle(answer);
      });
      buttons.append(button);
    }
    dialog.addEventListener("close", () => settle("deny")); // with Escape, for example
    signal.addEventListener("abort", () => settle("deny"));
    document.addEventListener("visibilitychange", onVisible);
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** The arguments of a call, each under its name. @param {any} args */
function argumentsOf(args) {
  const entries = Object.entries(args);
  if (!entries.length) return [element("p", {}, "Without arguments.")];
  return entries.map(([name, value]) => {
    const text = visible(toText(value));
    const shown = element("pre", { tabIndex: 0, role: "region", ariaLabel: visible(name) }, text);
    Object.assign(shown.style, ARGUMENT_STYLE);
    const isLong = text.length > MAX_OPEN_CHARACTERS;
    const label = isLong ? `${visible(name)} (${text.length.toLocaleString("en")} characters)` : visible(name);
    return element("details", { open: !isLong }, element("summary", {}, label), shown);
  });
}

/** @param {unknown} value */
function toText(value) {
  if (typeof value === "string") return value;
  const text = JSON.stringify(value);
  return text.length > MAX_INDENTED_CHARACTERS ? text : JSON.stringify(value, null, 2);
}

/**
 * A text without characters that nobody sees, or that change the order of others: each is written as its number.
 * @param {string} text
 */
export function visible(text) {
  return text.replace(/(?![\n\t])[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu, (character) => {
    const number = character.codePointAt(0) ?? 0;
    return `⟨U+${number.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/** @param {string} name @param {object} properties @param {(Node | string)[]} content @returns {any} */
function element(name, properties, ...content) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...content);
  return made;
}
