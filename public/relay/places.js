// @ts-check
//
// The connections of a browser. Over HTTP/1.1 it has six to a server, for all of its tabs. If calls that last, such as
// the streams of hosts, took all six, nothing else would get through in any tab, answers neither.

import { takeLock } from "./locks.js";

/** @import { Release } from "./locks.js" */

const MAX_PLACES = 3; // half of the connections, so that there are as many for calls that are soon over

/**
 * Take a place for a call that lasts. Resolves to null if other hosts of the page's origin have all places.
 * @param {string} url The relay's. @returns {Promise<Release | null>}
 */
export async function takePlace(url) {
  const { origin } = new URL(url);
  if (!hasFewConnections(origin)) return () => undefined;
  for (let number = 1; number <= MAX_PLACES; number++) {
    const release = await takeLock(`parley connection ${number} ${origin}`);
    if (release) return release;
  }
  return null;
}

/**
 * Whether this page's browser uses HTTP/1.1 for the relay, as far as the page can see: it then opens six connections to
 * an origin, and no more. Node.js has no such limit.
 */
function hasFewConnections(/** @type {string} */ origin) {
  if (!globalThis.location) return false;
  if (origin.startsWith("http:")) return true;
  const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  const ofServer = /** @type {PerformanceResourceTiming[]} */ (entries).filter(({ name }) => name.startsWith(origin));
  return ofServer.some(({ nextHopProtocol }) => nextHopProtocol === "http/1.1");
}
