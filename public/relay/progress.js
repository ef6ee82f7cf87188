// @ts-check
//
// The progress of a tool call, as the host reports it.

import { toJson } from "./json.js";
import { sleep } from "./timing.js";

/** @import { HostApi } from "./host-api.js" */

const INTERVAL_MS = 500; // between two reports: an agent needs no more
const LAST_REPORT_MS = 2_000; // how long an answer waits for the report before it
const MAX_MESSAGE_CHARACTERS = 1_000;

/** The reports of one call. The latest replaces one that is not sent yet, and none that fails matters to the tool. */
export class Progress {
  #api;
  #id;
  #end = new AbortController();
  #next = ""; // the body of the report to send
  #sending = /** @type {Promise<void> | null} */ (null);

  /** @param {HostApi} api @param {string} id The request's. @param {AbortSignal} signal */
  constructor(api, id, signal) {
    this.#api = api;
    this.#id = id;
    signal.addEventListener("abort", () => {
      this.#next = ""; // nobody waits for it
      this.#end.abort();
    });
  }

  /** @param {number} progress @param {number | null} [total] @param {string} [message] */
  report = (progress, total, message) => {
    if (this.#end.signal.aborted || !Number.isFinite(progress)) return;
    this.#next = toJson({
      id: this.#id,
      progress,
      total: Number.isFinite(total) ? total : undefined,
      message: message ? `${message}`.slice(0, MAX_MESSAGE_CHARACTERS) : undefined,
    });
    this.#sending ??= this.#send();
  };

  /** Send the last report, and take no more: the answer follows. */
  async finish() {
    this.#end.abort();
    const isLate = new AbortController();
    await Promise.race([this.#sending, sleep(LAST_REPORT_MS, isLate.signal)]);
    isLate.abort();
  }

  async #send() {
    while (this.#next) {
      const body = this.#next;
      this.#next = "";
      await this.#api.call("/progress", { method: "POST", body }).catch(() => undefined);
      await sleep(INTERVAL_MS, this.#end.signal);
    }
    this.#sending = null;
  }
}
