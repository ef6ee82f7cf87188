// @ts-check
//
// The publication of a host's tools: what guests see of them.

import { isPermanent, sessionEnded, toRelayError } from "./errors.js";
import { toJson } from "./json.js";
import { backoffMs, sleep } from "./timing.js";

/** @import * as Declared from "../relay.d.ts" */
/** @import { RelayError } from "./errors.js" */
/** @import { HostApi } from "./host-api.js" */
/** @import { Emit } from "./session.js" */
/** @import { Toolbox } from "./toolbox.js" */

export class Publication {
  #api;
  #toolbox;
  #emit;
  #last = /** @type {Promise<unknown>} */ (Promise.resolve());
  #next = /** @type {Promise<RelayError | null> | null} */ (null);
  #isCurrent = true; // whether the relay has `tools`, as far as this host knows

  /**
   * @param {HostApi} api @param {Toolbox} toolbox @param {readonly Declared.ToolDefinition[]} tools
   * @param {Emit} emit
   */
  constructor(api, toolbox, tools, emit) {
    this.#api = api;
    this.#toolbox = toolbox;
    this.tools = tools;
    this.#emit = emit;
    toolbox.onChange(() => this.update(), api.signal);
  }

  /**
   * Let the relay have the tools. Changes that come while it is called share the next call. Resolves to why the relay
   * refuses them, or null.
   */
  update() {
    return (this.#next ??= this.#last.then(() => {
      this.#next = null;
      return (this.#last = this.#send());
    }));
  }

  /** Let the relay have the tools even if they have not changed: another page may have published its tools. */
  renew() {
    this.#isCurrent = false;
    this.update();
  }

  /** @returns {Promise<RelayError | null>} */
  async #send() {
    for (let failures = 1; !this.#api.ended; failures++) {
      try {
        const tools = await this.#toolbox.definitions();
        if (this.#isCurrent && toJson(tools) === toJson(this.tools)) return null;
        await this.#api.call("/tools", { method: "PUT", body: toJson({ tools }) });
        this.tools = tools;
        this.#isCurrent = true;
        this.#emit("tools", { tools, problem: null });
        return null;
      } catch (error) {
        const problem = toRelayError(error);
        if (isPermanent(error) && !this.#api.ended) this.#emit("tools", { tools: this.tools, problem });
        if (isPermanent(error)) return problem;
        await sleep(backoffMs(failures, error), this.#api.signal);
      }
    }
    return sessionEnded();
  }
}
