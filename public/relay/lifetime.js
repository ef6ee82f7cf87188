// @ts-check
//
// How long a session lives, and its renewal. Only the relay knows: what is measured here says when to ask it.

import { unexpectedAnswer } from "./errors.js";
import { BACKOFF_MS, hasJumped, msSince, now } from "./timing.js";

/** @import { HostApi } from "./host-api.js" */
/** @typedef {{ expiresAt: string, ttl?: number }} Expiry The time to live is in seconds. */

const CHECK_MS = 5_000; // timers stand still while the machine sleeps, so the clocks are read this often

export class Lifetime {
  #api;
  #autoRenew;
  #onRenewed;
  #isRenewable = true; // until a renewal has no effect, at the session's maximum age
  #lifetimeMs = 0; // the longest time to live so far: that of a renewed session
  #ttlMs = 0; // when the relay last said it
  #saidAt = now();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  expiresAt = "";

  /**
   * @param {HostApi} api @param {Expiry} expiry @param {boolean} autoRenew
   * @param {(expiresAt: string) => void} onRenewed
   */
  constructor(api, expiry, autoRenew, onRenewed) {
    this.#api = api;
    this.#autoRenew = autoRenew;
    this.#onRenewed = onRenewed;
    api.signal.addEventListener("abort", () => clearTimeout(this.#timer));
    this.update(expiry);
    this.#schedule();
  }

  /** The seconds until the session expires. Too few, until the relay is asked again, if Date was set forward. */
  get ttl() {
    return Math.max(0, this.#ttlMs - msSince(this.#saidAt)) / 1000;
  }

  get autoRenew() {
    return this.#autoRenew;
  }

  set autoRenew(wanted) {
    this.#autoRenew = wanted;
    this.#schedule();
  }

  async renew() {
    const before = this.expiresAt;
    this.update(await this.#api.call("", { method: "PATCH" }));
    this.#isRenewable = this.expiresAt !== before;
  }

  /** Take over what the relay says. An event of the stream has no time to live, but tells how much later it ends. */
  update(/** @type {Expiry} */ { expiresAt, ttl }) {
    if (Number.isNaN(Date.parse(expiresAt))) throw unexpectedAnswer();
    if (ttl !== undefined) {
      this.#ttlMs = ttl * 1000;
      this.#lifetimeMs = Math.max(this.#lifetimeMs, this.#ttlMs);
      this.#saidAt = now();
    } else this.#ttlMs += Date.parse(expiresAt) - Date.parse(this.expiresAt);
    if (expiresAt === this.expiresAt) return;
    const first = !this.expiresAt;
    this.expiresAt = expiresAt;
    if (!first) this.#onRenewed(expiresAt);
  }

  /** The time until the session is to be renewed: when a third of its lifetime is left. */
  get #dueMs() {
    return this.#autoRenew && this.#isRenewable ? this.ttl * 1000 - this.#lifetimeMs / 3 : Infinity;
  }

  #schedule(pauseMs = 0) {
    clearTimeout(this.#timer);
    if (this.#api.ended) return;
    this.#timer = setTimeout(() => this.#check(), Math.max(pauseMs, Math.min(this.#dueMs, CHECK_MS)));
  }

  async #check() {
    try {
      if (this.#dueMs <= 0) await this.renew();
      else if (hasJumped(this.#saidAt)) this.update(await this.#api.call("", {}));
      this.#schedule();
    } catch {
      this.#schedule(BACKOFF_MS.max);
    }
  }
}
