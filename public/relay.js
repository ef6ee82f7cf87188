// @ts-check
// @ts-self-types="./relay.d.ts"
//
// The client of Parley: import { host, guest } from "https://…/relay.js". relay.d.ts documents its API.

const STREAM_OPEN_TIMEOUT_MS = 8_000; // nothing comes for so long if a proxy buffers the stream
const STREAM_IDLE_TIMEOUT_MS = 40_000; // more than two of the relay's keep-alive comments, which it sends every 15 s
const STALE_MS = 30_000; // a page that was hidden connects again after such a silence; longer than POLL_SECONDS
const CALL_TIMEOUT_MS = 20_000; // in addition to the time that the call asks the relay to wait
const POLL_SECONDS = 25;
const POLLING_MS = 300_000; // how long to poll before the stream is tried again
const SHORT_STREAM_MS = 5_000; // a stream that breaks sooner counts as a failure, so that there is a backoff
const BACKOFF_MS = { first: 500, max: 15_000 };
const RENEWAL_CHECK_MS = 20_000; // timers stand still while the machine sleeps, so the clock is read this often
const GUEST_RETRY_MS = 30_000; // how long a guest tries again without a single success
const MAX_TIMER_MS = 2 ** 31 - 1; // setTimeout fires at once for more
const MAX_BODY_BYTES = 4_000_000; // the platform refuses 4.5 MB without CORS headers, as if the network had failed

/** @import * as Declared from "./relay.d.ts" */
/** @typedef {Required<Pick<Declared.HostOptions, "onRequest" | "onInterrupted" | "autoRenew">>} SessionOptions */
/** @typedef {{ code: string, token: string, createdAt: string, expiresAt: string, ttl: number }} HostSession */
/** @typedef {{ method?: string, token?: string, body?: string, signal?: AbortSignal, keepalive?: true }} CallOptions */
/** @typedef {Declared.Tool & { definition: Declared.ToolDefinition }} OwnTool Its definition is a copy. */
/** @typedef {Declared.RelayError & { refused?: boolean }} ErrorMembers It is `refused` if the relay sent a problem. */
/** @typedef {Omit<ErrorMembers, keyof Error> & { cause?: unknown }} ErrorDetails */

/** Whether sessionStorage is a copy of the opener's: in the first page of a window that a script has opened. */
const navigationType = globalThis.performance?.getEntriesByType("navigation")[0]?.toJSON().type;
const isStorageCopied = navigationType === "navigate" && history.length === 1 && Boolean(opener);

/** Reasons for which a connection is aborted. */
const RECONNECT = Symbol("reconnect");
const TIMED_OUT = Symbol("timed out");

/** @type {Map<unknown, Declared.EndReason>} The codes of problems that end the host's session, with its `reason`. */
const END_REASONS = new Map([
  ["session_not_found", "expired"],
  ["session_ended", "ended"],
  ["host_token_required", "host_token_required"],
  ["host_token_wrong", "host_token_wrong"],
  ["replaced", "replaced"],
]);

/** @type {unknown[]} The problem codes of a refused answer that mean that the request needs no other answer. */
const REQUEST_CLOSED = ["already_answered", "request_not_found"]; // the latter: the guest has withdrawn it

/** @type {new (message?: string, options?: ErrorOptions) => ErrorMembers} Error, with the members of RelayError. */
const TypedError = Error;

export class RelayError extends TypedError {
  name = "RelayError";

  /** @param {string} [message] @param {ErrorDetails} details */
  constructor(message, { cause, ...details } = {}) {
    super(message, { cause });
    Object.assign(this, details);
  }
}

/** @template [P=any] @param {Declared.HostOptions<P>} options @returns {Promise<Declared.Session<P>>} */
export async function host({ tools, onRequest, onInterrupted = rejectInterrupted, autoRenew = true, relay, parse }) {
  if (onRequest ? typeof onRequest !== "function" : !tools) {
    throw new TypeError("host() needs tools, or onRequest: a function that answers a request");
  }
  const toolbox = new Toolbox(tools ?? []);
  const api = new Api(relay, parse);
  const saved = new SavedSession(api.url);
  try {
    const session = await openSession(api, saved, toolbox);
    return new Session(api, saved, session, toolbox, { onRequest: onRequest ?? rejectOther, onInterrupted, autoRenew });
  } catch (error) {
    saved.release();
    throw error;
  }
}

/** @param {string} code @param {Declared.RelayOptions} options @returns {Declared.Guest} */
export function guest(code, { relay, parse } = {}) {
  const api = new Api(relay, parse);
  const path = sessionPath(code);
  /** @type {Declared.Guest["request"]} */
  const request = async (payload, { id = randomId(), timeout = Infinity, signal } = {}) =>
    sendRequest(api, path, `{"id":${JSON.stringify(id)},"payload":${toJson(payload)}}`, { id, timeout, signal });
  return {
    code,
    request,
    session: () => api.call(path),
    tools: async () => (await api.call(`${path}/tools`)).tools,
    callTool: async (name, args = {}, options) =>
      toToolResult(await request({ method: "tools/call", params: { name, arguments: args } }, options)),
  };
}

