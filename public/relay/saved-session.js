// @ts-check
//
// What survives a reload of the page, in sessionStorage. One key holds the session's code and token. One more key for
// each accepted request, with its id and cursor, holds its answer, or the empty string before there is one, until the
// relay has the answer.
//
// A window that a script opens, and a duplicate of the tab, begin with a copy of the storage. A lock with the session's
// code, which a page keeps as long as it lives, says whose session it is.

import { takeLock } from "./locks.js";

/** @import { Release } from "./locks.js" */
/** @typedef {{ id: string, cursor: string }} RequestName A guest may use an id again: the cursor tells which it is. */

const RELOAD_MS = 2_000; // until the browser has done away with the page before, and given back its lock

/** Whether this is the first page of a window that a script has opened: all there is to go by without locks. */
const navigationType = globalThis.performance?.getEntriesByType("navigation")[0]?.toJSON().type;
const isStorageCopied = navigationType === "navigate" && history.length === 1 && Boolean(opener);

export class SavedSession {
  static #usedKeys = new Set();

  #end = new AbortController();
  #code = "";
  #unlock = /** @type {Release | null} */ (null);

  /** @param {string} relay */
  constructor(relay) {
    this.relay = relay;
    // All pages that a frame shows go on with the same session: a page may change its path, and then be reloaded.
    // A page that opens several sessions finds each again by its number, in the order in which it opens them.
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
    const untilEnd = { signal: this.#end.signal };
    const onShow = (/** @type {PageTransitionEvent} */ { persisted }) => persisted && this.claim(this.#code);
    // The browser keeps no page for its Back button that has a lock, and the next page of the tab takes it.
    globalThis.window?.addEventListener("pagehide", () => this.#unlock?.(), untilEnd);
    globalThis.window?.addEventListener("pageshow", onShow, untilEnd);
  }

  release() {
    SavedSession.#usedKeys.delete(this.key);
    this.#end.abort();
    this.#unlock?.();
  }

  /** Take the lock of the session with this code. Resolves to false if another page has it. @param {string} code */
  async claim(code) {
    this.#unlock?.();
    this.#code = code;
    this.#unlock = this.storage ? await takeLock(`parley ${this.relay} ${code}`, RELOAD_MS) : () => undefined;
    return this.#unlock !== null;
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
  async begin({ code, token }) {
    await this.claim(code);
    this.clear();
    this.#write(this.key, JSON.stringify({ code, token }));
  }

  /** @param {RequestName} request @param {string} answer */
  put({ id, cursor }, answer = "") {
    this.#write(`${this.key}/${id}/${cursor}`, answer);
  }

  /** @param {RequestName} request */
  remove({ id, cursor }) {
    this.storage?.removeItem(`${this.key}/${id}/${cursor}`);
  }

  clear() {
    for (const { request } of this.requests()) this.remove(request);
    this.storage?.removeItem(this.key);
  }

  /** Each request and its answer. */
  requests() {
    const prefix = `${this.key}/`;
    const keys = Object.keys(this.storage ?? {}).filter((key) => key.startsWith(prefix));
    return keys.map((key) => {
      const [id, cursor = ""] = key.slice(prefix.length).split("/");
      return { request: { id, cursor }, answer: this.storage?.getItem(key) ?? "" };
    });
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
