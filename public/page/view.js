// What both views of the page share. Whatever somebody sent goes into the page as text, never as HTML.

/** @param {string} id @returns {any} */
export function element(id) {
  return document.getElementById(id);
}

/** @param {string} code */
export function grouped(code) {
  return `${code.slice(0, 4)}-${code.slice(4)}`;
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Say it to those who cannot see it. @param {string} text */
export function announce(text) {
  element("announcer").textContent = text;
}

/**
 * Read JSON without losing digits: a number that JavaScript would round is kept as it is written.
 * @param {string} text @returns {any}
 */
export function parse(text) {
  const { rawJSON } = /** @type {any} */ (JSON);
  /** @param {string} _key @param {any} value @param {any} context */
  const exact = (_key, value, context) =>
    typeof value === "number" && rawJSON && context && String(value) !== context.source ? rawJSON(context.source) : value;
  return JSON.parse(text, /** @type {any} */ (exact));
}

/** What somebody typed, as JSON if it is some. @param {string} text */
export function typed(text) {
  try {
    return parse(text);
  } catch {
    return text;
  }
}

const PRETTY_CHARACTERS = 200_000;

/** What to show of a value. One that is nested so deeply that its indents would fill the memory goes without. @param {unknown} value */
export function written(value) {
  if (typeof value === "string") return value;
  const text = JSON.stringify(value);
  let depth = 0;
  let deepest = 0;
  for (const [character] of text.matchAll(/[[{\]}]/g)) {
    depth += "[{".includes(character) ? 1 : -1;
    deepest = Math.max(deepest, depth);
  }
  return text.length * deepest > PRETTY_CHARACTERS ? text : JSON.stringify(value, null, 2);
}

/**
 * A message of the list: what was asked, what became of it, and the answer.
 * @param {string} title @param {unknown} payload
 */
export function message(title, payload) {
  const item = element("request").content.firstElementChild.cloneNode(true);
  /** @param {string} selector */
  const part = (selector) => item.querySelector(selector);
  part("h3").textContent = title;
  part(".payload").textContent = written(payload);
  part(".payload").ariaLabel = `${title}: what was asked`;
  part(".answer").ariaLabel = `${title}: the answer`;
  return {
    item,
    form: part("form"),
    text: part("textarea"),
    refuse: part(".refuse"),
    /** @param {string} outcome @param {boolean} failed */
    become(outcome, failed = false) {
      part(".outcome").textContent = outcome;
      item.classList.toggle("failed", failed);
    },
    /** @param {unknown} answer */
    show(answer) {
      part(".answer").textContent = written(answer);
      part(".answer").hidden = false;
    },
  };
}

/** @param {HTMLFormElement} form */
export function sendByKey(form) {
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}

/** Let a button copy a text, and say so. @param {HTMLButtonElement} button @param {() => string} text */
export function copies(button, text) {
  const label = button.textContent;
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  button.addEventListener("click", async () => {
    const copied = await copy(text());
    button.textContent = copied ? "Copied" : "Copying is not allowed here";
    announce(button.textContent);
    clearTimeout(timer);
    timer = setTimeout(() => (button.textContent = label), 2000);
  });
}

/** @param {string} text */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // There is no clipboard on a page without https.
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return copied;
}