/** The host's side of a session. @implements {Declared.Session} */
class Session extends EventTarget {
  /** @type {Declared.SessionState} */
  state = "connecting";
  /** @type {Declared.EndReason | null} */
  reason = null;
  /** @type {RelayError | null} */
  problem = null;

  /** @type {readonly Declared.ToolDefinition[]} */
  tools;

  #api;
  #saved;
  #toolbox;
  #publication = /** @type {Promise<unknown>} */ (Promise.resolve()); // of the tools, by the last call
  #nextPublication = /** @type {Promise<RelayError | null> | null} */ (null);
  #published = true; // whether the relay has `tools`, as far as this host knows
  #name = randomId(); // of this host: the relay prefers the host that came last
  #attempt = 0; // the connection's number: of this host's connections, the relay prefers the latest
  #path;
  #token;
  #handlers;
  #autoRenew;
  #clockOffsetMs = 0; // the relay's clock minus this machine's
  #lifetimeMs = 0; // the ttl right after the last renewal
  #cursor = "";
  #lastDataAt = 0;
  #accepted = /** @type {Set<string>} */ (new Set()); // the ids of all requests: the relay may repeat them
  #interrupted = /** @type {Set<string>} */ (new Set()); // the ids of requests without an answer at a reload
  #running = /** @type {Map<string, AbortController>} */ (new Map()); // by id, until the relay has the answer
  #sessionAbort = new AbortController();
  #connectionAbort = new AbortController();
  #pollUntil = 0;
  #busy = false; // whether the relay had no place for the stream or poll: it always has for one that does not wait
  #pageShown = Promise.resolve();
  #failedOpens = 0; // in a row
  #failures = 0;
  #backoff = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #renewalTimer;

