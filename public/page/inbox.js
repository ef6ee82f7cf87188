// The inbox of the host's view: what guests and agents ask, with a form for each answer.

import { notify, showQuestions } from "./attention.js";
import { createCounter, record, restore } from "./history.js";
import { keep, rememberDraft } from "./remember.js";
import { announce, createEntry, find, formatArguments, parseInput, prependEntry, submitByKey } from "./view.js";

/** @import { HostRequest, RelayError, Session, Tool } from "../relay.js" */
/** @import { Entry } from "./view.js" */

const NO_ANSWER = "The person does not answer.";
const HISTORY_KEY = "history";

const requests = find("#requests", HTMLElement);
const answered = find("#answered", HTMLElement);
const echo = find("#echo", HTMLInputElement);

/**
 * A request that has no answer yet, or one (with its outcome) that the relay has not accepted yet.
 * @typedef {{ entry: Entry, outcome: string, echo: () => void, cancel: (outcome: string) => void }} Pending
 */
/** @type {Map<string, Pending>} By the request's id. */
const pending = new Map();
/** @type {Map<string, Promise<unknown>>} What the person answers, by the request's id. */
const answers = new Map();
const nextCall = createCounter("calls");

/** @type {Tool} */
export const askPerson = {
  name: "ask_person",
  title: "Ask the person",
  description: "Asks the person at this page a question, and returns the answer. It may take them a few minutes.",
  inputSchema: {
    properties: { question: { type: "string", description: "What to ask." } },
    required: ["question"],
  },
  annotations: { readOnlyHint: true },
  execute(args, { id }) {
    if (!isQuestion(args)) throw new TypeError("question is missing: the text to ask the person.");
    return answers.get(id);
  },
};

export function showInbox() {
  restore(HISTORY_KEY, answered);
  echo.addEventListener("change", () => echo.checked && pending.forEach((request) => request.echo()));
}

/** @param {Session} session */
export function watchRequests(session) {
  session.addEventListener("request", ({ detail }) => onRequest(detail));
  session.addEventListener("answered", ({ detail }) => onAnswered(detail));
  session.addEventListener("withdrawn", ({ detail }) => onWithdrawn(detail.id));
}

/** Let the requests go without an answer, when their session has ended. */
export function closeInbox() {
  pending.forEach((request) => request.cancel("Not answered"));
  pending.clear();
  answers.clear();
  updateCount();
}

function updateCount() {
  find("#no-requests", HTMLElement).hidden = Boolean(requests.firstChild || answered.firstChild);
  find("#host", HTMLElement).classList.toggle("asked", pending.size > 0);
  showQuestions(pending.size, goToFirst);
}

function goToFirst() {
  const first = find("textarea", HTMLTextAreaElement, requests);
  first.scrollIntoView({ block: "center" });
  first.focus({ preventScroll: true });
}

/** @param {HostRequest} request */
export function answerOf({ id }) {
  return answers.get(id);
}

/** A request without an answer at a reload comes again, and is shown again. @param {HostRequest} request */
function onRequest(request) {
  const { id, payload, call } = request;
  if (!call) return answers.set(id, showRequest(request, id, payload));
  const title = `Call ${nextCall()}: ${call.name}`;
  const isKnown = call.name === askPerson.name;
  if (isKnown && isQuestion(call.arguments)) {
    return answers.set(id, showRequest(request, title, call.arguments.question));
  }
  const entry = createEntry(title, formatArguments(call.arguments));
  entry.close(isKnown ? "Refused: it asks nothing" : "Refused: there is no such tool", true);
  prependEntry(answered, entry.item);
  record(HISTORY_KEY, entry.texts());
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
    /** @param {any} answer */
    const refuse = (answer) => reject(call ? new Error(answer || NO_ANSWER) : answer === "" ? NO_ANSWER : answer);
    /** @param {(value: any) => void} settle @param {unknown} answer @param {string} outcome */
    const send = (settle, answer, outcome) => {
      if (request.outcome) return; // it has its answer already
      const hadFocus = entry.form.contains(document.activeElement);
      entry.showAnswer(answer);
      entry.close("Sending");
      prependEntry(answered, entry.item);
      request.outcome = outcome;
      settle(answer);
      if (!hadFocus) return;
      if (requests.firstChild) goToFirst();
      else entry.item.focus();
    };
    const request = {
      entry,
      outcome: "",
      echo: () => send(resolve, content, "Echoed"),
      /** @param {string} outcome */
      cancel: (outcome) => {
        if (entry.input.value) entry.showAnswer(`Not sent: ${entry.input.value}`);
        entry.close(outcome, true);
        prependEntry(answered, entry.item);
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
    rememberDraft(entry.input, draftKey(id));
    requests.append(entry.item);
    pending.set(id, request);
    announce(call ? `${title}: ${content}` : `Request ${id} has come`);
    notify(call ? `${content}` : `Request ${id}`);
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
  request.entry.fold();
  record(HISTORY_KEY, request.entry.texts());
  announce(`${request.entry.title}: ${outcome}`);
  updateCount();
}

/** @param {string} id */
function onWithdrawn(id) {
  const request = forget(id);
  if (!request) return;
  const hadFocus = request.entry.form.contains(document.activeElement);
  request.cancel("Withdrawn by the guest");
  if (hadFocus) request.entry.item.focus();
  record(HISTORY_KEY, request.entry.texts());
  announce(`${request.entry.title}: withdrawn`);
  updateCount();
}

/** @param {string} id */
function forget(id) {
  const request = pending.get(id);
  pending.delete(id);
  answers.delete(id);
  keep(draftKey(id), null);
  return request;
}

/** @param {string} id */
function draftKey(id) {
  return `draft ${id}`;
}
