// @ts-check
//
// JSON from whatever a page returns or throws.

const JSON_TYPES = ["Object", "Array", "String", "Number", "Boolean"]; // of objects, as Object.prototype.toString says

/**
 * The JSON text of a value; `null` for undefined. Throws a TypeError for what JSON cannot say, such as a Map, of which
 * JSON.stringify makes `{}`, or NaN, of which it makes `null`. Members that are undefined are left out.
 * @param {unknown} value @param {string} [where] How the error's message begins.
 */
export function toJson(value, where = "There is") {
  /** @param {string} name @param {unknown} member */
  const check = (name, member) => {
    const type = foreignType(member);
    if (type) throw new TypeError(`${where} ${type}${name && ` (at ${name})`}, which is no JSON.`);
    return member;
  };
  return JSON.stringify(value, check) ?? "null";
}

/** What a value is, with its article, if JSON cannot say it. Otherwise an empty text. @param {unknown} value */
function foreignType(value) {
  if (typeof value === "number") return Number.isFinite(value) ? "" : `${value}`;
  if (typeof value === "bigint") return "a BigInt";
  if (typeof value === "function" || typeof value === "symbol") return `a ${typeof value}`;
  if (Object(value) !== value) return "";
  const type = Object.prototype.toString.call(value).slice("[object ".length, -"]".length);
  return JSON_TYPES.includes(type) ? "" : `a value of the type ${type}`;
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
    return JSON.stringify({ name, message, code });
  } catch {
    return toJson({ message: "The host failed." });
  }
}

/** A text that says what was thrown. */
export function messageOf(/** @type {unknown} */ thrown) {
  if (thrown instanceof Error) return thrown.message || thrown.name;
  return typeof thrown === "string" ? thrown : errorToJson(thrown);
}
