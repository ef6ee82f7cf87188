// @ts-check
// @ts-self-types="./relay.d.ts"
//
// Parley for pages: import { host, guest } from "https://…/relay.js". What it offers is said in relay.d.ts.

const OPENS_WITHIN_MS = 8_000; // a stream that says nothing for so long is swallowed by a proxy
const SILENT_AT_MOST_MS = 40_000; // the relay sends a comment every 15 s
const MISSED_MS = 30_000; // longer than a call that polls
const CALL_MS = 20_000;
const POLL_SECONDS = 25;
const POLLS_FOR_MS = 300_000; // then the stream gets another chance
const BRIEF_MS = 5_000; // a stream that breaks so soon counts as a failure
const PAUSE_MS = { first: 500, most: 15_000 };
const LOOKS_AT_THE_CLOCK_MS = 20_000; // a timer does not notice that the machine slept
const GUEST_GIVES_UP_MS = 30_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Why an attempt to be connected was broken off. */
const RECONNECT = Symbol("reconnect");
const SILENT = Symbol("silent");

/** The refusals after which there is no session to stay in, and the reason that the host is given. */
const ENDS = new Map([
  ["session_not_found", "expired"],
  ["session_ended", "ended"],
  ["host_token_required", "host_token_required"],
  ["host_token_wrong", "host_token_wrong"],
]);

/** The refusals of an answer after which the request is no longer the host's business. */
const SETTLED = ["already_answered", "request_not_found"];

export class RelayError extends Error {
  name = "RelayError";

  /** @param {string} message @param {Record<string, unknown>} about */
  constructor(message, { cause, ...about }) {
    super(message, { cause });
    Object.assign(this, about);
  }
}

/** @param {any} options */
export async function host({ onRequest, onInterrupted = refuseInterrupted, autoRenew = true, relay, parse = JSON.parse }) {
  if (typeof onRequest !== "function") throw new TypeError("host() needs onRequest, a function that answers a request");
  const api = new Api(relay, parse);
  const drawer = new Drawer(api.url);
  try {
    const session = (await resumed(api, drawer)) ?? (await created(api, drawer));
    return new Session(api, drawer, session, { onRequest, onInterrupted, autoRenew });
  } catch (error) {
    drawer.release();
    throw error;
  }
}

