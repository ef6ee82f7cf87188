// @ts-check
//
// The host's connection: a stream, or polling where a proxy holds streams back, opened again after whatever cuts it.

import { POLL_SECONDS, randomId } from "./api.js";
import { readText } from "./body.js";
import { RelayError, throwUnreachable, toRelayError } from "./errors.js";
import { readEvents } from "./events.js";
import { takePlace } from "./places.js";
import { toClient } from "./toolbox.js";
import { TIMED_OUT, backoffMs, msSince, now, sleep } from "./timing.js";

/** @import * as Declared from "../relay.d.ts" */
/** @import { HostApi } from "./host-api.js" */
/** @import { Expiry } from "./lifetime.js" */
/** @import { Release } from "./locks.js" */
/** @typedef {Pick<Declared.HostRequest, "id" | "payload" | "createdAt"> & { cursor: string }} SentRequest */
/**
 * What a connection tells its session. `onReturn` is called when the browser shows a page again that it has kept.
 * @typedef {{
 *   onState: (state: Declared.SessionState, problem: RelayError | null) => void,
 *   onExpiry: (expiry: Expiry) => void,
 *   onRequest: (request: SentRequest) => void,
 *   onWithdrawn: (id: string) => void,
 *   onGuest: (client: Declared.AgentClient | null) => void,
 *   onEnded: (reason: Declared.EndReason) => void,
 *   onReturn: () => void,
 * }} Listener
 */

const STREAM_OPEN_TIMEOUT_MS = 8_000; // nothing comes for so long if a proxy buffers the stream
const STREAM_IDLE_TIMEOUT_MS = 40_000; // more than two of the relay's keep-alive comments, which it sends every 15 s
const STALE_MS = 30_000; // a page that was hidden connects again after such a silence; longer than POLL_SECONDS
const PAUSE_MS = 3_000; // between polls that do not wait
const POLLING_MS = 300_000; // how long to poll before the stream is tried again
const SHORT_STREAM_MS = 5_000; // a stream that breaks sooner counts as a failure, so that there is a backoff

/** The reason for which a connection is aborted to open another one at once. */
const RECONNECT = Symbol("reconnect");

export class Connection {
  #api;
  #listener;
  /** @type {Declared.SessionState} */
  #state = "connecting";
  #host = randomId(); // the relay prefers the host that came last
  #attempt = 0; // of this host's connections, the relay prefers the latest
  #cursor = "";
  #lastDataAt = now();
  #abort = new AbortController();
  #pollUntil = 0;
  #place = /** @type {Release | null} */ (null); // gives the browser's connection for the stream or poll back
  #busy = false; // whether the relay had no place for the stream or poll: it always has for one that does not wait
  #pageShown = Promise.resolve();
  #failedOpens = 0; // in a row
  #failures = 0;
  #backoff = new AbortController();

