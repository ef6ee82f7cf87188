// @ts-check
//
// Calls of the relay's HTTP API.

import { readText } from "./body.js";
import { errorOf, throwUnreachable, toProblem, tooLarge, unexpectedAnswer } from "./errors.js";
import { readEvents } from "./events.js";
import { TIMED_OUT, abortAfter } from "./timing.js";

/** @import * as Declared from "../relay.d.ts" */
/** @typedef {{ method?: string, token?: string, cursor?: string, signal?: AbortSignal, keepalive?: true }} Options */
/**
 * What a call takes: it waits for up to so many seconds, and tells what is reported in the meantime.
 * @typedef {Options & { body?: string, wait?: number, onProgress?: Declared.RequestOptions["onProgress"] }} CallOptions
 */
/** @typedef {Options & { body?: Uint8Array<ArrayBuffer>, accept?: string }} FetchOptions */

export const POLL_SECONDS = 25; // how long a call asks the relay to wait
const SILENCE_MS = 20_000; // how long a call goes on when nothing comes
const SLOWEST_BYTES_PER_MS = 2; // how fast a request is sent at least: nothing tells how far it has got
const EVENT_STREAM = "text/event-stream";
const MAX_BODY_BYTES = 4_000_000; // the platform refuses 4.5 MB without CORS headers, as if the network had failed

/** The relay at a URL. Its calls throw a RelayError for a refusal and for what the network does. */
export class Api {
  /** @param {Declared.RelayOptions["relay"]} relay @param {Declared.RelayOptions["parse"]} parse */
  constructor(relay, parse = JSON.parse) {
    const url = new URL(relay ?? new URL("..", import.meta.url));
    if (!/^https?:$/.test(url.protocol)) throw new TypeError(`the relay's URL has to begin with https://: ${url.href}`);
    this.url = url.href.replace(/\/$/, "");
    this.parse = parse;
  }

  /** The parsed body of the response. @param {string} path @param {CallOptions} options */
  async call(path, { signal, wait = 0, body, onProgress, ...options } = {}) {
    const bytes = body === undefined ? undefined : new TextEncoder().encode(body);
    const sendingMs = (bytes?.length ?? 0) / SLOWEST_BYTES_PER_MS;
    const abort = abortAfter(sendingMs + wait * 1000 + SILENCE_MS, TIMED_OUT, signal);
    const accept = wait && onProgress ? EVENT_STREAM : "";
    try {
      const response = await this.fetch(path, { ...options, body: bytes, accept, signal: abort.signal });
      const isStream = response.headers.get("Content-Type")?.startsWith(EVENT_STREAM);
      const goOn = () => abort.restart(isStream ? wait * 1000 + SILENCE_MS : SILENCE_MS);
      goOn();
      const pieces = readText(response.body, goOn);
      if (isStream) return await this.#readResponse(pieces, response.status, onProgress);
      let text = "";
      for await (const piece of pieces) text += piece;
      return response.status === 204 ? undefined : this.parseJson(text, response.status);
    } finally {
      abort.release();
    }
  }

  /**
   * The response that a stream of events ends with.
   * @param {AsyncIterable<string>} pieces @param {number} status @param {CallOptions["onProgress"]} onProgress
   */
  async #readResponse(pieces, status, onProgress) {
    for await (const { event, data } of readEvents(pieces)) {
      const content = this.parseJson(data, status);
      if (event === "response") return content;
      if (event === "problem") throw toProblem(content, { status: content.status });
      // What onProgress throws is the page's to notice, and does not fail the request.
      if (event === "progress") Promise.resolve(content).then(onProgress);
    }
    throwUnreachable();
  }

  /** The HTTP response, if successful. @param {string} path @param {FetchOptions} options */
  async fetch(path, { token, body, cursor, accept, ...options }) {
    if (body && body.length > MAX_BODY_BYTES) throw tooLarge({ status: 413 });
    // A Request throws what is wrong with the call itself, so that what fetch rejects with is the network's.
    const request = new Request(this.url + path, {
      ...options,
      body,
      cache: "no-store",
      headers: {
        ...(accept && { Accept: accept }),
        ...(cursor && { "Last-Event-ID": cursor }),
        ...(token && { Authorization: `Bearer ${token}` }),
        ...(body && { "Content-Type": "application/json" }),
      },
    });
    const response = await fetch(request).catch(throwUnreachable);
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  /** Parse JSON from a response with this HTTP status. @param {string} text @param {number} status */
  parseJson(text, status) {
    try {
      return this.parse(text);
    } catch {
      // The caller's parser may refuse valid JSON, such as the name __proto__.
    }
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw unexpectedAnswer({ status, cause });
    }
  }
}

export function sessionPath(/** @type {string} */ code) {
  return `/api/sessions/${encodeURIComponent(code)}`;
}

/**
 * A path and the beginning of its query. An id of "." or ".." would name a folder, and goes into the query.
 * @param {string} path The session's. @param {string} kind @param {string} id
 */
export function messagePath(path, kind, id) {
  if (![".", ".."].includes(id)) return `${path}/${kind}/${encodeURIComponent(id)}?`;
  return `/api/${kind}?code=${path.split("/").at(-1)}&id=${id}&`;
}

/** An id for a request, or for a host. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
