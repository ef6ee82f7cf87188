// @ts-check
//
// Clocks, pauses, backoff and time-outs, in milliseconds.

import { RelayError } from "./errors.js";

export const BACKOFF_MS = { first: 500, max: 15_000 };
/** The reason for which a call or stream is aborted when nothing comes. */
export const TIMED_OUT = Symbol("timed out");
const JUMP_MS = 2_000; // more than a clock is corrected by while it runs
const MAX_TIMER_MS = 2 ** 31 - 1; // setTimeout fires at once for more

/**
 * A moment by two clocks: performance.now() may stand still while the machine sleeps, and Date may be set.
 * @typedef {{ ticks: number, date: number }} Moment
 */

/** @returns {Moment} */
export function now() {
  return { ticks: performance.now(), date: Date.now() };
}

/**
 * The time since a moment, by the clock that has gone further: too much if Date was set forward, and never too little.
 */
export function msSince(/** @type {Moment} */ { ticks, date }) {
  return Math.max(performance.now() - ticks, Date.now() - date);
}

/** Whether Date has run ahead since a moment: it was set forward, or the machine slept. Nobody here can tell which. */
export function hasJumped(/** @type {Moment} */ { ticks, date }) {
  return Date.now() - date - (performance.now() - ticks) > JUMP_MS;
}

/** Exponential, with jitter. @param {number} failures How many in a row. @param {unknown} error The last one. */
export function backoffMs(failures, error) {
  if (!(error instanceof RelayError)) return MAX_TIMER_MS; // a defect, which stays
  const backoff = Math.min(BACKOFF_MS.max, BACKOFF_MS.first * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
  return Math.max(backoff, (error.retryAfter ?? 0) * 1000);
}

/** Resolves after the time, or when the signal aborts. @param {number} milliseconds @param {AbortSignal} signal */
export function sleep(milliseconds, signal) {
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

/**
 * A signal that aborts with another one, or after the time, which may be restarted, until it is released.
 * AbortSignal.any is still too new.
 * @param {number} milliseconds @param {unknown} reason @param {AbortSignal} [signal]
 */
export function abortAfter(milliseconds, reason, signal) {
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal?.reason);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const restart = (/** @type {number} */ time) => {
    clearTimeout(timer);
    if (time <= MAX_TIMER_MS) timer = setTimeout(() => controller.abort(reason), time);
  };
  const release = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  };
  restart(milliseconds);
  signal?.addEventListener("abort", onAbort);
  if (signal?.aborted) onAbort();
  return { signal: controller.signal, restart, release };
}
