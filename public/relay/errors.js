// @ts-check
//
// The client's error, what it is made from, and which errors are final.

/** @import * as Declared from "../relay.d.ts" */
/** @typedef {Declared.RelayError & { refused?: boolean }} ErrorMembers It is `refused` if the relay sent a problem. */
/** @typedef {Omit<ErrorMembers, keyof Error> & { cause?: unknown }} ErrorDetails */

/** @type {new (message?: string, options?: ErrorOptions) => ErrorMembers} Error, with the members of RelayError. */
const TypedError = Error;

const MAX_RETRY_AFTER_SECONDS = 60; // a proxy that asks for more would silence the client for hours

/** @type {Map<unknown, Declared.EndReason>} The codes of problems that end the host's session, with its `reason`. */
const END_REASONS = new Map([
  ["session_not_found", "expired"],
  ["session_ended", "ended"],
  ["host_token_required", "host_token_required"],
  ["host_token_wrong", "host_token_wrong"],
  ["replaced", "replaced"],
]);

export class RelayError extends TypedError {
  name = "RelayError";

  /** @param {string} [message] @param {ErrorDetails} details */
  constructor(message, { cause, ...details } = {}) {
    super(message, { cause });
    Object.assign(this, details);
  }
}

/** The error that an HTTP response stands for. @param {Response} response */
export async function errorOf(response) {
  const problem = await response.json().catch(() => ({}));
  const retryAfter = secondsOf(response.headers.get("Retry-After") ?? "");
  const details = { status: response.status, ...(retryAfter > 0 && { retryAfter }) };
  if (typeof problem?.code !== "string") return response.status === 413 ? tooLarge(details) : unexpectedAnswer(details);
  return toProblem(problem, details);
}

/** The error that a problem document stands for. @param {any} problem @param {ErrorDetails} details */
export function toProblem({ detail, code }, details) {
  return new RelayError(detail, { ...details, code, refused: true });
}

/**
 * The seconds that a Retry-After header asks for, as a number or a date. NaN if it is neither.
 * @param {string} value
 */
function secondsOf(value) {
  const seconds = /^\d+$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - Date.now()) / 1000);
  return Math.min(seconds, MAX_RETRY_AFTER_SECONDS);
}

/** An error as a RelayError. One that is not yet a RelayError is a defect, here or in what the page passed in. */
export function toRelayError(/** @type {unknown} */ error) {
  return error instanceof RelayError ? error : new RelayError(String(error), { code: "client_error", cause: error });
}

/** Whether the same call would fail again. */
export function isPermanent(/** @type {unknown} */ error) {
  return !(error instanceof RelayError) || (!!error.refused && (error.status ?? 500) < 500 && error.status !== 429);
}

/** Why the session has ended, if the error says that it has. */
export function endReason(/** @type {unknown} */ error) {
  return error instanceof RelayError ? END_REASONS.get(error.code) : undefined;
}

/** @param {unknown} [cause] The reason, if the call was aborted. @returns {never} */
export function throwUnreachable(cause) {
  if (cause instanceof RelayError) throw cause;
  throw new RelayError("The relay cannot be reached.", { code: "unreachable", cause });
}

/** @param {ErrorDetails} details */
export function tooLarge(details) {
  return new RelayError("The message is too large.", { code: "payload_too_large", refused: true, ...details });
}

/** Something else has answered, such as a proxy or a login page. @param {ErrorDetails} details */
export function unexpectedAnswer(details = {}) {
  return new RelayError("What answered is not the relay.", { code: "unexpected_answer", ...details });
}

export function sessionEnded() {
  return new RelayError("The session has ended.", { code: "session_ended" });
}
