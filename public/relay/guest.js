// @ts-check
//
// The guest's side of a session.

import { Api, POLL_SECONDS, messagePath, randomId, sessionPath } from "./api.js";
import { RelayError, isPermanent, toRelayError, unexpectedAnswer } from "./errors.js";
import { toJson } from "./json.js";
import { abortAfter, backoffMs, sleep } from "./timing.js";
import { toToolResult } from "./toolbox.js";

/** @import * as Declared from "../relay.d.ts" */

const RETRY_MS = 30_000; // how long a guest tries again without a single success

/** @param {string} code @param {Declared.RelayOptions} options @returns {Declared.Guest} */
export function guest(code, { relay, parse } = {}) {
  const api = new Api(relay, parse);
  const path = sessionPath(code);
  /** @type {Declared.Guest["request"]} */
  const request = async (payload, { id = randomId(), timeout = Infinity, ...options } = {}) =>
    sendRequest(api, path, `{"id":${toJson(id)},"payload":${toJson(payload)}}`, { id, timeout, ...options });
  return {
    code,
    request,
    session: () => api.call(path),
    tools: async () => (await api.call(`${path}/tools`)).tools,
    callTool: async (name, args = {}, options) =>
      toToolResult(await request({ method: "tools/call", params: { name, arguments: args } }, options)),
  };
}

/**
 * Send a request, wait for the host's answer, and return it. Sending it again is safe, since the id stays the same. The
 * request is withdrawn if the time is over or the signal aborts.
 * @param {Api} api @param {string} path @param {string} body
 * @param {Declared.RequestOptions & { id: string, timeout: number }} options
 */
async function sendRequest(api, path, body, { id, timeout, signal, onProgress }) {
  const deadline = performance.now() + timeout; // Date may be set back or forward
  const abort = abortAfter(timeout, new RelayError("The host did not answer in time.", { code: "timeout" }), signal);
  let called = false;
  let accepted = false;
  let posted = false; // whether the relay has the request, or may have it
  let busy = false; // whether the relay had no place for the last call: it always has for one that does not wait
  let failures = 0;
  let failingSince = 0;
  try {
    for (;;) {
      abort.signal.throwIfAborted();
      const wait = busy ? 0 : Math.max(0, Math.min(POLL_SECONDS, Math.ceil((deadline - performance.now()) / 1000)));
      let response;
      called = true;
      try {
        const options = { signal: abort.signal, wait, onProgress };
        response = accepted
          ? await api.call(`${messagePath(path, "responses", id)}wait=${wait}`, options)
          : await api.call(`${path}/requests?wait=${wait}`, { ...options, method: "POST", body });
        if (!["answered", "pending"].includes(response?.status)) throw unexpectedAnswer();
      } catch (error) {
        abort.signal.throwIfAborted();
        const { code, status } = toRelayError(error);
        if (isPermanent(error) || (status === 429 && !posted)) throw error;
        busy = code === "busy";
        posted ||= !busy;
        failingSince = status === 429 || (busy && wait) ? 0 : failingSince || performance.now();
        if (failingSince && performance.now() - failingSince > RETRY_MS) throw error;
        await sleep(backoffMs(++failures, error), abort.signal);
        continue;
      }
      if (response.status === "answered") return resultOf(response);
      accepted = posted = true;
      if (!busy) failures = 0;
      busy = false;
      failingSince = 0;
    }
  } catch (error) {
    if (called && abort.signal.aborted) {
      api.call(messagePath(path, "requests", id), { method: "DELETE", keepalive: true }).catch(() => undefined);
    }
    throw error;
  } finally {
    abort.release();
  }
}

/** @param {{ result?: any, error?: any }} response */
function resultOf(response) {
  if ("result" in response) return response.result;
  const error = response.error;
  const message = typeof error === "string" ? error : error?.message;
  throw new RelayError(typeof message === "string" ? message : "The host answered with an error.", { error });
}
