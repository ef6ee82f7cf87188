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

/** Reasons for which a connection is aborted. */
const RECONNECT = Symbol("reconnect");
const TIMED_OUT = Symbol("timed out");

/** The problem codes that mean that the host has lost its session, and the `reason` of the session for each. */
const END_REASONS = new Map([
  ["session_not_found", "expired"],
  ["session_ended", "ended"],
  ["host_token_required", "host_token_required"],
  ["host_token_wrong", "host_token_wrong"],
]);

/** The problem codes of a refused answer that mean that the request needs no other answer. */
const REQUEST_CLOSED = ["already_answered", "request_not_found"];

export class RelayError extends Error {
  name = "RelayError";

  /** @param {string} message @param {Record<string, unknown>} details */
  constructor(message, { cause, ...details }) {
    super(message, { cause });
    Object.assign(this, details);
  }
}

/** @param {any} options */
export async function host({ onRequest, onInterrupted = rejectInterrupted, autoRenew = true, relay, parse }) {
  if (typeof onRequest !== "function") throw new TypeError("host() needs onRequest, a function that answers a request");
  const api = new Api(relay, parse);
  const saved = new SavedSession(api.url);
  try {
    const session = (await resumeSession(api, saved)) ?? (await createSession(api, saved));
    return new Session(api, saved, session, { onRequest, onInterrupted, autoRenew });
  } catch (error) {
    saved.release();
    throw error;
  }
}

/** @param {string} code @param {any} options */
export function guest(code, { relay, parse } = {}) {
  const api = new Api(relay, parse);
  const path = `/api/sessions/${encodeURIComponent(code)}`;
  return {
    code,
    session: () => api.call(path),
    /** @param {unknown} payload @param {any} options */
    request: async (payload, { id = randomId(), timeout = Infinity, signal } = {}) =>
      sendRequest(api, path, `{"id":${JSON.stringify(id)},"payload":${toJson(payload)}}`, { id, timeout, signal }),
  };
}

/** The host's side of a session. */
class Session extends EventTarget {
  state = "connecting";
  /** @type {string | null} */
  reason = null;
  /** @type {any} */
  problem = null;

  #api;
  #saved;
  #path;
  #token;
  #handlers;
  #autoRenew;
  #clockOffsetMs = 0; // the relay's clock minus this machine's
  #lifetimeMs = 0; // the ttl right after the last renewal
  #cursor = "";
  #lastDataAt = 0;
  #accepted = new Set(); // the ids of all requests so far: the relay may deliver one again
  #interrupted; // the ids of requests that were accepted, and not answered, before the page was reloaded
  #sessionAbort = new AbortController();
  #connectionAbort = new AbortController();
  #pollUntil = 0;
  #failedOpens = 0; // in a row
  #failures = 0;
  #backoff = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #renewalTimer;