  /** @param {HostApi} api @param {Listener} listener */
  constructor(api, listener) {
    this.#api = api;
    this.#listener = listener;
    const { window, document } = globalThis;
    const untilEnd = { signal: api.signal };
    for (const type of ["online", "offline"]) window?.addEventListener(type, this.#onNetworkChange, untilEnd);
    window?.addEventListener("pagehide", this.#onPageHide, untilEnd);
    document?.addEventListener("visibilitychange", this.#onVisible, untilEnd);
    api.signal.addEventListener("abort", () => this.#reconnect()); // so that run() ends at once
  }

  /** Keep the session connected until it ends. */
  async run() {
    while (!this.#api.ended) {
      await this.#pageShown;
      const connection = (this.#abort = new AbortController());
      const busy = this.#busy;
      this.#lastDataAt = now();
      this.#attempt++;
      try {
        await this.#connect(connection);
        if (!busy) this.#failures = 0;
        if (!this.#place) await this.#pause(PAUSE_MS);
      } catch (error) {
        if (connection.signal.reason !== RECONNECT) await this.#recover(error);
      }
    }
  }

  /** @param {AbortController} connection */
  async #connect(connection) {
    this.#place = await takePlace(this.#api.url);
    try {
      if (this.#busy || !this.#place || performance.now() < this.#pollUntil) await this.#poll(connection);
      else await this.#listen(connection);
    } finally {
      this.#place?.();
    }
  }

  /** @param {number} milliseconds */
  async #pause(milliseconds) {
    this.#backoff = new AbortController();
    await sleep(milliseconds, this.#backoff.signal);
  }

  /** @param {unknown} error */
  async #recover(error) {
    if (this.#api.ended) return;
    const problem = toRelayError(error);
    this.#busy = problem.code === "busy";
    if (!this.#busy || this.#state !== "polling") this.#setState("disconnected", problem);
    await this.#pause(backoffMs(++this.#failures, error));
  }

  /** Read the stream to its end. Rejects if it did not open, or broke at once. @param {AbortController} connection */
  async #listen(connection) {
    let openedAt = 0;
    let closedByRelay = false;
    let timer = setTimeout(() => connection.abort(TIMED_OUT), STREAM_OPEN_TIMEOUT_MS);
    const onData = () => {
      this.#lastDataAt = now();
      if (!openedAt) return;
      clearTimeout(timer);
      timer = setTimeout(() => connection.abort(TIMED_OUT), STREAM_IDLE_TIMEOUT_MS);
    };
    try {
      const { signal } = connection;
      const response = await this.#api.fetch(`/stream?${this.#query()}`, { cursor: this.#cursor, signal });
      for await (const { id, event, data } of readEvents(readText(response.body, onData))) {
        if (this.#api.ended) break;
        this.#cursor = id;
        const content = this.#api.parseJson(data, response.status);
        if (event === "open") {
          openedAt = performance.now();
          onData();
          this.#setState("connected");
        }
        if (event === "reconnect") closedByRelay = true;
        this.#pass(event, content, id);
      }
    } catch (error) {
      if (!(error instanceof RelayError) || error.refused) throw error;
    } finally {
      clearTimeout(timer);
      connection.abort();
    }
    if (openedAt) this.#failedOpens = 0;
    if (closedByRelay || this.#api.ended) return;
    if (this.#state === "connected") this.#setState("connecting");
    const isShort = openedAt && performance.now() - openedAt < SHORT_STREAM_MS;
    if (isShort || connection.signal.reason === RECONNECT) throwUnreachable();
    if (openedAt) return;
    if (connection.signal.reason !== TIMED_OUT && ++this.#failedOpens < 2) throwUnreachable();
    this.#pollUntil = performance.now() + POLLING_MS;
  }

  /** Pass an event of the stream on. @param {string} event @param {any} content @param {string} cursor */
  #pass(event, content, cursor) {
    if (event === "open" || event === "renewed") this.#listener.onExpiry(content);
    if (event === "request") this.#listener.onRequest({ ...content, cursor });
    if (event === "withdrawn") this.#listener.onWithdrawn(content.id);
    if (event === "guest") this.#listener.onGuest(toClient(content.client));
    if (event === "ended") this.#listener.onEnded(content.reason);
  }

  /** Read requests with one call, which waits for some if it has a place. @param {AbortController} connection */
  async #poll({ signal }) {
    const waits = this.#place && this.#state === "polling" && !this.#busy; // the first call shows whether it works
    const wait = waits ? POLL_SECONDS : 0;
    const after = this.#cursor && `&after=${this.#cursor}`;
    const path = `/requests?wait=${wait}${after}&${this.#query()}`;
    const { requests, cursor } = await this.#api.call(path, { signal, wait });
    this.#busy = false;
    this.#setState("polling");
    this.#cursor = cursor;
    for (const request of requests) this.#listener.onRequest(request);
  }

  #query() {
    return `host=${this.#host}&attempt=${this.#attempt}`;
  }

  /** @param {Declared.SessionState} state @param {RelayError | null} problem */
  #setState(state, problem = null) {
    this.#state = state;
    this.#listener.onState(state, problem);
  }

  #reconnect() {
    this.#abort.abort(RECONNECT);
    this.#backoff.abort();
  }

  #onNetworkChange = () => {
    this.#pollUntil = 0;
    this.#reconnect();
  };

  #onVisible = () => {
    if (document.visibilityState === "visible" && msSince(this.#lastDataAt) > STALE_MS) this.#reconnect();
  };

  /** While the browser keeps the page for its Back button, another page of this tab may go on with the session. */
  #onPageHide = (/** @type {PageTransitionEvent} */ { persisted }) => {
    this.#place?.();
    if (!persisted) return;
    const shown = new Promise((resolve) => addEventListener("pageshow", resolve, { once: true }));
    this.#pageShown = shown.then(() => {
      this.#host = randomId(); // this host now comes last
      this.#attempt = 0;
      this.#listener.onReturn();
    });
    this.#reconnect();
  };
}