/** @param {string} code @param {any} options */
export function guest(code, { relay, parse = JSON.parse } = {}) {
  const api = new Api(relay, parse);
  const path = `/api/sessions/${encodeURIComponent(code)}`;
  return {
    code,
    session: () => api.call(path),
    /** @param {unknown} payload @param {any} options */
    request: async (payload, { id = randomId(), timeout = Infinity, signal } = {}) =>
      ask(api, path, `{"id":${JSON.stringify(id)},"payload":${json(payload)}}`, { id, timeout, signal }),
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
  #drawer;
  #path;
  #token;
  #handlers;
  #autoRenew;
  #skew = 0; // how far this machine's clock is behind the relay's, in milliseconds
  #span = 0; // how long the session lived from its last renewal, in milliseconds
  #cursor = "";
  #lastHeard = 0;
  #taken = new Set();
  #leftBehind; // what the page before a reload had begun
  #life = new AbortController();
  #attempt = new AbortController();
  #pollsUntil = 0;
  #unopened = 0; // streams in a row that could not be opened
  #failures = 0;
  #nap = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #renewal;

  /** @param {Api} api @param {Drawer} drawer @param {any} session @param {any} options */
  constructor(api, drawer, session, { onRequest, onInterrupted, autoRenew }) {
    super();
    this.#api = api;
    this.#drawer = drawer;
    this.#token = session.token;
    this.#path = `/api/sessions/${session.code}`;
    this.#handlers = { onRequest, onInterrupted };
    this.#autoRenew = autoRenew;
    this.code = session.code;
    this.createdAt = session.createdAt;
    this.expiresAt = "";
    this.#live(session);
    this.#leftBehind = drawer.begun();
    for (const [id, answer] of drawer.answers()) {
      this.#taken.add(id);
      this.#send(id, answer);
    }
    for (const [target, type, listener] of this.#surroundings) target?.addEventListener(type, listener);
    this.#stay();
  }

  /** Seconds that are left. */
  get ttl() {
    return Math.max(0, (Date.parse(this.expiresAt) - Date.now() - this.#skew) / 1000);
  }

  get autoRenew() {
    return this.#autoRenew;
  }

  set autoRenew(wanted) {
    this.#autoRenew = wanted;
    this.#planRenewal();
  }

  async renew() {
    this.#live(await this.#call("", { method: "PATCH" }));
  }

  async end() {
    try {
      if (this.state !== "ended") await this.#call("", { method: "DELETE" });
    } catch (error) {
      if (this.state !== "ended") throw error; // else it was over already
    }
    this.#finish("ended");
  }

  // Staying in touch

  async #stay() {
    while (this.state !== "ended") {
      const attempt = (this.#attempt = new AbortController());
      this.#lastHeard = Date.now();
      try {
        if (Date.now() < this.#pollsUntil) await this.#poll(attempt);
        else await this.#listen(attempt);
        this.#failures = 0;
      } catch (error) {
        if (attempt.signal.reason !== RECONNECT) await this.#recover(error);
      }
    }
  }

  /** @param {any} error */
  async #recover(error) {
    const reason = ENDS.get(error.code);
    if (reason) this.#finish(reason);
    if (this.state === "ended") return;
    this.problem = error instanceof RelayError ? error : null;
    this.#become("disconnected");
    this.#nap = new AbortController();
    await delay(backOff(++this.#failures, error), this.#nap.signal);
  }

  /** Follow the stream to its end. Rejects if there was none, or only for a moment. @param {AbortController} attempt */
  async #listen(attempt) {
    let opened = 0;
    let orderly = false;
    let watch = setTimeout(() => attempt.abort(SILENT), OPENS_WITHIN_MS);
    const heard = () => {
      this.#lastHeard = Date.now();
      if (!opened) return;
      clearTimeout(watch);
      watch = setTimeout(() => attempt.abort(SILENT), SILENT_AT_MOST_MS);
    };
    try {
      const answer = await this.#api.fetch(`${this.#path}/stream`, {
        headers: this.#cursor ? { "Last-Event-ID": this.#cursor } : {},
        token: this.#token,
        signal: AbortSignal.any([this.#life.signal, attempt.signal]),
      });
      for await (const { id, event, data } of events(answer.body, heard)) {
        if (this.state === "ended") break;
        this.#cursor = id;
        const content = this.#api.read(data);
        if (event === "open") {
          opened = Date.now();
          heard();
          this.#become("connected");
        }
        if (event === "open" || event === "renewed") this.#live(content);
        if (event === "request") this.#take(content);
        if (event === "reconnect") orderly = true;
        if (event === "ended") this.#finish(content.reason);
      }
    } catch (error) {
      if (error.refused) throw error;
    } finally {
      clearTimeout(watch);
      attempt.abort();
    }
    if (opened) this.#unopened = 0;
    if (orderly || this.state === "ended") return;
    if (this.state === "connected") this.#become("connecting");
    if (Date.now() - opened < BRIEF_MS || attempt.signal.reason === RECONNECT) throw unreachable();
    if (opened) return;
    if (attempt.signal.reason !== SILENT && ++this.#unopened < 2) throw unreachable();
    this.#pollsUntil = Date.now() + POLLS_FOR_MS;
  }

  /** Read requests with one call. @param {AbortController} attempt */
  async #poll({ signal }) {
    const wait = this.state === "polling" ? POLL_SECONDS : 0; // the first answer tells at once whether it works
    const after = this.#cursor && `&after=${this.#cursor}`;
    const { requests, cursor } = await this.#call(`/requests?wait=${wait}${after}`, { signal, wait });
    this.#become("polling");
    this.#cursor = cursor;
    for (const request of requests) this.#take(request);
  }

  #reconnect = () => {
    this.#attempt.abort(RECONNECT);
    this.#nap.abort();
  };

  #onAnotherNetwork = () => {
    this.#pollsUntil = 0;
    this.#reconnect();
  };

  #afterSleep = () => {
    if (document.visibilityState === "visible" && Date.now() - this.#lastHeard > MISSED_MS) this.#reconnect();
  };

  /** @type {[EventTarget | undefined, string, () => void][]} */
  #surroundings = [
    [globalThis.window, "online", this.#onAnotherNetwork],
    [globalThis.window, "offline", this.#onAnotherNetwork],
    [globalThis.document, "visibilitychange", this.#afterSleep],
  ];

  // Requests

  /** @param {any} request */
  #take({ id, payload, createdAt }) {
    if (this.#taken.has(id)) return;
    this.#taken.add(id);
    const interrupted = this.#leftBehind.delete(id);
    this.#drawer.keep(id);
    const request = { id, payload, createdAt, interrupted, signal: this.#life.signal };
    this.#tell("request", request);
    this.#answer(request);
  }

  /** @param {any} request */
  async #answer(request) {
    const { onRequest, onInterrupted } = this.#handlers;
    let answer;
    try {
      const result = await (request.interrupted ? onInterrupted : onRequest)(request);
      answer = `"result":${json(result)}`;
    } catch (thrown) {
      answer = `"error":${errorJson(thrown)}`;
    }
    await this.#send(request.id, answer);
  }

  /** Send an answer, as often as it takes. @param {string} id @param {string} answer */
  async #send(id, answer) {
    if (this.state === "ended") return;
    this.#drawer.keep(id, answer);
    let problem = null;
    let settled = true;
    for (let failures = 1; this.state !== "ended"; failures++) {
      try {
        const body = `{"id":${JSON.stringify(id)},${answer}}`;
        await this.#call("/responses", { method: "POST", body });
        break;
      } catch (error) {
        if (!isFinal(error)) {
          await delay(backOff(failures, error), this.#life.signal);
          continue;
        }
        settled = SETTLED.includes(error.code);
        if (settled || problem) {
          problem = error;
          break;
        }
        problem = error;
        answer = `"error":${errorJson(error)}`; // The guest at least hears why there is no other answer.
        settled = true;
      }
    }
    if (this.state === "ended") return;
    if (settled) this.#drawer.drop(id);
    else this.#drawer.keep(id); // The relay will send it again after a reload, and it must not run again.
    this.#tell("answered", { id, problem });
  }

  // Time and state

  /** @param {any} session */
  #live({ expiresAt, ttl }) {
    if (ttl !== undefined) {
      this.#skew = Date.parse(expiresAt) - Date.now() - ttl * 1000;
      this.#span = ttl * 1000;
    }
    if (expiresAt === this.expiresAt) return;
    const first = !this.expiresAt;
    this.expiresAt = expiresAt;
    this.#planRenewal();
    if (!first) this.#tell("renewed", { expiresAt });
  }

  /** Renew when a third of the time is left. */
  #planRenewal(pause = 0) {
    clearTimeout(this.#renewal);
    if (!this.#autoRenew || this.state === "ended") return;
    const due = Math.max(pause, this.ttl * 1000 - this.#span / 3);
    const next = due > LOOKS_AT_THE_CLOCK_MS ? () => this.#planRenewal() : () => this.#renewByItself();
    this.#renewal = setTimeout(next, Math.min(due, LOOKS_AT_THE_CLOCK_MS));
  }

  async #renewByItself() {
    try {
      await this.renew(); // Where that no longer moves the end, it was the last time.
    } catch {
      this.#planRenewal(PAUSE_MS.most);
    }
  }

  /** @param {string} state */
  #become(state) {
    if (this.state === state || this.state === "ended") return;
    this.state = state;
    if (state !== "disconnected") this.problem = null;
    this.#tell("state", { state, reason: this.reason });
  }

  /** @param {string} reason */
  #finish(reason) {
    if (this.state === "ended") return;
    this.reason = reason;
    clearTimeout(this.#renewal);
    for (const [target, type, listener] of this.#surroundings) target?.removeEventListener(type, listener);
    this.#drawer.clear();
    this.#drawer.release();
    this.#become("ended");
    this.#life.abort(new RelayError("The session has ended.", { code: "session_ended" }));
    this.#nap.abort();
    this.#tell("ended", { reason });
  }

  /** @param {string} type @param {any} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {string} path @param {any} options */
  async #call(path, { signal, ...options }) {
    const signals = signal ? [this.#life.signal, signal] : [this.#life.signal];
    try {
      return await this.#api.call(this.#path + path, { ...options, token: this.#token, signal: AbortSignal.any(signals) });
    } catch (error) {
      const reason = ENDS.get(error.code);
      if (reason) this.#finish(reason);
      throw error;
    }
  }
}

/** The relay's API: what it answers is returned as parsed, what it refuses is thrown as a RelayError. */
class Api {
  /** @param {string | URL | undefined} relay @param {(text: string) => any} parse */
  constructor(relay, parse) {
    this.url = new URL(relay ?? new URL(".", import.meta.url)).href.replace(/\/$/, "");
    this.parse = parse;
  }

  /** @param {string} path @param {any} options */
  async call(path, { signal, wait = 0, ...options } = {}) {
    const limit = AbortSignal.timeout(wait * 1000 + CALL_MS);
    try {
      const answer = await this.fetch(path, { ...options, signal: signal ? AbortSignal.any([signal, limit]) : limit });
      const text = await answer.text();
      if (answer.status === 204) return undefined;
      return this.#content(text, answer.status);
    } catch (error) {
      if (error instanceof RelayError) throw error;
      if (signal?.aborted) throw signal.reason;
      throw unreachable(error);
    }
  }

  /** Return the answer itself, which is a good one. @param {string} path @param {any} options */
  async fetch(path, { token, body, headers = {}, ...options }) {
    const answer = await fetch(this.url + path, {
      ...options,
      body,
      cache: "no-store",
      headers: {
        ...headers,
        ...(token && { Authorization: `Bearer ${token}` }),
        ...(body && { "Content-Type": "application/json" }),
      },
    });
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }

  /** Read JSON; with plain JSON.parse where the parser that was asked for cannot. @param {string} text */
  read(text) {
    try {
      return this.parse(text);
    } catch {
      return JSON.parse(text);
    }
  }

  /** @param {string} text @param {number} status */
  #content(text, status) {
    try {
      return this.read(text);
    } catch (cause) {
      throw notTheRelay({ status, cause });
    }
  }
}

/** What has to outlive a reload: the session, which requests were begun, and the answers that are not sent yet. */
class Drawer {
  static #inUse = new Set();

  /** @param {string} relay */
  constructor(relay) {
    const place = `parley ${relay} ${globalThis.location?.pathname ?? ""}`;
    let number = 1;
    while (Drawer.#inUse.has(`${place} ${number}`)) number++;
    this.name = `${place} ${number}`;
    Drawer.#inUse.add(this.name);
    try {
      this.storage = globalThis.document && globalThis.sessionStorage;
    } catch {
      this.storage = undefined; // where the browser forbids it, a reload begins anew
    }
  }

  release() {
    Drawer.#inUse.delete(this.name);
  }

  /** @returns {{code: string, token: string} | null} */
  get session() {
    try {
      return JSON.parse(this.storage?.getItem(this.name) ?? "null");
    } catch {
      return null;
    }
  }

  /** @param {any} session */
  open({ code, token }) {
    this.clear();
    this.#put(this.name, JSON.stringify({ code, token }));
  }

  /** @param {string} id @param {string} answer */
  keep(id, answer = "") {
    this.#put(`${this.name}/${id}`, answer);
  }

  /** @param {string} id */
  drop(id) {
    this.storage?.removeItem(`${this.name}/${id}`);
  }

  begun() {
    return new Set(this.#requests().flatMap(([id, answer]) => (answer ? [] : [id])));
  }

  answers() {
    return this.#requests().filter(([, answer]) => answer);
  }

  clear() {
    for (const [id] of this.#requests()) this.drop(id);
    this.storage?.removeItem(this.name);
  }

  #requests() {
    const prefix = `${this.name}/`;
    return Object.keys(this.storage ?? {})
      .filter((key) => key.startsWith(prefix))
      .map((key) => [key.slice(prefix.length), this.storage?.getItem(key) ?? ""]);
  }

  /** @param {string} key @param {string} value */
  #put(key, value) {
    for (const text of [value, ""]) {
      try {
        return this.storage?.setItem(key, text);
      } catch {
        // It is full. That a request was begun takes less room than its answer, and matters more.
      }
    }
  }
}

/** @param {Api} api @param {Drawer} drawer */
async function resumed(api, drawer) {
  const kept = drawer.session;
  if (!kept) return null;
  try {
    const session = await api.call(`/api/sessions/${kept.code}`, { token: kept.token });
    if (session.active) return { ...session, token: kept.token };
  } catch (error) {
    if (!error.refused || error.status >= 500 || error.status === 429) throw error;
  }
  return null;
}

/** @param {Api} api @param {Drawer} drawer */
async function created(api, drawer) {
  const session = await api.call("/api/sessions", { method: "POST" });
  drawer.open(session);
  return session;
}

/**
 * Ask the host, wait for its answer, and return it. Safe to try again, since the id stays the same.
 * @param {Api} api @param {string} path @param {string} body @param {any} options
 */
async function ask(api, path, body, { id, timeout, signal }) {
  const until = Date.now() + timeout;
  const stop = new AbortController();
  const giveUp = () => stop.abort(new RelayError("The host did not answer in time.", { code: "timeout" }));
  const timer = timeout <= LONGEST_TIMER_MS ? setTimeout(giveUp, timeout) : undefined;
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  let accepted = false;
  let failures = 0;
  let failingSince = 0;
  try {
    for (;;) {
      either.throwIfAborted();
      const wait = Math.max(0, Math.min(POLL_SECONDS, Math.ceil((until - Date.now()) / 1000)));
      let response;
      try {
        response = accepted
          ? await api.call(`${responseOf(path, id)}wait=${wait}`, { signal: either, wait })
          : await api.call(`${path}/requests?wait=${wait}`, { method: "POST", body, signal: either, wait });
        if (!["answered", "pending"].includes(response?.status)) throw notTheRelay();
      } catch (error) {
        either.throwIfAborted();
        failingSince ||= Date.now();
        if (isFinal(error) || error.status === 429 || Date.now() - failingSince > GUEST_GIVES_UP_MS) throw error;
        await delay(backOff(++failures, error), either);
        continue;
      }
      if (response.status === "answered") return outcome(response);
      accepted = true;
      failures = failingSince = 0;
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Where a response is read; an id that would mean a folder goes into the query. @param {string} path @param {string} id */
function responseOf(path, id) {
  if (![".", ".."].includes(id)) return `${path}/responses/${encodeURIComponent(id)}?`;
  return `/api/responses?code=${path.split("/").at(-1)}&id=${id}&`;
}

/** @param {any} response */
function outcome(response) {
  if ("result" in response) return response.result;
  const error = response.error;
  const told = typeof error === "string" ? error : error?.message;
  throw new RelayError(typeof told === "string" ? told : "The host answered with an error.", { error });
}

/** @param {Response} answer */
async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const refused = typeof problem?.code === "string";
  const wait = parseInt(answer.headers.get("Retry-After") ?? "", 10);
  const retryAfter = wait > 0 ? { retryAfter: wait } : {};
  if (!refused) return notTheRelay({ status: answer.status, ...retryAfter });
  return new RelayError(problem.detail, { code: problem.code, status: answer.status, refused, ...retryAfter });
}

/** Tell whether trying again is of no use. @param {any} error */
function isFinal(error) {
  return error.refused && error.status < 500 && error.status !== 429;
}

/** @param {any} [cause] */
function unreachable(cause) {
  return new RelayError("The relay cannot be reached.", { code: "unreachable", cause });
}

/** @param {any} about */
function notTheRelay(about = {}) {
  return new RelayError("What answered is not the relay.", { code: "unexpected_answer", ...about });
}

/**
 * The events of a server-sent stream, as the relay writes them: one line of each field.
 * Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 * @param {ReadableStream<Uint8Array> | null} body @param {() => void} heard
 */
async function* events(body, heard) {
  if (!body) return;
  const reader = body.pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  let rest = "";
  let fields = { id: "", event: "message", data: "" };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
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

function refuseInterrupted() {
  throw new RelayError("The host was reloaded while it worked on this request.", { code: "interrupted" });
}

/** @param {unknown} value */
function json(value) {
  return JSON.stringify(value) ?? "null";
}

/** What the guest is told of something thrown: any JSON value as it is, of an Error what it is called and says. */
function errorJson(/** @type {any} */ thrown) {
  try {
    if (!(thrown instanceof Error)) return json(thrown);
    const { name, message } = thrown;
    return json({ name, message, code: /** @type {any} */ (thrown).code });
  } catch {
    return json({ message: "The host failed." });
  }
}

/** How long to wait after so many failures, in milliseconds. @param {number} failures @param {any} error */
function backOff(failures, error) {
  const pause = Math.min(PAUSE_MS.most, PAUSE_MS.first * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
  return Math.max(pause, (error?.retryAfter ?? 0) * 1000);
}

/** @param {number} milliseconds @param {AbortSignal} signal */
function delay(milliseconds, signal) {
  if (signal.aborted) return;
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve(undefined);
    };
    const timer = setTimeout(done, Math.min(milliseconds, LONGEST_TIMER_MS));
    signal.addEventListener("abort", done);
  });
}

function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
