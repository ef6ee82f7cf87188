// The host's view: the code, its time, and the requests with a box for each answer.

import { host } from "../relay.js";
import { announce, clock, copies, element, grouped, message, parse, sendByKey, typed } from "./view.js";

const STATES = {
  connecting: "Connecting",
  connected: "Connected",
  polling: "Connected, without a stream",
  disconnected: "Connection lost, trying again",
};
const REASONS = { ended: "Ended", expired: "Expired", replaced: "Open in another tab" };
const SOON_SECONDS = 60;
const KEPT = 100; // answered requests that stay on the page

/** @type {any} */
let session = null;
/** @type {Map<string, any>} The requests that wait for an answer. */
const pending = new Map();

export function showHost() {
  copies(element("copy-code"), () => grouped(session.code));
  copies(element("copy-link"), () => `${location.origin}/?code=${grouped(session.code)}`);
  copies(element("copy-instructions"), () => element("instructions").textContent);
  element("renew").addEventListener("click", () => attempt(() => session.renew()));
  element("end").addEventListener("click", () => attempt(() => session.end()));
  element("keep").addEventListener("change", () => session && (session.autoRenew = element("keep").checked));
  element("echo").addEventListener("change", () => element("echo").checked && pending.forEach((one) => one.echo()));
  for (const button of [element("again"), element("trouble").querySelector("button")]) {
    button.addEventListener("click", async () => {
      await open();
      element(session?.state === "ended" ? "again" : "copy-code").focus();
    });
  }
  setInterval(tick, 500);
  open();
}

let opening = false;

async function open() {
  if (opening) return;
  opening = true;
  trouble(null);
  try {
    session = await host({ onRequest: show, onInterrupted: show, parse });
    session.autoRenew = element("keep").checked;
  } catch (error) {
    state("disconnected", "No session");
    return trouble(error);
  } finally {
    opening = false;
  }
  const code = grouped(session.code);
  element("code").textContent = code;
  element("code-spelled").textContent = [...session.code].join(" ");
  element("instructions").textContent = instructions(session.code);
  element("left").max = session.ttl;
  over(false);
  session.addEventListener("state", showState);
  session.addEventListener("renewed", () => {
    element("left").max = session.ttl;
    announce(`Renewed, ${clock(session.ttl)} left`);
    tick();
  });
  session.addEventListener("answered", (/** @type {any} */ { detail }) => settled(detail));
  session.addEventListener("ended", (/** @type {any} */ { detail }) => ended(detail.reason));
  announce(`Your code is ${[...session.code].join(" ")}`);
  showState();
  count();
  tick();
}

function showState() {
  if (session.state === "connected") trouble(null);
  const label = /** @type {any} */ (STATES)[session.state];
  if (label) state(session.state, label);
}

/** @param {() => Promise<void>} action */
async function attempt(action) {
  trouble(null);
  try {
    await action();
  } catch (error) {
    trouble(error);
  }
}

/** @param {any} error */
function trouble(error) {
  const box = element("trouble");
  box.hidden = !error;
  if (error) box.querySelector("p").textContent = error.message;
  box.querySelector("button").hidden = session !== null && session.state !== "ended";
}

/** @param {string} name @param {string} label */
function state(name, label) {
  element("state").dataset.state = name;
  element("state").textContent = label;
}

/** @param {boolean} isOver */
function over(isOver) {
  element("host").classList.toggle("over", isOver);
  element("running").hidden = isOver;
  element("over").hidden = !isOver;
  for (const id of ["copy-code", "copy-link", "renew", "end", "copy-instructions"]) element(id).disabled = isOver;
}

/** @param {string} reason */
function ended(reason) {
  state("ended", /** @type {any} */ (REASONS)[reason] ?? "Refused by the relay");
  const focused = /** @type {any} */ (document.activeElement);
  over(true);
  pending.forEach((one) => one.drop());
  pending.clear();
  if (!focused.isConnected || focused.disabled || focused.closest("[hidden]")) element("again").focus();
  count();
  tick();
}

let warned = false;

function tick() {
  if (!session) return;
  const left = session.state === "ended" ? 0 : session.ttl;
  element("left").value = left;
  element("clock").textContent = clock(left);
  const soon = left > 0 && left <= SOON_SECONDS;
  element("host").classList.toggle("soon", soon);
  if (soon && !warned) announce("The session ends within a minute");
  warned = soon;
}

function count() {
  element("none").hidden = Boolean(element("requests").firstChild || element("answered").firstChild);
  const waiting = pending.size ? `(${pending.size}) ` : "";
  document.title = session && session.state !== "ended" ? `${waiting}${grouped(session.code)} · Parley` : "Parley";
}

/**
 * Show a request, and resolve to what it is answered with. One that was on the page before a reload is shown again.
 * @param {any} request
 */
function show({ id, payload, createdAt }) {
  return new Promise((resolve, reject) => {
    const entry = message(id, payload);
    const time = new Date(createdAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    /** @param {(value: unknown) => void} settle @param {unknown} answer @param {string} outcome */
    const send = (settle, answer, outcome) => {
      if (waiting.outcome) return;
      const hadFocus = entry.form.contains(document.activeElement);
      entry.form.remove();
      entry.show(answer);
      entry.become("Sending");
      element("answered").prepend(entry.item);
      waiting.outcome = outcome;
      settle(answer);
      if (hadFocus) focusNext(entry.item);
    };
    const waiting = {
      entry,
      outcome: "",
      echo: () => send(resolve, payload, "Echoed"),
      drop: () => {
        if (entry.text.value) entry.show(`Not sent: ${entry.text.value}`);
        entry.form.remove();
        entry.become("Not answered", true);
        element("answered").prepend(entry.item);
      },
    };
    entry.become(`Came at ${time}`);
    entry.form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      send(resolve, typed(entry.text.value), "Answered");
    });
    entry.refuse.addEventListener("click", () => send(reject, typed(entry.text.value), "Answered with an error"));
    sendByKey(entry.form);
    element("requests").append(entry.item);
    pending.set(id, waiting);
    announce(`Request ${id} has come`);
    if (element("echo").checked) waiting.echo();
    count();
  });
}

/** @param {any} detail */
function settled({ id, problem }) {
  const waiting = pending.get(id);
  if (!waiting) return;
  pending.delete(id);
  const outcome = problem ? problem.message : waiting.outcome;
  waiting.entry.become(outcome, Boolean(problem));
  announce(`Request ${id}: ${outcome}`);
  for (const item of [...element("answered").children].slice(KEPT)) item.remove();
  count();
}

/** @param {HTMLElement} answered */
function focusNext(answered) {
  const next = element("requests").querySelector("textarea");
  (next ?? answered).focus();
}

/** @param {string} code */
function instructions(code) {
  const session = `${location.origin}/api/sessions/${code}`;
  return `You can ask the host of Parley session ${grouped(code)}, a person or a program, and get its answers.
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