  /**
   * @param {Api} api @param {SavedSession} saved @param {HostSession & { tools: Declared.ToolDefinition[] }} session
   * @param {Toolbox} toolbox @param {SessionOptions} options
   */
  constructor(api, saved, session, toolbox, { onRequest, onInterrupted, autoRenew }) {
    super();
    this.#api = api;
    this.#saved = saved;
    this.#toolbox = toolbox;
    this.#token = session.token;
    this.#path = sessionPath(session.code);
    this.#handlers = { onRequest, onInterrupted };
    this.#autoRenew = autoRenew;
    this.code = session.code;
    this.mcpUrl = `${api.url}/mcp/${session.code}`;
    this.tools = session.tools;
    this.createdAt = session.createdAt;
    this.expiresAt = "";
    this.#updateExpiry(session);
    this.#restoreRequests();
    const { window, document } = globalThis;
    const untilEnd = { signal: this.#sessionAbort.signal };
    for (const type of ["online", "offline"]) window?.addEventListener(type, this.#onNetworkChange, untilEnd);
    window?.addEventListener("pagehide", this.#onPageHide, untilEnd);
    document?.addEventListener("visibilitychange", this.#onVisible, untilEnd);
    toolbox.onChange(() => this.#publishTools(), untilEnd.signal);
    this.#run();
  }

  /** The seconds until the session expires. */
  get ttl() {
    return Math.max(0, (Date.parse(this.expiresAt) - Date.now() - this.#clockOffsetMs) / 1000);
  }

  get #ended() {
    return this.state === "ended";
  }

  get autoRenew() {
    return this.#autoRenew;
  }

  set autoRenew(wanted) {
    this.#autoRenew = wanted;
    this.#scheduleRenewal();
  }

  async renew() {
    this.#updateExpiry(await this.#call("", { method: "PATCH" }));
  }

  /** @param {Declared.Tool} tool @param {{ signal?: AbortSignal }} options */
  async registerTool(tool, { signal } = {}) {
    signal?.throwIfAborted();
    const own = this.#toolbox.add(tool);
    const remove = () => this.#toolbox.remove(own) && this.#publishTools();
    signal?.addEventListener("abort", remove);
    const problem = await this.#publishTools();
    if (!problem) return;
    remove();
    throw problem;
  }

  async end() {
    try {
      if (!this.#ended) await this.#call("", { method: "DELETE" });
    } catch (error) {
      if (!this.#ended) throw error; // #call has found that the session had ended already
    }
    this.#finish("ended");
  }

  // Connection

  async #run() {
    while (!this.#ended) {
      await this.#pageShown;
      const connection = (this.#connectionAbort = new AbortController());
      const busy = this.#busy;
      this.#lastDataAt = Date.now();
      this.#attempt++;
      try {
        if (busy || Date.now() < this.#pollUntil) await this.#poll(connection);
        else await this.#listen(connection);
        if (!busy) this.#failures = 0;
      } catch (error) {
        if (connection.signal.reason !== RECONNECT) await this.#recover(error);
      }
    }
  }

  /** @param {unknown} error */
  async #recover(error) {
    const reason = endReason(error);
    if (reason) this.#finish(reason);
    if (this.#ended) return;
    const problem = toRelayError(error);
    this.#busy = problem.code === "busy";
    if (!this.#busy || this.state !== "polling") {
      this.problem = problem;
      this.#setState("disconnected");
    }
    this.#backoff = new AbortController();
    await sleep(backoffMs(++this.#failures, error), this.#backoff.signal);
  }

  /** Read the stream to its end. Rejects if it did not open, or broke at once. @param {AbortController} connection */
  async #listen(connection) {
    let openedAt = 0;
    let closedByRelay = false;
    let timer = setTimeout(() => connection.abort(TIMED_OUT), STREAM_OPEN_TIMEOUT_MS);
    const onData = () => {
      this.#lastDataAt = Date.now();
      if (!openedAt) return;
      clearTimeout(timer);
      timer = setTimeout(() => connection.abort(TIMED_OUT), STREAM_IDLE_TIMEOUT_MS);
    };
    try {
      const response = await this.#api.fetch(`${this.#path}/stream?host=${this.#name}&attempt=${this.#attempt}`, {
        cursor: this.#cursor,
        token: this.#token,
        signal: connection.signal,
      });
      for await (const { id, event, data } of parseEvents(response.body, onData)) {
        if (this.#ended) break;
        this.#cursor = id;
        const content = this.#api.parseJson(data, response.status);
        if (event === "open") {
          openedAt = Date.now();
          onData();
          this.#setState("connected");
        }
        if (event === "open" || event === "renewed") this.#updateExpiry(content);
        if (event === "request") this.#accept(content);
        if (event === "withdrawn") this.#withdraw(content.id);
        if (event === "reconnect") closedByRelay = true;
        if (event === "ended") this.#finish(content.reason);
      }
    } catch (error) {
      if (!(error instanceof RelayError) || error.refused) throw error;
    } finally {
      clearTimeout(timer);
      connection.abort();
    }
    if (openedAt) this.#failedOpens = 0;
    if (closedByRelay || this.#ended) return;
    if (this.state === "connected") this.#setState("connecting");
    if (Date.now() - openedAt < SHORT_STREAM_MS || connection.signal.reason === RECONNECT) throwUnreachable();
    if (openedAt) return;
    if (connection.signal.reason !== TIMED_OUT && ++this.#failedOpens < 2) throwUnreachable();
    this.#pollUntil = Date.now() + POLLING_MS;
  }

  /** Read requests with one call, which waits for some. @param {AbortController} connection */
  async #poll({ signal }) {
    const wait = this.state === "polling" && !this.#busy ? POLL_SECONDS : 0; // the first call shows whether it works
    const after = this.#cursor && `&after=${this.#cursor}`;
    const query = `wait=${wait}${after}&host=${this.#name}&attempt=${this.#attempt}`;
    const { requests, cursor } = await this.#call(`/requests?${query}`, { signal, wait });
    this.#busy = false;
    this.#setState("polling");
    this.#cursor = cursor;
    for (const request of requests) this.#accept(request);
  }

  #reconnect = () => {
    this.#connectionAbort.abort(RECONNECT);
    this.#backoff.abort();
  };

  #onNetworkChange = () => {
    this.#pollUntil = 0;
    this.#reconnect();
  };

  #onVisible = () => {
    if (document.visibilityState === "visible" && Date.now() - this.#lastDataAt > STALE_MS) this.#reconnect();
  };

  /** While the browser keeps the page for its Back button, another page of this tab may go on with the session. */
  #onPageHide = (/** @type {PageTransitionEvent} */ { persisted }) => {
    if (!persisted) return;
    const shown = new Promise((resolve) => addEventListener("pageshow", resolve, { once: true }));
    this.#pageShown = shown.then(() => {
      this.#name = randomId(); // this host now comes last
      this.#attempt = 0;
      this.#restoreRequests();
      this.#published = false;
      this.#publishTools();
    });
    this.#reconnect();
  };

  // Requests

  /** Go on with what another page of this tab has saved. */
  #restoreRequests() {
    for (const [id, answer] of this.#saved.requests()) {
      if (this.#accepted.has(id)) continue;
      (answer ? this.#accepted : this.#interrupted).add(id);
      if (answer) this.#sendAnswer(id, answer, this.#begin(id));
    }
  }

  /** The signal of a request that begins. It aborts when the guest withdraws the request, or the session ends. */
  #begin(/** @type {string} */ id) {
    const abort = new AbortController();
    this.#running.set(id, abort);
    return abort.signal;
  }

  /** @param {Pick<Declared.HostRequest, "id" | "payload" | "createdAt">} request */
  #accept({ id, payload, createdAt }) {
    if (this.#accepted.has(id)) return;
    this.#accepted.add(id);
    const interrupted = this.#interrupted.delete(id);
    this.#saved.put(id);
    const request = { id, payload, call: toToolCall(payload), createdAt, interrupted, signal: this.#begin(id) };
    this.#emit("request", request);
    this.#handle(request);
  }

  /** Forget a request, whose id a guest may use again. @param {string} id */
  #withdraw(id) {
    const abort = this.#running.get(id);
    for (const ids of [this.#running, this.#accepted, this.#interrupted]) ids.delete(id);
    this.#saved.remove(id);
    if (!abort) return;
    abort.abort(new RelayError("The guest has withdrawn the request.", { code: "withdrawn" }));
    this.#emit("withdrawn", { id });
  }

  /** @param {Declared.HostRequest} request */
  async #handle(request) {
    const { id, call, interrupted, signal } = request;
    const { onRequest, onInterrupted } = this.#handlers;
    let answer;
    try {
      const run = interrupted ? onInterrupted : call ? () => this.#toolbox.call(call, { signal, id }) : onRequest;
      const result = await run(request);
      answer = `"result":${toJson(call ? toToolResult(result) : result)}`;
    } catch (thrown) {
      answer = `"error":${errorToJson(thrown)}`;
    }
    await this.#sendAnswer(id, answer, signal);
  }

  /** Send it until it is taken or refused. @param {string} id @param {string} answer @param {AbortSignal} signal */
  async #sendAnswer(id, answer, signal) {
    if (signal.aborted) return;
    this.#saved.put(id, answer);
    /** @type {RelayError | null} */
    let problem = null;
    let closed = true; // whether the request needs no other answer
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        await this.#call("/responses", { method: "POST", body: `{"id":${JSON.stringify(id)},${answer}}`, signal });
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
    if (closed) this.#saved.remove(id);
    else this.#saved.put(id); // after a reload the relay delivers the request again, and it must not run twice
    this.#emit("answered", { id, problem });
  }

  // Tools

  /** Let the relay have the tools. Changes that come while it is called share the next call. */
  #publishTools() {
    return (this.#nextPublication ??= this.#publication.then(() => {
      this.#nextPublication = null;
      return (this.#publication = this.#sendTools());
    }));
  }

  /** Send the tools until the relay has accepted them. Resolves to why it refuses them, or null. */
  async #sendTools() {
    for (let failures = 1; !this.#ended; failures++) {
      try {
        const tools = await this.#toolbox.definitions();
        if (this.#published && toJson(tools) === toJson(this.tools)) return null;
        await this.#call("/tools", { method: "PUT", body: toJson({ tools }) });
        this.tools = tools;
        this.#published = true;
        this.#emit("tools", { tools, problem: null });
        return null;
      } catch (error) {
        const problem = toRelayError(error);
        if (isPermanent(error) && !this.#ended) this.#emit("tools", { tools: this.tools, problem });
        if (isPermanent(error)) return problem;
        await sleep(backoffMs(failures, error), this.#sessionAbort.signal);
      }
    }
    return sessionEnded();
  }

  // Expiry and state

  /** @param {{ expiresAt: string, ttl?: number }} session */
  #updateExpiry({ expiresAt, ttl }) {
    if (ttl !== undefined) {
      this.#clockOffsetMs = Date.parse(expiresAt) - Date.now() - ttl * 1000;
      this.#lifetimeMs = ttl * 1000;
    }
    if (expiresAt === this.expiresAt) return; // so a renewal without effect, at the maximum age, is the last
    const first = !this.expiresAt;
    this.expiresAt = expiresAt;
    this.#scheduleRenewal();
    if (!first) this.#emit("renewed", { expiresAt });
  }

  /** Renew when a third of the lifetime is left, and no sooner than after the delay. */
  #scheduleRenewal(delayMs = 0) {
    clearTimeout(this.#renewalTimer);
    if (!this.#autoRenew || this.#ended) return;
    const dueMs = Math.max(delayMs, this.ttl * 1000 - this.#lifetimeMs / 3);
    const check = () => this.#scheduleRenewal();
    const renew = () => this.renew().catch(() => this.#scheduleRenewal(BACKOFF_MS.max));
    this.#renewalTimer = setTimeout(dueMs > RENEWAL_CHECK_MS ? check : renew, Math.min(dueMs, RENEWAL_CHECK_MS));
  }

  /** @param {Declared.SessionState} state */
  #setState(state) {
    if (this.state === state || this.#ended) return;
    this.state = state;
    if (state !== "disconnected") this.problem = null;
    this.#emit("state", { state, reason: this.reason });
  }

  /** @param {Declared.EndReason} reason */
  #finish(reason) {
    if (this.#ended) return;
    this.reason = reason;
    clearTimeout(this.#renewalTimer);
    this.#saved.clear();
    this.#saved.release();
    this.#setState("ended");
    const aborts = [this.#sessionAbort, this.#connectionAbort, this.#backoff, ...this.#running.values()];
    for (const abort of aborts) abort.abort(sessionEnded());
    this.#emit("ended", { reason });
  }

  /** @template {keyof Declared.SessionEvents} T @param {T} type @param {Declared.SessionEvents[T]["detail"]} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {string} path @param {CallOptions & { wait?: number }} options */
  async #call(path, options) {
    try {
      const call = { signal: this.#sessionAbort.signal, ...options, token: this.#token };
      return await this.#api.call(this.#path + path, call);
    } catch (error) {
      const reason = endReason(error);
      if (reason) this.#finish(reason);
      throw error;
    }
  }
}

/** The tools of a host: its own, and those that its page has registered with the browser. */
class Toolbox {
  #own = /** @type {Map<unknown, OwnTool>} */ (new Map());
  /** @type {Declared.ModelContext | undefined} */
  #context;

  /** @param {readonly Declared.Tool[] | Declared.ModelContext} tools */
  constructor(tools) {
    if (Array.isArray(tools)) for (const tool of tools) this.add(tool);
    else if ("getTools" in tools && "executeTool" in tools) this.#context = tools;
    else throw new TypeError("tools has to be an array, or a document.modelContext that has getTools and executeTool");
  }

  /** @param {Declared.Tool} tool @returns {OwnTool} */
  add(tool) {
    const { name } = tool;
    if (typeof tool.execute !== "function") throw new TypeError(`the tool ${name} needs execute, a function`);
    if (this.#own.has(name)) throw new TypeError(`there is a tool ${name} already`);
    const own = { name, definition: toDefinition(tool), execute: tool.execute.bind(tool) };
    this.#own.set(name, own);
    return own;
  }

  /** Whether it was there. @param {OwnTool} own */
  remove(own) {
    return this.#own.get(own.name) === own && this.#own.delete(own.name);
  }

  /** @param {() => void} listener @param {AbortSignal} signal */
  onChange(listener, signal) {
    this.#context?.addEventListener("toolchange", listener, { signal });
    listener(); // they may have changed since they were read
  }

  /** All tools, with different names. */
  async definitions() {
    const definitions = new Map(Array.from(this.#own.values(), ({ name, definition }) => [name, definition]));
    for (const tool of (await this.#context?.getTools()) ?? []) {
      if (!definitions.has(tool.name)) definitions.set(tool.name, toDefinition(tool));
    }
    return [...definitions.values()];
  }

  /** The result of a call, which says in its text what has failed. Throws the error of an unknown tool. */
  async call(/** @type {Declared.ToolCall} */ call, /** @type {Declared.ToolContext} */ context) {
    const execute = this.#own.get(call.name)?.execute ?? (await this.#adopted(call.name));
    if (!execute) throw { code: "unknown_tool", message: `There is no tool ${call.name}.` };
    try {
      if (!isObject(call.arguments)) throw new TypeError("The arguments have to be an object.");
      const result = toToolResult(await execute(call.arguments, context));
      toJson(result); // throws for what is no JSON
      return result;
    } catch (thrown) {
      return { content: [{ type: "text", text: messageOf(thrown) }], isError: true };
    }
  }

  /** What executes a tool that the page has registered with the browser. @param {string} name */
  async #adopted(name) {
    const context = this.#context;
    const tool = (await context?.getTools())?.find((tool) => tool.name === name);
    if (!context || !tool) return undefined;
    return async (/** @type {any} */ args, /** @type {Declared.ToolContext} */ { signal }) => {
      // Chrome takes an object since version 155, and took JSON before: to that this object converts.
      const input = Object.defineProperty({ ...args }, Symbol.toPrimitive, { value: () => JSON.stringify(args) });
      return fromModelContext(await context.executeTool(tool, input, { signal }));
    };
  }
}

/** Calls of the relay's HTTP API. They throw a RelayError for a refusal and for what the network does. */
class Api {
  /** @param {Declared.RelayOptions["relay"]} relay @param {Declared.RelayOptions["parse"]} parse */
  constructor(relay, parse = JSON.parse) {
    const url = new URL(relay ?? new URL(".", import.meta.url));
    if (!/^https?:$/.test(url.protocol)) throw new TypeError(`the relay's URL has to begin with https://: ${url.href}`);
    this.url = url.href.replace(/\/$/, "");
    this.parse = parse;
  }

  /** The parsed body of the response. @param {string} path @param {CallOptions & { wait?: number }} options */
  async call(path, { signal, wait = 0, ...options } = {}) {
    const abort = abortAfter(wait * 1000 + CALL_TIMEOUT_MS, TIMED_OUT, signal);
    try {
      const response = await this.fetch(path, { ...options, signal: abort.signal });
      const text = await response.text().catch(throwUnreachable);
      return response.status === 204 ? undefined : this.parseJson(text, response.status);
    } finally {
      abort.release();
    }
  }

  /** The HTTP response, if successful. @param {string} path @param {CallOptions & { cursor?: string }} options */
  async fetch(path, { token, body, cursor, ...options }) {
    if (body && new TextEncoder().encode(body).length > MAX_BODY_BYTES) throw tooLarge({ status: 413 });
    // A Request throws what is wrong with the call itself, so that what fetch rejects with is the network's.
    const request = new Request(this.url + path, {
      ...options,
      body,
      cache: "no-store",
      headers: {
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

/**
 * What survives a reload of the page, in sessionStorage. One key holds the session's code and token. One more key for
 * each accepted request holds its answer, or the empty string before there is one, until the relay has the answer.
 */
class SavedSession {
  static #usedKeys = new Set();

  /** @param {string} relay */
  constructor(relay) {
    // All pages that a frame shows go on with the same session: a page may change its path, and then be reloaded.
    // Several sessions of one page are told apart by the order in which they were opened.
    const prefix = `parley ${relay} ${framePath(globalThis.window)}`;
    let number = 1;
    while (SavedSession.#usedKeys.has(`${prefix} ${number}`)) number++;
    this.key = `${prefix} ${number}`;
    SavedSession.#usedKeys.add(this.key);
    try {
      this.storage = globalThis.document && globalThis.sessionStorage;
    } catch {
      this.storage = undefined; // the browser's settings forbid storage: a reload creates a new session
    }
  }

  release() {
    SavedSession.#usedKeys.delete(this.key);
  }

  /** @returns {{code: string, token: string} | null} */
  load() {
    try {
      return isStorageCopied ? null : JSON.parse(this.storage?.getItem(this.key) ?? "null");
    } catch {
      return null;
    }
  }

  /** @param {{code: string, token: string}} session */
  save({ code, token }) {
    this.clear();
    this.#write(this.key, JSON.stringify({ code, token }));
  }

  /** @param {string} id @param {string} answer */
  put(id, answer = "") {
    this.#write(`${this.key}/${id}`, answer);
  }

  /** @param {string} id */
  remove(id) {
    this.storage?.removeItem(`${this.key}/${id}`);
  }

  clear() {
    for (const [id] of this.requests()) this.remove(id);
    this.storage?.removeItem(this.key);
  }

  /** The id and the answer of each request. */
  requests() {
    const prefix = `${this.key}/`;
    return Object.keys(this.storage ?? {})
      .filter((key) => key.startsWith(prefix))
      .map((key) => [key.slice(prefix.length), this.storage?.getItem(key) ?? ""]);
  }

  /** @param {string} key @param {string} value */
  #write(key, value) {
    for (const text of [value, ""]) {
      try {
        return this.storage?.setItem(key, text);
      } catch {
        // The storage is full. The empty string may still fit, and keeps the request from running twice.
      }
    }
  }
}

/** Resume the session, or create one. @param {Api} api @param {SavedSession} saved @param {Toolbox} toolbox */
async function openSession(api, saved, toolbox) {
  const tools = await toolbox.definitions();
  const resumed = await resumeSession(api, saved);
  const session = resumed ?? /** @type {HostSession} */ (await api.call("/api/sessions", { method: "POST" }));
  if (!resumed) saved.save(session);
  if (resumed || tools.length) {
    const call = { method: "PUT", token: session.token, body: toJson({ tools }) };
    await api.call(`${sessionPath(session.code)}/tools`, call);
  }
  return { ...session, tools };
}

/** @param {Api} api @param {SavedSession} saved @returns {Promise<HostSession | undefined>} */
async function resumeSession(api, saved) {
  const found = saved.load();
  try {
    const session = found && (await api.call(sessionPath(found.code), { token: found.token }));
    if (session?.active) return { ...session, token: found?.token };
  } catch (error) {
    if (!isPermanent(error)) throw error;
  }
}

/**
 * Send a request, wait for the host's answer, and return it. Sending it again is safe, since the id stays the same. The
 * request is withdrawn if the time is over or the signal aborts.
 * @param {Api} api @param {string} path @param {string} body
 * @param {Declared.RequestOptions & { id: string, timeout: number }} options
 */
async function sendRequest(api, path, body, { id, timeout, signal }) {
  const deadline = Date.now() + timeout;
  const abort = abortAfter(timeout, new RelayError("The host did not answer in time.", { code: "timeout" }), signal);
  let called = false;
  let accepted = false;
  let posted = false; // whether the relay has the request, or may have it
  let busy = false; // whether the relay had no place for the last call: it always has for one that does not wait
  let failures = 0;
  let failingSince = 0;
  try {
    for (;;) {
      abort.signal.throwIfAborted();
      const wait = busy ? 0 : Math.max(0, Math.min(POLL_SECONDS, Math.ceil((deadline - Date.now()) / 1000)));
      let response;
      called = true;
      try {
        response = accepted
          ? await api.call(`${messagePath(path, "responses", id)}wait=${wait}`, { signal: abort.signal, wait })
          : await api.call(`${path}/requests?wait=${wait}`, { method: "POST", body, signal: abort.signal, wait });
        if (!["answered", "pending"].includes(response?.status)) throw unexpectedAnswer();
      } catch (error) {
        abort.signal.throwIfAborted();
        const { code, status } = toRelayError(error);
        if (isPermanent(error) || (status === 429 && !posted)) throw error;
        busy = code === "busy";
        posted ||= !busy;
        failingSince = status === 429 || (busy && wait) ? 0 : failingSince || Date.now();
        if (failingSince && Date.now() - failingSince > GUEST_RETRY_MS) throw error;
        await sleep(backoffMs(++failures, error), abort.signal);
        continue;
      }
      if (response.status === "answered") return resultOf(response);
      accepted = posted = true;
      if (!busy) failures = 0;
      busy = false;
      failingSince = 0;
    }
  } catch (error) {
    if (called && abort.signal.aborted) {
      api.call(messagePath(path, "requests", id), { method: "DELETE", keepalive: true }).catch(() => undefined);
    }
    throw error;
  } finally {
    abort.release();
  }
}

/** An id of "." or ".." would name a folder. @param {string} path @param {string} kind @param {string} id */
function messagePath(path, kind, id) {
  if (![".", ".."].includes(id)) return `${path}/${kind}/${encodeURIComponent(id)}?`;
  return `/api/${kind}?code=${path.split("/").at(-1)}&id=${id}&`;
}

function sessionPath(/** @type {string} */ code) {
  return `/api/sessions/${encodeURIComponent(code)}`;
}

/** @param {{ result?: any, error?: any }} response */
function resultOf(response) {
  if ("result" in response) return response.result;
  const error = response.error;
  const message = typeof error === "string" ? error : error?.message;
  throw new RelayError(typeof message === "string" ? message : "The host answered with an error.", { error });
}

/** The error that an HTTP response stands for. @param {Response} response */
async function errorOf(response) {
  const problem = await response.json().catch(() => ({}));
  const seconds = parseInt(response.headers.get("Retry-After") ?? "", 10);
  /** @type {ErrorDetails} */
  const details = seconds > 0 ? { status: response.status, retryAfter: seconds } : { status: response.status };
  if (typeof problem?.code !== "string") return response.status === 413 ? tooLarge(details) : unexpectedAnswer(details);
  return new RelayError(problem.detail, { ...details, code: problem.code, refused: true });
}

/** Whether the same call would fail again. @param {unknown} error */
function isPermanent(error) {
  return !(error instanceof RelayError) || (!!error.refused && (error.status ?? 500) < 500 && error.status !== 429);
}

/** Why the session has ended, if the error says that it has. @param {unknown} error */
function endReason(error) {
  return error instanceof RelayError ? END_REASONS.get(error.code) : undefined;
}

/** @param {unknown} [cause] The reason, if the call was aborted. @returns {never} */
function throwUnreachable(cause) {
  if (cause instanceof RelayError) throw cause;
  throw new RelayError("The relay cannot be reached.", { code: "unreachable", cause });
}

/** @param {ErrorDetails} details */
function tooLarge(details) {
  return new RelayError("The message is too large.", { code: "payload_too_large", refused: true, ...details });
}

/** Any other error is a defect, here or in what was passed in. @param {unknown} error */
function toRelayError(error) {
  return error instanceof RelayError ? error : new RelayError(String(error), { code: "client_error", cause: error });
}

/** Something else has answered, such as a proxy or a login page. @param {ErrorDetails} details */
function unexpectedAnswer(details = {}) {
  return new RelayError("What answered is not the relay.", { code: "unexpected_answer", ...details });
}

/**
 * The events of a server-sent stream. Unlike in the standard, a lone CR ends no line and an event with empty data is
 * ignored: the relay writes neither, and proxies change LF to CRLF at most.
 * Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 * @param {ReadableStream<Uint8Array<ArrayBuffer>> | null} body @param {() => void} onData
 */
async function* parseEvents(body, onData) {
  if (!body) return;
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let fields = { id: "", event: "message", data: "" };
  for (;;) {
    const { value, done } = await reader.read().catch(throwUnreachable);
    if (done) return;
    onData();
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const [, name, content = ""] = /^(id|event|data)(?:: ?(.*))?$/s.exec(line) ?? [];
      if (name === "data" && fields.data) fields.data += `\n${content}`;
      else if (name) fields = { ...fields, [name]: content };
      if (line !== "") continue;
      if (fields.data) yield fields;
      fields = { id: fields.id, event: "message", data: "" };
    }
  }
}

/** The call of a tool that a request is, or null. @param {any} payload @returns {Declared.ToolCall | null} */
function toToolCall(payload) {
  const { name, arguments: args } = (payload?.method === "tools/call" && payload.params) || {};
  return typeof name === "string" ? { name, arguments: args ?? {} } : null;
}

/** What guests see of a tool. @param {Declared.ToolDefinition} tool @returns {Declared.ToolDefinition} */
function toDefinition({ name, title, description, inputSchema, outputSchema, annotations }) {
  const schema = typeof inputSchema === "string" ? JSON.parse(inputSchema || "{}") : inputSchema; // Chrome before 155
  const input = isObject(schema) ? { type: "object", ...schema } : schema;
  const text = toJson({ name, title: title || undefined, description, inputSchema: input, outputSchema, annotations });
  return JSON.parse(text);
}

/** The result of a tool in the words of MCP. @param {any} value @returns {Declared.CallToolResult} */
function toToolResult(value = "") {
  const { content } = Object(value);
  if (Array.isArray(content) && content.every((block) => typeof block?.type === "string")) return value;
  if (typeof value === "string") return { content: [{ type: "text", text: value }] };
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`The tool returned a ${typeof value}, which is no JSON.`);
  return { content: [{ type: "text", text }], structuredContent: value };
}

/** What a tool has returned, from the text or JSON that the browser makes of it. @param {any} result */
function fromModelContext(result) {
  if (result === null || result === "undefined") return undefined; // null if the tool has left the page
  try {
    const value = JSON.parse(result);
    return Object(value) === value ? value : result;
  } catch {
    return result;
  }
}

function isObject(/** @type {unknown} */ value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function sessionEnded() {
  return new RelayError("The session has ended.", { code: "session_ended" });
}

function rejectOther() {
  throw new RelayError("This host takes no other requests than the calls of its tools.", { code: "no_handler" });
}

function rejectInterrupted() {
  throw new RelayError("The host was reloaded while it worked on this request.", { code: "interrupted" });
}

/** @param {unknown} value */
function toJson(value) {
  return JSON.stringify(value) ?? "null";
}

/** The error that the guest gets for a thrown value: name, message and code of an Error, any other value itself. */
function errorToJson(/** @type {unknown} */ thrown) {
  try {
    if (!(thrown instanceof Error)) return toJson(thrown);
    const { name, message, code } = /** @type {Error & { code?: unknown }} */ (thrown);
    return toJson({ name, message, code });
  } catch {
    return toJson({ message: "The host failed." });
  }
}

/** A text that tells what was thrown. */
function messageOf(/** @type {unknown} */ thrown) {
  if (thrown instanceof Error) return thrown.message || thrown.name;
  return typeof thrown === "string" ? thrown : errorToJson(thrown);
}

/** Exponential, with jitter. @param {number} failures How many in a row. @param {unknown} error The last one. */
function backoffMs(failures, error) {
  if (!(error instanceof RelayError)) return MAX_TIMER_MS; // a defect, which stays
  const backoff = Math.min(BACKOFF_MS.max, BACKOFF_MS.first * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
  return Math.max(backoff, (error.retryAfter ?? 0) * 1000);
}

/**
 * A signal that aborts with another one, or after the time, until it is released. AbortSignal.any is still too new.
 * @param {number} milliseconds @param {unknown} reason @param {AbortSignal} [signal]
 */
function abortAfter(milliseconds, reason, signal) {
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal?.reason);
  const timer = milliseconds <= MAX_TIMER_MS ? setTimeout(() => controller.abort(reason), milliseconds) : undefined;
  signal?.addEventListener("abort", onAbort);
  if (signal?.aborted) onAbort();
  const release = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  };
  return { signal: controller.signal, release };
}

/** Resolves after the time, or when the signal aborts. @param {number} milliseconds @param {AbortSignal} signal */
function sleep(milliseconds, signal) {
  if (signal.aborted) return;
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve(undefined);
    };
    const timer = setTimeout(done, Math.min(milliseconds, MAX_TIMER_MS));
    signal.addEventListener("abort", done);
  });
}

/** A frame's position in each of its parents. @param {Window | undefined} frame @returns {string} */
function framePath(frame) {
  if (!frame?.parent || frame.parent === frame) return "";
  return `${framePath(frame.parent)}/${Array.prototype.indexOf.call(frame.parent, frame)}`;
}

function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
