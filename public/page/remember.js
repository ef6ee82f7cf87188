// What a person has chosen or typed, which lasts over a reload of the page, in its tab.

/** Whether a browser keeps anything for the page: its settings may forbid it. */
function storage() {
  try {
    return sessionStorage;
  } catch {
    return undefined;
  }
}

/**
 * Let a field have the value that it had before a reload, and keep it from now on.
 * @param {HTMLSelectElement | HTMLInputElement} field It has an id.
 */
export function rememberChoice(field) {
  const key = `choice ${field.id}`;
  const isBox = field instanceof HTMLInputElement && field.type === "checkbox";
  const kept = storage()?.getItem(key) ?? null;
  if (kept !== null && isBox) field.checked = kept === "true";
  else if (kept !== null) field.value = kept;
  field.addEventListener("change", () => storage()?.setItem(key, isBox ? `${field.checked}` : field.value));
}
