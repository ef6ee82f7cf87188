// The guest's view: a code, a form, and the answers as they come.

import { guest } from "../relay.js";
import { msSince, now } from "../relay/timing.js";
import { hideGuestTools, showGuestTools } from "./guest-tools.js";
import { createCounter, record, restore } from "./history.js";
import { announce, createEntry, find, formatCode, formatTime } from "./view.js";
import { parse, parseInput, prependEntry, reveal, submitByKey } from "./view.js";

/** @import { RelayError } from "../relay.js" */

const HISTORY_KEY = "guest history";
const RETRY_MS = 5_000;
const CHECK_MS = 8_000; // how often to ask whether a host listens, so that a guest hears of it within 20 s

const codeInput = find("#guest-code", HTMLInputElement);
const stateLabel = find("#guest-state", HTMLElement);
const hostLabel = find("#guest-host", HTMLElement);
const form = find("#request-form", HTMLFormElement);
const answers = find("#answers", HTMLElement);
const payloadInput = find("#payload", HTMLTextAreaElement);

const nextRequest = createCounter("guest requests");

/** How many milliseconds the session of the code in the input had when the relay was asked; 0 if it is not active. */
let ttlMs = 0;
let askedAt = now();
let checkedAt = now();
let retryPending = false;
let toolsCode = ""; // the code of the session whose tools are shown
let hostListens = false;

/** @param {string} code */
export function showGuest(code) {
  find("#guest", HTMLElement).hidden = false;
  codeInput.addEventListener("change", checkSession);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sendRequest();
  });
  submitByKey(form);
  restore(HISTORY_KEY, answers);
  updateTitle();
  setInterval(tick, 1000);
  setCode(code);
}

/** @param {string} code */
export function setCode(code) {
  codeInput.value = code;
  if (!code) codeInput.focus();
  checkSession();
}

/** Ask the relay whether the session of the code is active, and for how long. */
async function checkSession() {
  ttlMs = 0;
  askedAt = now();
  retryPending = false;
  const code = codeInput.value.trim();
  if (code !== formatCode(toolsCode)) clearTools();
  if (!code) return showState("", "");
  await lookUp(code);
}

/** @param {string} code */
async function lookUp(code) {
  checkedAt = now();
  try {
    const session = await guest(code).session();
    if (codeInput.value.trim() !== code) return; // another code was typed in the meantime
    ttlMs = 0;
    if (!session.active) {
      clearTools();
      return showState("ended", "The host has ended this session");
    }
    ttlMs = session.ttl * 1000;
    askedAt = now();
    codeInput.value = formatCode(session.code);
    tick();
    showHostLabel(session.listening);
    const mayHaveChanged = toolsCode !== session.code || (session.listening && !hostListens);
    hostListens = session.listening;
    if (mayHaveChanged) await loadTools(session.code);
  } catch (error) {
    const { message, status } = /** @type {RelayError} */ (error);
    ttlMs = 0;
    showState("disconnected", message);
    if (status === undefined || status >= 500 || status === 429) retryPending = true;
  }
}

/** @param {string} code */
async function loadTools(code) {
  const tools = await guest(code, { parse }).tools();
  toolsCode = code;
  showGuestTools(tools, () => guest(code, { parse }), showEntry, (texts) => record(HISTORY_KEY, texts));
}

function clearTools() {
  toolsCode = "";
  hostLabel.textContent = "";
  hideGuestTools();
}

/** @param {HTMLElement} item */
function showEntry(item) {
  prependEntry(answers, item);
  updateTitle();
  item.scrollIntoView({ block: "nearest" }); // on a phone it is below the forms
}

function updateTitle() {
  find("#answers-title", HTMLElement).hidden = !answers.firstChild;
}

function tick() {
  if (retryPending && msSince(askedAt) > RETRY_MS) checkSession();
  if (!ttlMs) return;
  if (msSince(checkedAt) > CHECK_MS && document.visibilityState === "visible") lookUp(codeInput.value.trim());
  const seconds = (ttlMs - msSince(askedAt)) / 1000;
  if (seconds > 0) showState("connected", `Open, ${formatTime(seconds)} left`);
  else checkSession(); // the host may have renewed it
}

/** @param {boolean} isThere */
function showHostLabel(isThere) {
  const label = isThere ? "The host is there." : "No host is there now. What you send waits until one comes back.";
  if (hostLabel.textContent !== label) hostLabel.textContent = label; // a screen reader reads each change out
}

/** @param {string} state @param {string} label */
function showState(state, label) {
  stateLabel.dataset.state = state;
  stateLabel.ariaLive = state === "connected" ? "off" : "polite"; // screen readers must not read a countdown out
  stateLabel.textContent = label;
}

async function sendRequest() {
  const payload = parseInput(payloadInput.value);
  const title = `Request ${nextRequest()}`;
  const entry = createEntry(title, payload);
  entry.form.remove();
  entry.setOutcome("Waiting for the host");
  showEntry(entry.item);
  payloadInput.value = "";
  payloadInput.focus();
  try {
    entry.showAnswer(await guest(codeInput.value.trim(), { parse }).request(payload));
    entry.setOutcome("Answered");
  } catch (thrown) {
    const error = /** @type {RelayError} */ (thrown);
    if ("error" in error) entry.showAnswer(error.error);
    entry.setOutcome("error" in error ? "Answered with an error" : error.message, true);
    if (["session_ended", "session_not_found"].includes(error.code ?? "")) checkSession();
  }
  reveal(entry.item);
  record(HISTORY_KEY, entry.texts());
  announce(`${title}: ${entry.outcome.textContent}`);
}
