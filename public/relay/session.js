// @ts-check
//
// The host's side of a session, as the page sees it.

import { Connection } from "./connection.js";
import { sessionEnded } from "./errors.js";
import { HostApi } from "./host-api.js";
import { Lifetime } from "./lifetime.js";
import { Publication } from "./publication.js";
import { Requests } from "./requests.js";

/** @import * as Declared from "../relay.d.ts" */
/** @import { Api } from "./api.js" */
/** @import { RelayError } from "./errors.js" */
/** @import { Handlers } from "./requests.js" */
/** @import { SavedSession } from "./saved-session.js" */
/** @import { Toolbox } from "./toolbox.js" */
/** @typedef {{ code: string, token: string, createdAt: string, expiresAt: string, ttl: number }} HostSession */
/** @typedef {HostSession & { tools: readonly Declared.ToolDefinition[] }} OpenSession The relay has these tools. */
/**
 * @template {keyof Declared.SessionEvents} T
 * @typedef {Declared.SessionEvents[T]["detail"]} Detail
 */
/** @typedef {<T extends keyof Declared.SessionEvents>(type: T, detail: Detail<T>) => void} Emit */

/** @implements {Declared.Session} */
export class Session extends EventTarget {
  /** @type {Declared.SessionState} */
  state = "connecting";
  /** @type {Declared.EndReason | null} */
  reason = null;
  /** @type {RelayError | null} */
  problem = null;

  #saved;
  #toolbox;
  #end = new AbortController();
  #api;
  #lifetime;
  #requests;
  #publication;

  /**
   * @param {Api} api @param {SavedSession} saved @param {OpenSession} session @param {Toolbox} toolbox
   * @param {Handlers} handlers @param {boolean} autoRenew
   */
  constructor(api, saved, session, toolbox, handlers, autoRenew) {
    super();
    this.#saved = saved;
    this.#toolbox = toolbox;
    this.code = session.code;
    this.mcpUrl = `${api.url}/mcp/${session.code}`;
    this.createdAt = session.createdAt;
    this.#api = new HostApi(api, session, this.#end.signal, (reason) => this.#finish(reason));
    this.#lifetime = new Lifetime(this.#api, session, autoRenew, (expiresAt) => this.#emit("renewed", { expiresAt }));
    this.#requests = new Requests(this.#api, saved, toolbox, handlers, this.#emit);
    this.#requests.restore();
    const connection = new Connection(this.#api, {
      onState: (state, problem) => this.#setState(state, problem),
      onExpiry: (expiry) => this.#lifetime.update(expiry),
      onRequest: (request) => this.#requests.accept(request),
      onWithdrawn: (id) => this.#requests.withdraw(id),
      onGuest: (client) => this.#emit("guest", { client }),
      onEnded: (reason) => this.#finish(reason),
      onReturn: () => {
        this.#requests.restore();
        this.#publication.renew();
      },
    });
    this.#publication = new Publication(this.#api, toolbox, session.tools, this.#emit);
    connection.run();
  }

  get tools() {
    return this.#publication.tools;
  }

  get expiresAt() {
    return this.#lifetime.expiresAt;
  }

  get ttl() {
    return this.#lifetime.ttl;
  }

  get autoRenew() {
    return this.#lifetime.autoRenew;
  }

  set autoRenew(wanted) {
    this.#lifetime.autoRenew = wanted;
  }

  get approve() {
    return this.#toolbox.approval.policy;
  }

  set approve(policy) {
    this.#toolbox.approval.policy = policy;
  }

  async renew() {
    await this.#lifetime.renew();
  }

  /** @param {Declared.Tool} tool @param {{ signal?: AbortSignal }} options */
  async registerTool(tool, { signal } = {}) {
    signal?.throwIfAborted();
    const own = this.#toolbox.add(tool);
    const remove = () => this.#toolbox.remove(own) && this.#publication.update();
    signal?.addEventListener("abort", remove);
    const problem = await this.#publication.update();
    if (!problem) return;
    remove();
    throw problem;
  }

  async end() {
    try {
      if (!this.#ended) await this.#api.call("", { method: "DELETE" });
    } catch (error) {
      if (!this.#ended) throw error; // the call has found that the session had ended already
    }
    this.#finish("ended");
  }

  get #ended() {
    return this.state === "ended";
  }

  /** @param {Declared.SessionState} state @param {RelayError | null} problem Why the host is disconnected. */
  #setState(state, problem) {
    if (this.#ended) return;
    this.problem = problem;
    if (this.state === state) return;
    this.state = state;
    this.#emit("state", { state, reason: this.reason });
  }

  /** @param {Declared.EndReason} reason */
  #finish(reason) {
    if (this.#ended) return;
    this.reason = reason;
    this.#saved.clear();
    this.#saved.release();
    this.#setState("ended", null);
    this.#end.abort(sessionEnded());
    this.#emit("ended", { reason });
  }

  /** @type {Emit} */
  #emit = (type, detail) => {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  };
}
