// @ts-check
//
// Locks that the pages of an origin share. The browser gives back those of a page that closes.
// Source: https://w3c.github.io/web-locks/

import { abortAfter } from "./timing.js";

/** @typedef {() => void} Release Gives a lock back. */

/**
 * Take a lock. Resolves to null if another page, or this one, keeps it for longer than the patience. Where there are no
 * locks, on a page without https for example, it is as if nobody else took any.
 * @param {string} name @param {number} patienceMs @param {AbortSignal} [signal] Ends the patience.
 * @returns {Promise<Release | null>}
 */
export async function takeLock(name, patienceMs = 0, signal) {
  const patience = abortAfter(patienceMs, undefined, signal);
  const options = patienceMs ? { signal: patience.signal } : { ifAvailable: true };
  try {
    return await new Promise((resolve, reject) => {
      const keep = (/** @type {Lock | null} */ lock) =>
        new Promise((release) => resolve(lock && (() => release(undefined))));
      navigator.locks.request(name, options, keep).catch(reject);
    });
  } catch {
    return patience.signal.aborted ? null : () => undefined;
  } finally {
    patience.release();
  }
}