  /** @param {Api} api @param {SavedSession} saved @param {any} session @param {any} options */
  constructor(api, saved, session, { onRequest, onInterrupted, autoRenew }) {
    super();
    this.#api = api;
    this.#saved = saved;
    this.#token = session.token;
    this.#path = `/api/sessions/${session.code}`;
    this.#handlers = { onRequest, onInterrupted };
    this.#autoRenew = autoRenew;
    this.code = session.code;
    this.createdAt = session.createdAt;
    this.expiresAt = "";
    this.#updateExpiry(session);
    this.#interrupted = saved.unanswered();
    for (const [id, answer] of saved.unsent()) {
      this.#accepted.add(id);
      this.#sendAnswer(id, answer);
    }
    for (const [target, type, listener] of this.#listeners) target?.addEventListener(type, listener);
    this.#run();
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
    this.#scheduleRenewal();
  }

  async renew() {
    this.#updateExpiry(await this.#call("", { method: "PATCH" }));
  }

  async end() {
    try {
      if (this.state !== "ended") await this.#call("", { method: "DELETE" });
    } catch (error) {
      if (this.state !== "ended") throw error; // #call has found that the session had ended already
    }
    this.#finish("ended");
  }

  // Connection

  async #run() {
    while (this.state !== "ended") {
      const connection = (this.#connectionAbort = new AbortController());
      this.#lastDataAt = Date.now();
      try {
        if (Date.now() < this.#pollUntil) await this.#poll(connection);
        else await this.#listen(connection);
        this.#failures = 0;
      } catch (error) {
        if (connection.signal.reason !== RECONNECT) await this.#recover(error);
      }
    }
  }

  /** @param {any} error */
  async #recover(error) {
    const reason = END_REASONS.get(error.code);
    if (reason) this.#finish(reason);
    if (this.state === "ended") return;
    this.problem = error instanceof RelayError ? error : null;
    this.#setState("disconnected");
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
      const response = await this.#api.fetch(`${this.#path}/stream`, {
        headers: this.#cursor ? { "Last-Event-ID": this.#cursor } : {},
        token: this.#token,
        signal: AbortSignal.any([this.#sessionAbort.signal, connection.signal]),
      });
      for await (const { id, event, data } of parseEvents(response.body, onData)) {
        if (this.state === "ended") break;
        this.#cursor = id;
        const content = this.#api.parseJson(data);
        if (event === "open") {
          openedAt = Date.now();
          onData();
          this.#setState("connected");
        }
        if (event === "open" || event === "renewed") this.#updateExpiry(content);
        if (event === "request") this.#accept(content);
        if (event === "reconnect") closedByRelay = true;
        if (event === "ended") this.#finish(content.reason);
      }
    } catch (error) {
      if (error.refused) throw error;
    } finally {
      clearTimeout(timer);
      connection.abort();
    }
    if (openedAt) this.#failedOpens = 0;
    if (closedByRelay || this.state === "ended") return;
    if (this.state === "connected") this.#setState("connecting");
    if (Date.now() - openedAt < SHORT_STREAM_MS || connection.signal.reason === RECONNECT) throw unreachable();
    if (openedAt) return;
    if (connection.signal.reason !== TIMED_OUT && ++this.#failedOpens < 2) throw unreachable();
    this.#pollUntil = Date.now() + POLLING_MS;
  }

  /** Read requests with one call, which waits for some. @param {AbortController} connection */
  async #poll({ signal }) {
    const wait = this.state === "polling" ? POLL_SECONDS : 0; // the first call only shows whether polling works
    const after = this.#cursor && `&after=${this.#cursor}`;
    const { requests, cursor } = await this.#call(`/requests?wait=${wait}${after}`, { signal, wait });
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

  /** @type {[EventTarget | undefined, string, () => void][]} */
  #listeners = [
    [globalThis.window, "online", this.#onNetworkChange],
    [globalThis.window, "offline", this.#onNetworkChange],
    [globalThis.document, "visibilitychange", this.#onVisible],
  ];

  // Requests

  /** @param {any} request */
  #accept({ id, payload, createdAt }) {
    if (this.#accepted.has(id)) return;
    this.#accepted.add(id);
    const interrupted = this.#interrupted.delete(id);
    this.#saved.put(id);
    const request = { id, payload, createdAt, interrupted, signal: this.#sessionAbort.signal };
    this.#emit("request", request);
    this.#handle(request);
  }

  /** @param {any} request */
  async #handle(request) {
    const { onRequest, onInterrupted } = this.#handlers;
    let answer;
    try {
      const result = await (request.interrupted ? onInterrupted : onRequest)(request);
      answer = `"result":${toJson(result)}`;
    } catch (thrown) {
      answer = `"error":${errorToJson(thrown)}`;
    }
    await this.#sendAnswer(request.id, answer);
  }

  /** Send an answer until the relay has accepted or refused it. @param {string} id @param {string} answer */
  async #sendAnswer(id, answer) {
    if (this.state === "ended") return;
    this.#saved.put(id, answer);
    let problem = null;
    let closed = true;
    for (let failures = 1; this.state !== "ended"; failures++) {
      try {
        await this.#call("/responses", { method: "POST", body: `{"id":${JSON.stringify(id)},${answer}}` });
        break;
      } catch (error) {
        if (!isPermanent(error)) {
          await sleep(backoffMs(failures, error), this.#sessionAbort.signal);
          continue;
        }
        closed = REQUEST_CLOSED.includes(error.code);
        const isLast = closed || problem;
        problem = error;
        if (isLast) break;
        answer = `"error":${errorToJson(error)}`; // so that the guest learns why the answer is missing
        closed = true;
      }
    }
    if (this.state === "ended") return;
    if (closed) this.#saved.remove(id);
    else this.#saved.put(id); // after a reload the relay delivers the request again, and it must not run twice
    this.#emit("answered", { id, problem });
  }

  // Expiry and state

  /** @param {any} session */
  #updateExpiry({ expiresAt, ttl }) {
    if (ttl !== undefined) {
      this.#clockOffsetMs = Date.parse(expiresAt) - Date.now() - ttl * 1000;
      this.#lifetimeMs = ttl * 1000;
    }
    if (expiresAt === this.expiresAt) return;
    const first = !this.expiresAt;
    this.expiresAt = expiresAt;
    this.#scheduleRenewal();
    if (!first) this.#emit("renewed", { expiresAt });
  }

  /** Renew when a third of the lifetime is left, and no sooner than after the delay. */
  #scheduleRenewal(delayMs = 0) {
    clearTimeout(this.#renewalTimer);
    if (!this.#autoRenew || this.state === "ended") return;
    const dueMs = Math.max(delayMs, this.ttl * 1000 - this.#lifetimeMs / 3);
    const next = dueMs > RENEWAL_CHECK_MS ? () => this.#scheduleRenewal() : () => this.#renewAutomatically();
    this.#renewalTimer = setTimeout(next, Math.min(dueMs, RENEWAL_CHECK_MS));
  }

  async #renewAutomatically() {
    try {
      await this.renew(); // schedules the next renewal, unless the session has reached its maximum age
    } catch {
      this.#scheduleRenewal(BACKOFF_MS.max);
    }
  }

  /** @param {string} state */
  #setState(state) {
    if (this.state === state || this.state === "ended") return;
    this.state = state;
    if (state !== "disconnected") this.problem = null;
    this.#emit("state", { state, reason: this.reason });
  }

  /** @param {string} reason */
  #finish(reason) {
    if (this.state === "ended") return;
    this.reason = reason;
    clearTimeout(this.#renewalTimer);
    for (const [target, type, listener] of this.#listeners) target?.removeEventListener(type, listener);
    this.#saved.clear();
    this.#saved.release();
    this.#setState("ended");
    this.#sessionAbort.abort(new RelayError("The session has ended.", { code: "session_ended" }));
    this.#backoff.abort();
    this.#emit("ended", { reason });
  }

  /** @param {string} type @param {any} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {string} path @param {any} options */
  async #call(path, { signal, ...options }) {
    const signals = signal ? [this.#sessionAbort.signal, signal] : [this.#sessionAbort.signal];
    try {
      const call = { ...options, token: this.#token, signal: AbortSignal.any(signals) };
      return await this.#api.call(this.#path + path, call);
    } catch (error) {
      const reason = END_REASONS.get(error.code);
      if (reason) this.#finish(reason);
      throw error;
    }
  }
}

/** Calls of the relay's HTTP API. They return parsed bodies, and throw a RelayError for whatever else happens. */
class Api {
  /** @param {string | URL | undefined} relay @param {(text: string) => any} parse */
  constructor(relay, parse = JSON.parse) {
    this.url = new URL(relay ?? new URL(".", import.meta.url)).href.replace(/\/$/, "");
    this.parse = parse;
  }

  /** @param {string} path @param {any} options */
  async call(path, { signal, wait = 0, ...options } = {}) {
    const timeout = AbortSignal.timeout(wait * 1000 + CALL_TIMEOUT_MS);
    const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
    try {
      const response = await this.fetch(path, { ...options, signal: either });
      const text = await response.text();
      if (response.status === 204) return undefined;
      return this.#parseBody(text, response.status);
    } catch (error) {
      if (error instanceof RelayError) throw error;
      if (signal?.aborted) throw signal.reason;
      throw unreachable(error);
    }
  }

  /** Return the HTTP response if its status is a success. @param {string} path @param {any} options */
  async fetch(path, { token, body, headers = {}, ...options }) {
    const response = await fetch(this.url + path, {
      ...options,
      body,
      cache: "no-store",
      headers: {
        ...headers,
        ...(token && { Authorization: `Bearer ${token}` }),
        ...(body && { "Content-Type": "application/json" }),
      },
    });
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  /** Parse JSON with the caller's parser, or with JSON.parse if that one throws. @param {string} text */
  parseJson(text) {
    try {
      return this.parse(text);
    } catch {
      return JSON.parse(text);
    }
  }

  /** @param {string} text @param {number} status */
  #parseBody(text, status) {
    try {
      return this.parseJson(text);
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
    // Several sessions of one page are told apart by the order in which they were opened.
    const prefix = `parley ${relay} ${globalThis.location?.pathname ?? ""}`;
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

  /** Let another session of this page use the key. */
  release() {
    SavedSession.#usedKeys.delete(this.key);
  }

  /** @returns {{code: string, token: string} | null} */
  load() {
    try {
      return JSON.parse(this.storage?.getItem(this.key) ?? "null");
    } catch {
      return null;
    }
  }

  /** @param {any} session */
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

  /** The ids of the requests without an answer. */
  unanswered() {
    return new Set(this.#entries().flatMap(([id, answer]) => (answer ? [] : [id])));
  }

  /** The id and the answer of each request whose answer the relay may not have. */
  unsent() {
    return this.#entries().filter(([, answer]) => answer);
  }

  clear() {
    for (const [id] of this.#entries()) this.remove(id);
    this.storage?.removeItem(this.key);
  }

  #entries() {
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

/** @param {Api} api @param {SavedSession} saved */
async function resumeSession(api, saved) {
  const found = saved.load();
  if (!found) return null;
  try {
    const session = await api.call(`/api/sessions/${found.code}`, { token: found.token });
    if (session.active) return { ...session, token: found.token };
  } catch (error) {
    if (!error.refused || error.status >= 500 || error.status === 429) throw error;
  }
  return null;
}

/** @param {Api} api @param {SavedSession} saved */
async function createSession(api, saved) {
  const session = await api.call("/api/sessions", { method: "POST" });
  saved.save(session);
  return session;
}

/**
 * Send a request, wait for the host's answer, and return it. Sending it again is safe, since the id stays the same.
 * @param {Api} api @param {string} path @param {string} body @param {any} options
 */
async function sendRequest(api, path, body, { id, timeout, signal }) {
  const deadline = Date.now() + timeout;
  const timedOut = new AbortController();
  const onTimeout = () => timedOut.abort(new RelayError("The host did not answer in time.", { code: "timeout" }));
  const timer = timeout <= MAX_TIMER_MS ? setTimeout(onTimeout, timeout) : undefined;
  const combined = signal ? AbortSignal.any([signal, timedOut.signal]) : timedOut.signal;
  let accepted = false;
  let failures = 0;
  let failingSince = 0;
  try {
    for (;;) {
      combined.throwIfAborted();
      const wait = Math.max(0, Math.min(POLL_SECONDS, Math.ceil((deadline - Date.now()) / 1000)));
      let response;
      try {
        response = accepted
          ? await api.call(`${responsePath(path, id)}wait=${wait}`, { signal: combined, wait })
          : await api.call(`${path}/requests?wait=${wait}`, { method: "POST", body, signal: combined, wait });
        if (!["answered", "pending"].includes(response?.status)) throw unexpectedAnswer();
      } catch (error) {
        combined.throwIfAborted();
        failingSince ||= Date.now();
        if (isPermanent(error) || error.status === 429 || Date.now() - failingSince > GUEST_RETRY_MS) throw error;
        await sleep(backoffMs(++failures, error), combined);
        continue;
      }
      if (response.status === "answered") return resultOf(response);
      accepted = true;
      failures = failingSince = 0;
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Not with "." or ".." in the path, where they would name a folder. @param {string} path @param {string} id */
function responsePath(path, id) {
  if (![".", ".."].includes(id)) return `${path}/responses/${encodeURIComponent(id)}?`;
  return `/api/responses?code=${path.split("/").at(-1)}&id=${id}&`;
}

/** @param {any} response */
function resultOf(response) {
  if ("result" in response) return response.result;
  const error = response.error;
  const message = typeof error === "string" ? error : error?.message;
  throw new RelayError(typeof message === "string" ? message : "The host answered with an error.", { error });
}

/** The error that an HTTP response stands for. @param {Response} response */
async function errorOf(response) {
  const problem = await response.json().catch(() => ({}));
  const refused = typeof problem?.code === "string";
  const seconds = parseInt(response.headers.get("Retry-After") ?? "", 10);
  const retryAfter = seconds > 0 ? { retryAfter: seconds } : {};
  if (!refused) return unexpectedAnswer({ status: response.status, ...retryAfter });
  return new RelayError(problem.detail, { code: problem.code, status: response.status, refused, ...retryAfter });
}

/** Whether the same call would fail again. @param {any} error */
function isPermanent(error) {
  return error.refused && error.status < 500 && error.status !== 429;
}

/** @param {any} [cause] */
function unreachable(cause) {
  return new RelayError("The relay cannot be reached.", { code: "unreachable", cause });
}

/** Something else than the relay has answered, such as a proxy or a login page. @param {any} details */
function unexpectedAnswer(details = {}) {
  return new RelayError("What answered is not the relay.", { code: "unexpected_answer", ...details });
}

/**
 * The events of a server-sent stream, as the relay writes them: one line of each field.
 * Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 * @param {ReadableStream<Uint8Array> | null} body @param {() => void} onData
 */
async function* parseEvents(body, onData) {
  if (!body) return;
  const reader = body.pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  let rest = "";
  let fields = { id: "", event: "message", data: "" };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    onData();
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const [, name, content] = /^(id|event|data): ?(.*)$/s.exec(line) ?? [];
      if (name) fields = { ...fields, [name]: content };
      if (line === "" && fields.data) {
        yield fields;
        fields = { id: fields.id, event: "message", data: "" };
      }
    }
  }
}

function rejectInterrupted() {
  throw new RelayError("The host was reloaded while it worked on this request.", { code: "interrupted" });
}

/** @param {unknown} value */
function toJson(value) {
  return JSON.stringify(value) ?? "null";
}

/** The error that the guest gets for a thrown value: name, message and code of an Error, any other value itself. */
function errorToJson(/** @type {any} */ thrown) {
  try {
    if (!(thrown instanceof Error)) return toJson(thrown);
    const { name, message } = thrown;
    return toJson({ name, message, code: /** @type {any} */ (thrown).code });
  } catch {
    return toJson({ message: "The host failed." });
  }
}

/** How long to wait after failures in a row: exponential, with jitter. @param {number} failures @param {any} error */
function backoffMs(failures, error) {
  const backoff = Math.min(BACKOFF_MS.max, BACKOFF_MS.first * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
  return Math.max(backoff, (error?.retryAfter ?? 0) * 1000);
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

function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
