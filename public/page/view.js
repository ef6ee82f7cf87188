// What both views use. Whatever somebody else has sent is shown as text, never as HTML.

/**
 * The first element that matches the selector. Throws if there is none of this type.
 * @template {HTMLElement} T
 * @param {string} selector @param {new () => T} type @param {ParentNode} root @returns {T}
 */
export function find(selector, type, root = document) {
  const found = root.querySelector(selector);
  if (!(found instanceof type)) throw new TypeError(`there is no ${type.name} at ${selector}`);
  return found;
}

/** @param {string} code */
export function formatCode(code) {
  return `${code.slice(0, 4)}-${code.slice(4)}`;
}

export { visible } from "../relay/dialog.js";

/** Minutes and seconds. @param {number} seconds */
export function formatTime(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Let screen readers read a text out. @param {string} text */
export function announce(text) {
  find("#announcer", HTMLElement).textContent = text;
}

/**
 * Parse JSON without losing digits: a number that JavaScript would round is kept as it is written.
 * @param {string} text @returns {any}
 */
export function parse(text) {
  const { rawJSON } = /** @type {JSON & { rawJSON?: (text: string) => unknown }} */ (JSON);
  /** @param {string} _key @param {any} value @param {{ source: string }} [context] */
  const reviver = (_key, value, context) => {
    const isRounded = typeof value === "number" && context && String(value) !== context.source;
    return isRounded && rawJSON ? rawJSON(context.source) : value;
  };
  return JSON.parse(text, reviver);
}

/** The value of what a person has typed: JSON if it is valid, else the text itself. @param {string} text */
export function parseInput(text) {
  try {
    return parse(text);
  } catch {
    return text;
  }
}

const MAX_INDENT_CHARACTERS = 200_000;

/**
 * The text to show for a value: a string itself, anything else as JSON. Indentation grows with the depth times the
 * length, so that deeply nested values would fill the memory; such a value is not indented.
 * @param {unknown} value @returns {string}
 */
function formatValue(value) {
  if (typeof value === "string") return value;
  const text = JSON.stringify(value);
  let depth = 0;
  let maxDepth = 0;
  for (const [character] of text.matchAll(/[[{\]}]/g)) {
    depth += "[{".includes(character) ? 1 : -1;
    maxDepth = Math.max(maxDepth, depth);
  }
  return text.length * maxDepth > MAX_INDENT_CHARACTERS ? text : JSON.stringify(value, null, 2);
}

const MAX_SHOWN_CHARACTERS = 20_000; // a megabyte takes the browser seconds to lay out

/** Show a value, a long one up to a button that shows the rest. @param {HTMLElement} shown @param {unknown} value */
export function showValue(shown, value) {
  const text = formatValue(value);
  shown.dir = typeof value === "string" ? "auto" : "ltr"; // JSON's punctuation stays in its place beside Arabic
  shown.textContent = text.slice(0, MAX_SHOWN_CHARACTERS);
  if (text.length <= MAX_SHOWN_CHARACTERS) return;
  const more = document.createElement("button");
  more.type = "button";
  more.textContent = `Show all ${text.length.toLocaleString("en")} characters`;
  more.addEventListener("click", () => {
    shown.textContent = text;
    more.remove();
    shown.focus();
  });
  shown.after(more);
}

/** The arguments of a call, a line each. @param {any} args */
export function formatArguments(args) {
  const entries = Object.entries(args ?? {});
  return entries.map(([name, value]) => `${name}: ${formatValue(value)}`).join("\n") || "No arguments";
}

const MAX_ENTRIES = 100; // so that a page that is open for hours does not grow without end

/** Put an entry at the beginning of a list, which loses its oldest. @param {HTMLElement} list @param {Element} item */
export function prependEntry(list, item) {
  list.prepend(item);
  for (const old of [...list.children].slice(MAX_ENTRIES)) old.remove();
}

/** Show the rest of an entry that has grown, if the person still looks at its beginning. @param {HTMLElement} item */
export function reveal(item) {
  const { top } = item.getBoundingClientRect();
  if (top >= 0 && top < innerHeight) item.scrollIntoView({ block: "nearest" });
}

const MAX_KEPT_CHARACTERS = 2_000; // of a text in an entry, after a reload

/** @typedef {ReturnType<typeof createEntry>} Entry */

/**
 * An entry of the list: a request, its outcome, and its answer.
 * @param {string} title @param {unknown} payload
 */
export function createEntry(title, payload) {
  const content = /** @type {DocumentFragment} */ (find("#entry", HTMLTemplateElement).content.cloneNode(true));
  const item = find("li", HTMLLIElement, content);
  const outcome = find(".outcome", HTMLElement, item);
  const question = find(".payload", HTMLElement, item);
  const answer = find(".answer", HTMLElement, item);
  find("h3", HTMLElement, item).textContent = title;
  showValue(question, payload);
  question.ariaLabel = `${title}: what was asked`;
  answer.ariaLabel = `${title}: the answer`;
  return {
    title,
    item,
    outcome,
    form: find("form", HTMLFormElement, item),
    input: find("textarea", HTMLTextAreaElement, item),
    refuse: find(".refuse", HTMLButtonElement, item),
    /** @param {string} text @param {boolean} failed */
    setOutcome(text, failed = false) {
      outcome.textContent = text;
      item.classList.toggle("failed", failed);
    },
    /** Take no answer any more. @param {string} text @param {boolean} failed */
    close(text, failed = false) {
      this.form.remove();
      this.setOutcome(text, failed);
    },
    /** What the entry says, with long texts cut. @param {string} result In place of the answer. */
    texts(result = answer.textContent) {
      const [asked, answered] = [question.textContent, result].map((text) => text.slice(0, MAX_KEPT_CHARACTERS));
      const failed = item.classList.contains("failed");
      return { title, question: asked, answer: answered, outcome: outcome.textContent, failed };
    },
    /** Show only the line with title and outcome, and a button for the rest. */
    fold() {
      const button = Object.assign(document.createElement("button"), { type: "button", ariaLabel: `Show ${title}` });
      const toggle = () => {
        const folded = item.classList.toggle("folded");
        button.textContent = folded ? "Show" : "Hide";
        button.ariaExpanded = `${!folded}`;
      };
      button.addEventListener("click", toggle);
      outcome.after(button);
      toggle();
    },
    /** @param {unknown} value */
    showAnswer(value) {
      showValue(answer, value);
      answer.hidden = false;
    },
  };
}

/** A picture of the modules of a QR code. @param {(0 | 1)[][]} modules @param {string} label */
export function drawModules(modules, label) {
  const [picture, path] = ["svg", "path"].map((name) => document.createElementNS("http://www.w3.org/2000/svg", name));
  const edge = 4; // light modules around the code, without which readers do not find it
  const size = modules.length + 2 * edge;
  picture.setAttribute("viewBox", `${-edge} ${-edge} ${size} ${size}`);
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", label);
  const squares = modules.flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : "")));
  path.setAttribute("d", squares.join(""));
  picture.append(path);
  return picture;
}

/** Submit a form with Ctrl+Enter, also from a textarea. @param {HTMLFormElement} form */
export function submitByKey(form) {
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}

/** Let a button copy a text, and show that it did. @param {HTMLButtonElement} button @param {() => string} text */
export function copyOnClick(button, text) {
  const label = button.textContent;
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  button.addEventListener("click", async () => {
    const message = (await copy(text())) ? "Copied" : "Copying is not allowed here";
    button.textContent = message;
    announce(message);
    clearTimeout(timer);
    timer = setTimeout(() => (button.textContent = label), 2000);
  });
}

/** Whether the text is in the clipboard now. @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // a page without https has no navigator.clipboard
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}
