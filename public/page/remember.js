// What a person has chosen or typed, and what was answered: it lasts over a reload of the page, in its tab.

/** What was kept under a key, or null. @param {string} key */
export function kept(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null; // the browser's settings forbid storage
  }
}

/** Keep a text, or forget it for null. @param {string} key @param {string | null} text */
export function keep(key, text) {
  try {
    if (text === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, text);
  } catch {
    // The storage is full, or forbidden: then it does not last over a reload.
  }
}

/**
 * Let a field have the value that it had before a reload, and keep it from now on.
 * @param {HTMLSelectElement | HTMLInputElement} field It has an id.
 */
export function rememberChoice(field) {
  const key = `choice ${field.id}`;
  const isBox = field instanceof HTMLInputElement && field.type === "checkbox";
  const before = kept(key);
  if (before !== null && isBox) field.checked = before === "true";
  else if (before !== null) field.value = before;
  field.addEventListener("change", () => keep(key, isBox ? `${field.checked}` : field.value));
}

/** Let a text that is not sent yet last over a reload. @param {HTMLTextAreaElement} field @param {string} key */
export function rememberDraft(field, key) {
  field.value = kept(key) ?? "";
  field.addEventListener("input", () => keep(key, field.value));
}
