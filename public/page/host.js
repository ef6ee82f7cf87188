// The host's view: the code, its time, and the requests with a form for each answer.

import { host } from "../relay.js";
import { announce, copyOnClick, createEntry, find, formatCode, formatTime } from "./view.js";
import { parse, parseInput, submitByKey } from "./view.js";

/** @import { EndReason, HostRequest, RelayError, Session, SessionState } from "../relay.js" */
/** @import { Entry } from "./view.js" */

/** @type {Record<Exclude<SessionState, "ended">, string>} */
const STATE_LABELS = {
  connecting: "Connecting",
  connected: "Connected",
  polling: "Connected, without a stream",
  disconnected: "Connection lost, trying again",
};
/** @type {Partial<Record<EndReason, string>>} */
const END_LABELS = { ended: "Ended", expired: "Expired", replaced: "Taken over by another tab or program" };
const BUSY_LABEL = "The relay is busy, trying again";
const WARNING_SECONDS = 60; // before the session ends
const MAX_ANSWERED = 100; // so that a page that is open for hours does not grow without end

const view = find("#host", HTMLElement);
const stateLabel = find("#state", HTMLElement);
const timeLeft = find("#time-left", HTMLProgressElement);
const autoRenew = find("#auto-renew", HTMLInputElement);
const echo = find("#echo", HTMLInputElement);
const copyCode = find("#copy-code", HTMLButtonElement);
const copyLink = find("#copy-link", HTMLButtonElement);
const copyInstructions = find("#copy-instructions", HTMLButtonElement);
const renew = find("#renew", HTMLButtonElement);
const end = find("#end", HTMLButtonElement);
const newSession = find("#new-session", HTMLButtonElement);
const errorBox = find("#error", HTMLElement);
const tryAgain = find("button", HTMLButtonElement, errorBox);
const instructions = find("#instructions", HTMLElement);
const requests = find("#requests", HTMLElement);
const answered = find("#answered", HTMLElement);

/** @type {Session | null} */
let session = null;
let opening = false;
let warned = false; // whether the last minute has been announced

/**
 * A request that has no answer yet, or one (with its outcome) that the relay has not accepted yet.
 * @typedef {{ entry: Entry, outcome: string, echo: () => void, cancel: () => void }} Pending
 */
/** @type {Map<string, Pending>} By the request's id. */
const pending = new Map();

export function showHost() {
  view.hidden = false;
  copyOnClick(copyCode, () => formatCode(session?.code ?? ""));
  copyOnClick(copyLink, () => `${location.origin}/#${formatCode(session?.code ?? "")}`);
  copyOnClick(copyInstructions, () => instructions.textContent);
  renew.addEventListener("click", () => attempt(() => session?.renew()));
  end.addEventListener("click", () => attempt(() => session?.end()));
  autoRenew.addEventListener("change", () => session && (session.autoRenew = autoRenew.checked));
  echo.addEventListener("change", () => echo.checked && pending.forEach((request) => request.echo()));
  for (const button of [newSession, tryAgain]) {
    button.addEventListener("click", async () => {
      await openSession();
      (session?.state === "ended" ? newSession : copyCode).focus();
    });
  }
  setInterval(tick, 500);
  openSession();
}

async function openSession() {
  if (opening) return; // a double click must not create two sessions
  opening = true;
  showError(null);
  try {
    session = await host({ onRequest: showRequest, onInterrupted: showRequest, parse });
  } catch (error) {
    showState("disconnected", "No session");
    return showError(error);
  } finally {
    opening = false;
  }
  session.autoRenew = autoRenew.checked;
  showSession(session);
}

/** @param {Session} session */
function showSession(session) {
  const spelled = [...session.code].join(" ");
  find("#code", HTMLElement).textContent = formatCode(session.code);
  find("#code-spelled", HTMLElement).textContent = spelled;
  instructions.textContent = instructionsFor(session.code);
  timeLeft.max = session.ttl;
  setEnded(false);
  session.addEventListener("state", () => onState(session));
  session.addEventListener("renewed", () => {
    timeLeft.max = session.ttl;
    announce(`Renewed, ${formatTime(session.ttl)} left`);
    tick();
  });
  session.addEventListener("answered", ({ detail }) => onAnswered(detail));
  session.addEventListener("ended", ({ detail }) => onEnded(detail.reason));
  announce(`Your code is ${spelled}`);
  onState(session);
  updateCount();
  tick();
}

/** @param {Session} session */
function onState({ state, problem }) {
  if (state === "connected") showError(null);
  if (state !== "ended") showState(state, problem?.code === "busy" ? BUSY_LABEL : STATE_LABELS[state]);
}

/** @param {() => Promise<void> | undefined} action */
async function attempt(action) {
  showError(null);
  try {
    await action();
  } catch (error) {
    showError(error);
  }
}

