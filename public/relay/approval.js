// @ts-check
//
// Approval: which calls of tools the person at the page is asked about.

import { RelayError } from "./errors.js";
import { askInDialog } from "./dialog.js";
import { TIMED_OUT, abortAfter } from "./timing.js";

/** @import * as Declared from "../relay.d.ts" */
/** @typedef {Declared.ToolContext} Context */

const POLICIES = ["never", "first", "writes", "each"];
const PATIENCE_MS = 120_000; // for the person's answer

export class Approval {
  #policy = /** @type {Declared.Approve} */ ("never");
  #ask;
  #allowed = /** @type {Set<string>} */ (new Set()); // the tools that the person has allowed for the session
  #known = /** @type {Set<string>} */ (new Set()); // the tools of which the person has allowed a call
  #last = /** @type {Promise<unknown>} */ (Promise.resolve()); // questions are asked one after the other

  /** @param {Declared.Approve} policy @param {Declared.Ask} [ask] */
  constructor(policy, ask) {
    this.#ask = ask ?? (globalThis.document && askInDialog);
    this.policy = policy;
  }

  get policy() {
    return this.#policy;
  }

  set policy(policy) {
    if (typeof policy !== "function" && !POLICIES.includes(policy)) {
      throw new TypeError(`approve has to be a function, or one of: ${POLICIES.join(", ")}`);
    }
    if (typeof policy !== "function" && policy !== "never" && !this.#ask) {
      throw new TypeError(`approve: "${policy}" needs ask where there is no page to ask on`);
    }
    this.#policy = policy;
  }

  /**
   * Return when a call is allowed. Throws for one that is not.
   * @param {Declared.ToolCall} call @param {Declared.ToolDefinition} tool @param {Context} context
   */
  async check(call, tool, context) {
    if (typeof this.#policy === "function") {
      if (!(await this.#policy({ ...call, tool, signal: context.signal }))) throw notAllowed(call.name);
    } else if (this.#needsQuestion(tool)) {
      context.progress(0, null, "Waiting for the person to allow this");
      const question = this.#last.then(() => this.#question(call, tool, context.signal));
      this.#last = question.catch(() => undefined);
      await question;
    }
  }

  /** @param {Declared.ToolDefinition} tool */
  #needsQuestion({ name, annotations }) {
    const hints = /** @type {Record<string, unknown>} */ (annotations ?? {});
    if (this.#policy === "never" || this.#allowed.has(name)) return false;
    if (this.#policy === "each") return true;
    const isWrites = this.#policy === "writes";
    if (isWrites && (hints.destructiveHint === true || hints.consequentialHint === true)) return true;
    if (isWrites && hints.readOnlyHint === true) return false;
    return !this.#known.has(name);
  }

  /** @param {Declared.ToolCall} call @param {Declared.ToolDefinition} tool @param {AbortSignal} withdrawn */
  async #question(call, tool, withdrawn) {
    withdrawn.throwIfAborted();
    if (!this.#needsQuestion(tool)) return; // the answer to the question before was for this one, too
    const { signal, release } = abortAfter(PATIENCE_MS, TIMED_OUT, withdrawn);
    const given = new Promise((resolve) => signal.addEventListener("abort", () => resolve("deny")));
    const asked = Promise.resolve(this.#ask?.({ ...call, tool, signal })).catch(() => "deny");
    const answer = await Promise.race([asked, given]);
    release();
    withdrawn.throwIfAborted();
    if (answer !== "once" && answer !== "tool") throw notAllowed(call.name, signal.reason === TIMED_OUT);
    this.#known.add(call.name);
    if (answer === "tool") this.#allowed.add(call.name);
  }
}

/** @param {string} name @param {boolean} isLate */
function notAllowed(name, isLate = false) {
  const reason = isLate ? " There was no answer within two minutes." : "";
  return new RelayError(`The person did not allow this call of ${name}.${reason}`, { code: "not_allowed" });
}
