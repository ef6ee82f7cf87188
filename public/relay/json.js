// @ts-check
//
// JSON from whatever a page returns or throws.

/** The JSON text of a value; `null` for what has none, such as undefined. Throws for a BigInt, for example. */
export function toJson(/** @type {unknown} */ value) {
  return JSON.stringify(value) ?? "null";
}

/** Whether it is a JSON object. */
export function isObject(/** @type {unknown} */ value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The error that the guest gets for a thrown value: name, message and code of an Error, any other value itself. */
export function errorToJson(/** @type {unknown} */ thrown) {
  try {
    if (!(thrown instanceof Error)) return toJson(thrown);
    const { name, message, code } = /** @type {Error & { code?: unknown }} */ (thrown);
    return toJson({ name, message, code });
  } catch {
    return toJson({ message: "The host failed." });
  }
}

/** A text that says what was thrown. */
export function messageOf(/** @type {unknown} */ thrown) {
  if (thrown instanceof Error) return thrown.message || thrown.name;
  return typeof thrown === "string" ? thrown : errorToJson(thrown);
}