/** Show what went wrong, or nothing for null. @param {unknown} error */
function showError(error) {
  errorBox.hidden = !error;
  if (error) find("p", HTMLElement, errorBox).textContent = /** @type {RelayError} */ (error).message;
  tryAgain.hidden = session !== null && session.state !== "ended";
}

/** @param {string} state @param {string} label */
function showState(state, label) {
  stateLabel.dataset.state = state;
  stateLabel.textContent = label;
}

/** @param {boolean} ended */
function setEnded(ended) {
  view.classList.toggle("over", ended);
  find("#session-actions", HTMLElement).hidden = ended;
  find("#ended-actions", HTMLElement).hidden = !ended;
  for (const button of [copyCode, copyLink, renew, end, copyInstructions]) button.disabled = ended;
}

/** @param {EndReason} reason */
function onEnded(reason) {
  showState("ended", END_LABELS[reason] ?? "Refused by the relay");
  const focused = document.activeElement;
  setEnded(true);
  pending.forEach((request) => request.cancel());
  pending.clear();
  if (!focused?.isConnected || focused.matches(":disabled") || focused.closest("[hidden]")) newSession.focus();
  updateCount();
  tick();
}

function tick() {
  if (!session) return;
  const seconds = session.state === "ended" ? 0 : session.ttl;
  timeLeft.value = seconds;
  find("#clock", HTMLElement).textContent = formatTime(seconds);
  const warning = seconds > 0 && seconds <= WARNING_SECONDS;
  view.classList.toggle("soon", warning);
  if (warning && !warned) announce("The session ends within a minute");
  warned = warning;
}

function updateCount() {
  find("#no-requests", HTMLElement).hidden = Boolean(requests.firstChild || answered.firstChild);
  const count = pending.size ? `(${pending.size}) ` : "";
  document.title = session && session.state !== "ended" ? `${count}${formatCode(session.code)} · Parley` : "Parley";
}

/**
 * Show a request, and resolve to its answer. A request without an answer at a reload comes again, and is shown again.
 * @param {HostRequest} request
 */
function showRequest({ id, payload, createdAt }) {
  return new Promise((resolve, reject) => {
    const entry = createEntry(id, payload);
    const time = new Date(createdAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    /** @param {(value: unknown) => void} settle @param {unknown} answer @param {string} outcome */
    const send = (settle, answer, outcome) => {
      if (request.outcome) return; // it has its answer already
      const hadFocus = entry.form.contains(document.activeElement);
      entry.form.remove();
      entry.showAnswer(answer);
      entry.setOutcome("Sending");
      answered.prepend(entry.item);
      request.outcome = outcome;
      settle(answer);
      if (hadFocus) (requests.querySelector("textarea") ?? entry.item).focus();
    };
    const request = {
      entry,
      outcome: "",
      echo: () => send(resolve, payload, "Echoed"),
      cancel: () => {
        if (entry.input.value) entry.showAnswer(`Not sent: ${entry.input.value}`);
        entry.form.remove();
        entry.setOutcome("Not answered", true);
        answered.prepend(entry.item);
      },
    };
    entry.setOutcome(`Came at ${time}`);
    entry.form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(resolve, parseInput(entry.input.value), "Answered");
    });
    entry.refuse.addEventListener("click", () => send(reject, parseInput(entry.input.value), "Answered with an error"));
    submitByKey(entry.form);
    requests.append(entry.item);
    pending.set(id, request);
    announce(`Request ${id} has come`);
    if (echo.checked) request.echo();
    updateCount();
  });
}

/** @param {{ id: string, problem: RelayError | null }} detail */
function onAnswered({ id, problem }) {
  const request = pending.get(id);
  if (!request) return;
  pending.delete(id);
  const outcome = problem ? problem.message : request.outcome;
  request.entry.setOutcome(outcome, Boolean(problem));
  announce(`Request ${id}: ${outcome}`);
  for (const item of [...answered.children].slice(MAX_ANSWERED)) item.remove();
  updateCount();
}

/** @param {string} code */
function instructionsFor(code) {
  const session = `${location.origin}/api/sessions/${code}`;
  return `You can ask the host of Parley session ${formatCode(code)}, a person or a program, and get its answers.
The session lives for about ten minutes.

Send a request (the payload is any JSON) and wait up to 50 seconds for the answer:

curl -s '${session}/requests' \\
  -H 'Content-Type: application/json' -H 'Prefer: wait=50' \\
  -d '{"payload": "your question"}'

It returns one of these:
- {"id": …, "status": "answered", "result": …}: the answer. With "error" in place of "result", the host could not do it.
- {"id": …, "status": "pending"}: not answered yet. Go on waiting, as often as it takes, with that id:

curl -s '${session}/responses/ID?wait=50'

- {"code": …, "detail": …}: the request was refused, and the detail says what to do.

The whole API: ${location.origin}/openapi.json
`;
}
