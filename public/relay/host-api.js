// @ts-check
//
// The host's calls of its session, up to its end.

import { Api, sessionPath } from "./api.js";
import { endReason } from "./errors.js";

/** @import * as Declared from "../relay.d.ts" */
/** @import { CallOptions, FetchOptions } from "./api.js" */

export class HostApi extends Api {
  #path;
  #token;
  #onEnd;

  /**
   * @param {Api} api @param {{ code: string, token: string }} session @param {AbortSignal} signal Aborted at the end.
   * @param {(reason: Declared.EndReason) => void} onEnd Called when the relay says that the session has ended.
   */
  constructor(api, { code, token }, signal, onEnd) {
    super(api.url, api.parse);
    this.#path = sessionPath(code);
    this.#token = token;
    this.signal = signal;
    this.#onEnd = onEnd;
  }

  get ended() {
    return this.signal.aborted;
  }

  /** @override @param {string} path Below the session's. @param {CallOptions} options */
  call(path, options) {
    return super.call(path, { signal: this.signal, ...options });
  }

  /** @override @param {string} path Below the session's. @param {FetchOptions} options */
  async fetch(path, options) {
    try {
      return await super.fetch(this.#path + path, { ...options, token: this.#token });
    } catch (error) {
      const reason = endReason(error);
      if (reason) this.#onEnd(reason);
      throw error;
    }
  }
}
