// @ts-check
//
// How long a session lives, and its renewal.

import { BACKOFF_MS } from "./timing.js";

/** @import { HostApi } from "./host-api.js" */
/** @typedef {{ expiresAt: string, ttl?: number }} Expiry The time to live is in seconds. */

const CHECK_MS = 20_000; // timers stand still while the machine sleeps, so the clock is read this often

export class Lifetime {
  #api;
  #autoRenew;
  #onRenewed;
  #clockOffsetMs = 0; // the relay's clock minus this machine's
  #lifetimeMs = 0; // the ttl right after the last renewal
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
  }

  /** The seconds until the session expires. */
  get ttl() {
    return Math.max(0, (Date.parse(this.expiresAt) - Date.now() - this.#clockOffsetMs) / 1000);
  }

  get autoRenew() {
    return this.#autoRenew;
  }

  set autoRenew(wanted) {
    this.#autoRenew = wanted;
    this.#schedule();
  }

  async renew() {
    this.update(await this.#api.call("", { method: "PATCH" }));
  }

  /** Take over what the relay says. @param {Expiry} expiry */
  update({ expiresAt, ttl }) {
    if (ttl !== undefined) {
      this.#clockOffsetMs = Date.parse(expiresAt) - Date.now() - ttl * 1000;
      this.#lifetimeMs = ttl * 1000;
    }
    if (expiresAt === this.expiresAt) return; // so a renewal without effect, at the maximum age, is the last
    const first = !this.expiresAt;
    this.expiresAt = expiresAt;
    this.#schedule();
    if (!first) this.#onRenewed(expiresAt);
  }

  /** Renew when a third of the lifetime is left, and no sooner than after the delay. */
  #schedule(delayMs = 0) {
    clearTimeout(this.#timer);
    if (!this.#autoRenew || this.#api.ended) return;
    const dueMs = Math.max(delayMs, this.ttl * 1000 - this.#lifetimeMs / 3);
    const check = () => this.#schedule();
    const renew = () => this.renew().catch(() => this.#schedule(BACKOFF_MS.max));
    this.#timer = setTimeout(dueMs > CHECK_MS ? check : renew, Math.min(dueMs, CHECK_MS));
  }
}
