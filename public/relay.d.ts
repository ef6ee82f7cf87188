/** Parley for pages and scripts: both sides of a session. See https://datatracker.ietf.org/doc/html/rfc9457 for problems. */

/** Any JSON value, as `JSON.parse` returns it. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Where the relay is, and how its answers are read. */
export interface RelayOptions {
  /** The relay's address; by default the one that the module was imported from. */
  relay?: string | URL;
  /** What reads JSON: `JSON.parse`, unless you bring one that keeps big integers, say. Where it throws, `JSON.parse`. */
  parse?: (text: string) => any;
}

/** A guest's request. */
export interface HostRequest<Payload = any> {
  /** The guest's id for it, or one that the relay drew. */
  readonly id: string;
  readonly payload: Payload;
  /** When the relay took it: ISO 8601, UTC. */
  readonly createdAt: string;
  /** True if the page was reloaded after the request had been begun and before it was answered. */
  readonly interrupted: boolean;
  /** Aborted when the session ends. */
  readonly signal: AbortSignal;
}

/** Answers a request: with what it returns, or as an error with what it throws. */
export type Handler<Payload = any> = (request: HostRequest<Payload>) => unknown;

export interface HostOptions<Payload = any> extends RelayOptions {
  /** Called once for each request, in the order in which they came; several may be under way at once. */
  onRequest: Handler<Payload>;
  /**
   * Called in place of `onRequest` for a request that was under way when the page was reloaded, since nobody knows how
   * far it came. Without it the guest gets an error with the code `interrupted`.
   */
  onInterrupted?: Handler<Payload>;
  /** Whether the session is renewed as long as the page is open; by default it is. */
  autoRenew?: boolean;
}

/**
 * `connecting`, `connected` (the stream is open), `polling` (something on the way swallows the stream), `disconnected`
 * (tries again by itself), `ended` (for good).
 */
export type SessionState = "connecting" | "connected" | "polling" | "disconnected" | "ended";

/**
 * Why a session ended: `ended` (by its host), `expired`, `replaced` (another page has its stream), or the code of the
 * relay's refusal to take the host's token.
 */
export type EndReason = "ended" | "expired" | "replaced" | "host_token_required" | "host_token_wrong";

export interface SessionEvents<Payload = any> {
  state: CustomEvent<{ state: SessionState; reason: EndReason | null }>;
  request: CustomEvent<HostRequest<Payload>>;
  /** The relay has taken the answer, or has refused it with this problem (it has another one already, say). */
  answered: CustomEvent<{ id: string; problem: RelayError | null }>;
  renewed: CustomEvent<{ expiresAt: string }>;
  ended: CustomEvent<{ reason: EndReason }>;
}

/** The host's side of a session. */
export interface Session<Payload = any> extends EventTarget {
  /** What guests need: eight characters. */
  readonly code: string;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  /** ISO 8601, UTC. Moves when the session is renewed. */
  readonly expiresAt: string;
  /** The seconds that are left, by the relay's clock. */
  readonly ttl: number;
  readonly state: SessionState;
  /** Why it has ended. */
  readonly reason: EndReason | null;
  /** What keeps it from being connected. */
  readonly problem: RelayError | null;
  /** Whether it is renewed by itself. */
  autoRenew: boolean;
  /** Let it live for another ten minutes. Rejects with a RelayError. */
  renew(): Promise<void>;
  /** End it, for guests too. Rejects with a RelayError if the relay could not be told. */
  end(): Promise<void>;
  addEventListener<Type extends keyof SessionEvents>(
    type: Type,
    listener: (event: SessionEvents<Payload>[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/**
 * Create a session and answer its requests. After a reload of the same page in the same tab it goes on with the session
 * that there was: what is in hand is kept in `sessionStorage`, and no request is begun twice.
 *
 * Rejects with a RelayError if there is no session to be had.
 */
export function host<Payload = any>(options: HostOptions<Payload>): Promise<Session<Payload>>;

export interface RequestOptions {
  /** Milliseconds to wait for the answer; by default as long as the session lives. */
  timeout?: number;
  /** Aborts the waiting; the request stays with the host. */
  signal?: AbortSignal;
  /** The request's id: 1 to 64 letters, digits or `_ . : -`. The same id with the same payload is the same request. */
  id?: string;
}

export interface Guest {
  readonly code: string;
  /** What the relay says of the session. Rejects with a RelayError. */
  session(): Promise<{ code: string; createdAt: string; expiresAt: string; active: boolean; ttl: number }>;
  /**
   * Send a request, and resolve to the host's result.
   *
   * Rejects with a RelayError whose `code` is the relay's (`session_not_found`, `rate_limited`, …), `timeout`,
   * `unreachable` or `unexpected_answer`; with one whose `error` is what the host answered; or with the reason of `signal`.
   */
  request<Result = any>(payload: Json, options?: RequestOptions): Promise<Result>;
}

/** Be a guest of a session. The code may be typed in any way that the relay understands. */
export function guest(code: string, options?: RelayOptions): Guest;

export class RelayError extends Error {
  /** What went wrong: the `code` of the relay's problem document, or `timeout`, `unreachable`, `unexpected_answer`. */
  readonly code?: string;
  /** The HTTP status, where there was an answer. */
  readonly status?: number;
  /** The seconds to wait before another try. */
  readonly retryAfter?: number;
  /** What the host answered, if that was an error. */
  readonly error?: any;
}
