// The host's view: the code, its time, and the requests with a form for each answer.

import { host } from "../relay.js";
import { showConnect } from "./connect.js";
import { encode } from "./qr.js";
import { announce, copyOnClick, createEntry, drawModules, find, formatArguments, formatCode } from "./view.js";
import { formatTime, parse, parseInput, submitByKey } from "./view.js";

/** @import { EndReason, HostRequest, RelayError, Session, SessionState, Tool } from "../relay.js" */
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
const renew = find("#renew", HTMLButtonElement);
const end = find("#end", HTMLButtonElement);
const newSession = find("#new-session", HTMLButtonElement);
const errorBox = find("#error", HTMLElement);
const tryAgain = find("button", HTMLButtonElement, errorBox);
const qr = find("#qr", HTMLElement);
const requests = find("#requests", HTMLElement);
const answered = find("#answered", HTMLElement);

/** @type {Session | null} */
let session = null;
let opening = false;
let warned = false; // whether the last minute has been announced

/**
 * A request that has no answer yet, or one (with its outcome) that the relay has not accepted yet.
 * @typedef {{ entry: Entry, outcome: string, echo: () => void, cancel: (outcome: string) => void }} Pending
 */
/** @type {Map<string, Pending>} By the request's id. */
const pending = new Map();
/** @type {Map<string, Promise<unknown>>} What the person answers, by the request's id. */
const answers = new Map();
let callCount = 0;

/** @type {Tool} */
const askPerson = {
  name: "ask_person",
  title: "Ask the person",
  description: "Asks the person at this page a question, and returns the answer. It may take them a few minutes.",
  inputSchema: {
    properties: { question: { type: "string", description: "What to ask." } },
    required: ["question"],
  },
  execute(args, { id }) {
    if (!isQuestion(args)) throw new TypeError("question is missing: the text to ask the person.");
    return answers.get(id);
  },
};

export function showHost() {
  view.hidden = false;
  copyOnClick(copyCode, () => formatCode(session?.code ?? ""));
  copyOnClick(copyLink, guestLink);
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
    session = await host({ tools: [askPerson], onRequest: answerOf, onInterrupted: answerOf, parse });
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
  timeLeft.max = session.ttl;
  setEnded(false);
  showConnect(session);
  session.addEventListener("state", () => onState(session));
  session.addEventListener("renewed", () => {
    timeLeft.max = session.ttl;
    announce(`Renewed, ${formatTime(session.ttl)} left`);
    tick();
  });
  session.addEventListener("request", ({ detail }) => onRequest(detail));
  session.addEventListener("answered", ({ detail }) => onAnswered(detail));
  session.addEventListener("withdrawn", ({ detail }) => onWithdrawn(detail.id));
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
  for (const button of [copyCode, copyLink, renew, end]) button.disabled = ended;
  const modules = ended ? null : encode(guestLink());
  qr.replaceChildren(...(modules ? [drawModules(modules, "QR code of the link for a guest")] : []));
}

function guestLink() {
  return `${location.origin}/#${formatCode(session?.code ?? "")}`;
}

/** @param {EndReason} reason */
function onEnded(reason) {
  showState("ended", END_LABELS[reason] ?? "Refused by the relay");
  const focused = document.activeElement;
  setEnded(true);
  pending.forEach((request) => request.cancel("Not answered"));
  pending.clear();
  answers.clear();
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

/** @param {HostRequest} request */
function answerOf({ id }) {
  return answers.get(id);
}

/** A request without an answer at a reload comes again, and is shown again. @param {HostRequest} request */
function onRequest(request) {
  const { id, payload, call } = request;
  if (!call) return answers.set(id, showRequest(request, id, payload));
  const title = `Call ${++callCount}: ${call.name}`;
  const isKnown = call.name === askPerson.name;
  if (isKnown && isQuestion(call.arguments)) {
    return answers.set(id, showRequest(request, title, call.arguments.question));
  }
  const entry = createEntry(title, formatArguments(call.arguments));
  entry.close(isKnown ? "Refused: it asks nothing" : "Refused: there is no such tool", true);
  answered.prepend(entry.item);
  announce(`${title}: ${entry.outcome.textContent}`);
  updateCount();
}

/** @param {any} args */
function isQuestion(args) {
  return typeof args?.question === "string";
}

/**
 * Show a request, and resolve to its answer.
 * @param {HostRequest} request @param {string} title @param {unknown} content
 */
function showRequest({ id, call, createdAt }, title, content) {
  return new Promise((resolve, reject) => {
    const entry = createEntry(title, content);
    const time = new Date(createdAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const read = () => (call ? entry.input.value : parseInput(entry.input.value));
    const refuse = call ? (/** @type {string} */ text) => reject(new Error(text || "The person does not answer.")) : reject;
    /** @param {(value: any) => void} settle @param {unknown} answer @param {string} outcome */
    const send = (settle, answer, outcome) => {
      if (request.outcome) return; // it has its answer already
      const hadFocus = entry.form.contains(document.activeElement);
      entry.showAnswer(answer);
      entry.close("Sending");
      answered.prepend(entry.item);
      request.outcome = outcome;
      settle(answer);
      if (hadFocus) (requests.querySelector("textarea") ?? entry.item).focus();
    };
    const request = {
      entry,
      outcome: "",
      echo: () => send(resolve, content, "Echoed"),
      /** @param {string} outcome */
      cancel: (outcome) => {
        if (entry.input.value) entry.showAnswer(`Not sent: ${entry.input.value}`);
        entry.close(outcome, true);
        answered.prepend(entry.item);
      },
    };
    entry.setOutcome(`Came at ${time}`);
    find(".as-json", HTMLElement, entry.form).hidden = Boolean(call);
    entry.form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(resolve, read(), "Answered");
    });
    entry.refuse.addEventListener("click", () => send(refuse, read(), "Answered with an error"));
    submitByKey(entry.form);
    requests.append(entry.item);
    pending.set(id, request);
    announce(call ? `${title}: ${content}` : `Request ${id} has come`);
    if (echo.checked) request.echo();
    updateCount();
  });
}

/** @param {{ id: string, problem: RelayError | null }} detail */
function onAnswered({ id, problem }) {
  const request = forget(id);
  if (!request) return;
  const outcome = problem ? problem.message : request.outcome;
  request.entry.setOutcome(outcome, Boolean(problem));
  announce(`${request.entry.title}: ${outcome}`);
  for (const item of [...answered.children].slice(MAX_ANSWERED)) item.remove();
  updateCount();
}

/** @param {string} id */
function onWithdrawn(id) {
  const request = forget(id);
  if (!request) return;
  const hadFocus = request.entry.form.contains(document.activeElement);
  request.cancel("Withdrawn by the guest");
  if (hadFocus) request.entry.item.focus();
  announce(`${request.entry.title}: withdrawn`);
  updateCount();
}

/** @param {string} id */
function forget(id) {
  const request = pending.get(id);
  pending.delete(id);
  answers.delete(id);
  return request;
}
