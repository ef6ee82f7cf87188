// @ts-check
//
// The requests of a session: each is handled once, and its answer is sent until the relay has it.

import { RelayError, isPermanent, toRelayError } from "./errors.js";
import { errorToJson, toJson } from "./json.js";
import { Progress } from "./progress.js";
import { backoffMs, sleep } from "./timing.js";
import { toToolCall, toToolResult } from "./toolbox.js";

/** @import * as Declared from "../relay.d.ts" */
/** @import { SentRequest } from "./connection.js" */
/** @import { HostApi } from "./host-api.js" */
/** @import { RequestName, SavedSession } from "./saved-session.js" */
/** @import { Emit } from "./session.js" */
/** @import { Toolbox } from "./toolbox.js" */
/** @typedef {Required<Pick<Declared.HostOptions, "onRequest" | "onInterrupted">>} Handlers */

/** @type {unknown[]} The problem codes of a refused answer that mean that the request needs no other answer. */
const REQUEST_CLOSED = ["already_answered", "request_not_found"]; // the latter: the guest has withdrawn it

export class Requests {
  #api;
  #saved;
  #toolbox;
  #handlers;
  #emit;
  #accepted = /** @type {Map<string, RequestName>} */ (new Map()); // all, by id: the relay may repeat them
  #interrupted = /** @type {Map<string, RequestName>} */ (new Map()); // those without an answer at a reload, by id
  #running = /** @type {Map<string, AbortController>} */ (new Map()); // by id, until the relay has the answer

  /**
   * @param {HostApi} api @param {SavedSession} saved @param {Toolbox} toolbox @param {Handlers} handlers
   * @param {Emit} emit
   */
  constructor(api, saved, toolbox, handlers, emit) {
    this.#api = api;
    this.#saved = saved;
    this.#toolbox = toolbox;
    this.#handlers = handlers;
    this.#emit = emit;
    api.signal.addEventListener("abort", () => {
      for (const abort of this.#running.values()) abort.abort(api.signal.reason);
    });
  }

  /** Go on with what another page of this tab has saved. */
  restore() {
    for (const { request, answer } of this.#saved.requests()) {
      if (this.#accepted.has(request.id)) continue;
      (answer ? this.#accepted : this.#interrupted).set(request.id, request);
      if (answer) this.#sendAnswer(request, answer, this.#begin(request.id));
    }
  }

  /** @param {SentRequest} request */
  accept({ id, cursor, payload, createdAt }) {
    const known = this.#accepted.get(id) ?? this.#interrupted.get(id);
    if (known?.cursor && known.cursor !== cursor) this.withdraw(id); // the relay holds one request with an id
    if (this.#accepted.has(id)) return;
    const name = { id, cursor };
    this.#accepted.set(id, name);
    const interrupted = this.#interrupted.delete(id);
    this.#saved.put(name);
    const request = { id, payload, call: toToolCall(payload), createdAt, interrupted, signal: this.#begin(id) };
    this.#emit("request", request);
    this.#handle(request, name);
  }

  /** Forget a request, whose id a guest may use again. @param {string} id */
  withdraw(id) {
    const abort = this.#running.get(id);
    const name = this.#accepted.get(id) ?? this.#interrupted.get(id);
    for (const requests of [this.#running, this.#accepted, this.#interrupted]) requests.delete(id);
    if (name) this.#saved.remove(name);
    if (!abort) return;
    abort.abort(new RelayError("The guest has withdrawn the request.", { code: "withdrawn" }));
    this.#emit("withdrawn", { id });
  }

  /** The signal of a request that begins. It aborts when the guest withdraws the request, or the session ends. */
  #begin(/** @type {string} */ id) {
    const abort = new AbortController();
    this.#running.set(id, abort);
    return abort.signal;
  }

  /** @param {Declared.HostRequest} request @param {RequestName} name */
  async #handle(request, name) {
    const { id, call, interrupted, signal } = request;
    const { onRequest, onInterrupted } = this.#handlers;
    const progress = new Progress(this.#api, id, signal);
    let answer;
    try {
      const context = { signal, id, client: call?.client, progress: progress.report };
      const callTool = call && (() => this.#toolbox.call(call, context));
      const run = interrupted ? onInterrupted : (callTool ?? onRequest);
      const result = await run(request);
      answer = `"result":${toJson(call ? toToolResult(result) : result, "The host returned")}`;
    } catch (thrown) {
      answer = `"error":${errorToJson(thrown)}`;
    }
    await progress.finish();
    await this.#sendAnswer(name, answer, signal);
  }

  /**
   * Send an answer until it is taken or refused.
   * @param {RequestName} name @param {string} answer @param {AbortSignal} signal
   */
  async #sendAnswer(name, answer, signal) {
    if (signal.aborted) return;
    const { id, cursor } = name;
    this.#saved.put(name, answer);
    /** @type {RelayError | null} */
    let problem = null;
    let closed = true; // whether the request needs no other answer
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        const body = `{"id":${toJson(id)},${cursor && `"cursor":${toJson(cursor)},`}${answer}}`;
        await this.#api.call("/responses", { method: "POST", body, signal });
        break;
      } catch (error) {
        if (!isPermanent(error)) {
          await sleep(backoffMs(failures, error), signal);
          continue;
        }
        const isLast = problem !== null;
        problem = toRelayError(error);
        closed = REQUEST_CLOSED.includes(problem.code);
        if (closed || isLast) break;
        answer = `"error":${errorToJson(problem)}`; // so that the guest learns why the answer is missing
        closed = true;
      }
    }
    if (signal.aborted) return;
    this.#running.delete(id);
    if (problem?.code === "request_not_found") this.#accepted.delete(id);
    if (closed) this.#saved.remove(name);
    else this.#saved.put(name); // after a reload the relay delivers the request again, and it must not run twice
    this.#emit("answered", { id, problem });
  }
}
