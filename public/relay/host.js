// @ts-check
//
// Opening a session as its host: the one that this tab has already, or a new one.

import { Api, sessionPath } from "./api.js";
import { Approval } from "./approval.js";
import { RelayError, isPermanent } from "./errors.js";
import { toJson } from "./json.js";
import { SavedSession } from "./saved-session.js";
import { Session } from "./session.js";
import { Toolbox } from "./toolbox.js";

/** @import * as Declared from "../relay.d.ts" */
/** @import { HostSession, OpenSession } from "./session.js" */

/** @template [P=any] @param {Declared.HostOptions<P>} options @returns {Promise<Declared.Session<P>>} */
export async function host(options) {
  const { tools, onRequest, onInterrupted = rejectInterrupted, autoRenew = true, relay, parse } = options;
  if (onRequest ? typeof onRequest !== "function" : !tools) {
    throw new TypeError("host() needs tools, or onRequest: a function that answers a request");
  }
  const toolbox = new Toolbox(tools ?? [], new Approval(options.approve ?? "never", options.ask));
  const api = new Api(relay, parse);
  const saved = new SavedSession(api.url);
  try {
    const session = await openSession(api, saved, toolbox);
    return new Session(api, saved, session, toolbox, { onRequest: onRequest ?? rejectOther, onInterrupted }, autoRenew);
  } catch (error) {
    saved.release();
    throw error;
  }
}

/**
 * Resume the session, or create one.
 * @param {Api} api @param {SavedSession} saved @param {Toolbox} toolbox @returns {Promise<OpenSession>}
 */
async function openSession(api, saved, toolbox) {
  const tools = await toolbox.definitions();
  const resumed = await resumeSession(api, saved);
  const session = resumed ?? /** @type {HostSession} */ (await api.call("/api/sessions", { method: "POST" }));
  if (!resumed) await saved.begin(session);
  if (resumed || tools.length) {
    const call = { method: "PUT", token: session.token, body: toJson({ tools }) };
    await api.call(`${sessionPath(session.code)}/tools`, call);
  }
  return { ...session, tools };
}

/** @param {Api} api @param {SavedSession} saved @returns {Promise<HostSession | undefined>} */
async function resumeSession(api, saved) {
  const found = saved.load();
  if (!found || !(await saved.claim(found.code))) return;
  try {
    const session = await api.call(sessionPath(found.code), { token: found.token });
    if (session.active) return { ...session, token: found.token };
  } catch (error) {
    if (!isPermanent(error)) throw error;
  }
}

function rejectOther() {
  throw new RelayError("This host takes no other requests than the calls of its tools.", { code: "no_handler" });
}

function rejectInterrupted() {
  throw new RelayError("The host was reloaded while it worked on this request.", { code: "interrupted" });
}
