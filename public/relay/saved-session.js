// @ts-check
//
// What survives a reload of the page, in sessionStorage. One key holds the session's code and token. One more key for
// each accepted request holds its answer, or the empty string before there is one, until the relay has the answer.

/** Whether sessionStorage is a copy of the opener's: in the first page of a window that a script has opened. */
const navigationType = globalThis.performance?.getEntriesByType("navigation")[0]?.toJSON().type;
const isStorageCopied = navigationType === "navigate" && history.length === 1 && Boolean(opener);

export class SavedSession {
  static #usedKeys = new Set();

  /** @param {string} relay */
  constructor(relay) {
    // All pages that a frame shows go on with the same session: a page may change its path, and then be reloaded.
    // Several sessions of one page are told apart by the order in which they were opened.
    const prefix = `parley ${relay} ${framePath(globalThis.window)}`;
    let number = 1;
    while (SavedSession.#usedKeys.has(`${prefix} ${number}`)) number++;
    this.key = `${prefix} ${number}`;
    SavedSession.#usedKeys.add(this.key);
    try {
      this.storage = globalThis.document && globalThis.sessionStorage;
    } catch {
      this.storage = undefined; // the browser's settings forbid storage: a reload creates a new session
    }
  }

  release() {
    SavedSession.#usedKeys.delete(this.key);
  }

  /** @returns {{code: string, token: string} | null} */
  load() {
    try {
      return isStorageCopied ? null : JSON.parse(this.storage?.getItem(this.key) ?? "null");
    } catch {
      return null;
    }
  }

  /** @param {{code: string, token: string}} session */
  save({ code, token }) {
    this.clear();
    this.#write(this.key, JSON.stringify({ code, token }));
  }

  /** @param {string} id @param {string} answer */
  put(id, answer = "") {
    this.#write(`${this.key}/${id}`, answer);
  }

  /** @param {string} id */
  remove(id) {
    this.storage?.removeItem(`${this.key}/${id}`);
  }

  clear() {
    for (const [id] of this.requests()) this.remove(id);
    this.storage?.removeItem(this.key);
  }

  /** The id and the answer of each request. */
  requests() {
    const prefix = `${this.key}/`;
    return Object.keys(this.storage ?? {})
      .filter((key) => key.startsWith(prefix))
      .map((key) => [key.slice(prefix.length), this.storage?.getItem(key) ?? ""]);
  }

  /** @param {string} key @param {string} value */
  #write(key, value) {
    for (const text of [value, ""]) {
      try {
        return this.storage?.setItem(key, text);
      } catch {
        // The storage is full. The empty string may still fit, and keeps the request from running twice.
      }
    }
  }
}

/** A frame's position in each of its parents. @param {Window | undefined} frame @returns {string} */
function framePath(frame) {
  if (!frame?.parent || frame.parent === frame) return "";
  return `${framePath(frame.parent)}/${Array.prototype.indexOf.call(frame.parent, frame)}`;
}
