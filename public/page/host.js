// The host's view: the code, and its session's time and state. inbox.js has the requests.

import { host } from "../relay.js";
import { setTitle } from "./attention.js";
import { showConnect } from "./connect.js";
import { answerOf, askPerson, closeInbox, showInbox, watchRequests } from "./inbox.js";
import { encode } from "./qr.js";
import { rememberChoice } from "./remember.js";
import { announce, copyOnClick, drawModules, find, formatCode, formatTime, parse } from "./view.js";

/** @import { Approve, EndReason, RelayError, Session, SessionState } from "../relay.js" */

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
const END_LABEL = "End session";
const END_QUESTION = "End it for everybody?";
const END_QUESTION_MS = 10_000; // how long the question stands
const WARNING_SECONDS = 60; // before the session ends

const view = find("#host", HTMLElement);
const stateLabel = find("#state", HTMLElement);
const timeLeft = find("#time-left", HTMLProgressElement);
const autoRenew = find("#auto-renew", HTMLInputElement);
const approval = find("#approve", HTMLSelectElement);
const copyCode = find("#copy-code", HTMLButtonElement);
const copyAgentUrl = find("#copy-agent-url", HTMLButtonElement); // on narrow windows, where the panel is below
const copyLink = find("#copy-link", HTMLButtonElement);
const renew = find("#renew", HTMLButtonElement);
const end = find("#end", HTMLButtonElement);
const newSession = find("#new-session", HTMLButtonElement);
const errorBox = find("#error", HTMLElement);
const tryAgain = find("button", HTMLButtonElement, errorBox);
const qr = find("#qr", HTMLElement);

/** @type {Session | null} */
let session = null;
let opening = false;
/** @type {ReturnType<typeof setTimeout>} */
let endTimer;
let warned = false; // whether the last minute has been announced

export function showHost() {
  view.hidden = false;
  copyOnClick(copyCode, () => formatCode(session?.code ?? ""));
  copyOnClick(copyAgentUrl, () => session?.mcpUrl ?? "");
  copyOnClick(copyLink, guestLink);
  renew.addEventListener("click", () => attempt(() => session?.renew()));
  end.addEventListener("click", endAfterQuestion);
  rememberChoice(autoRenew);
  autoRenew.addEventListener("change", () => session && (session.autoRenew = autoRenew.checked));
  rememberChoice(approval);
  approval.addEventListener("change", () => session && (session.approve = /** @type {Approve} */ (approval.value)));
  showInbox();
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
    const approve = /** @type {Approve} */ (approval.value);
    session = await host({ tools: [askPerson], onRequest: answerOf, onInterrupted: answerOf, approve, parse });
  } catch (error) {
    showState("disconnected", "No session");
    return showError(error);
  } finally {
    opening = false;
  }
  session.autoRenew = autoRenew.checked; // both may have been changed while the session was opened
  session.approve = /** @type {Approve} */ (approval.value);
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
  watchRequests(session);
  session.addEventListener("ended", ({ detail }) => onEnded(detail.reason));
  announce(`Your code is ${spelled}`);
  onState(session);
  showTitle();
  tick();
}

/** @param {Session} session */
function onState({ state, problem }) {
  if (state === "connected") showError(null);
  if (state !== "ended") showState(state, problem?.code === "busy" ? BUSY_LABEL : STATE_LABELS[state]);
}

/** The first click asks, and a second one soon after it ends the session, for everybody and for good. */
function endAfterQuestion() {
  clearTimeout(endTimer);
  if (end.textContent === END_QUESTION) {
    end.textContent = END_LABEL;
    attempt(() => session?.end());
    return;
  }
  end.textContent = END_QUESTION;
  announce(END_QUESTION);
  endTimer = setTimeout(() => (end.textContent = END_LABEL), END_QUESTION_MS);
}

/** @param {() => Promise<void> | undefined} action */
async function attempt(action) {
  showError(null);
  try {
    await action();
  } catch (error) {
    if (session?.state !== "ended") showError(error); // else the page says why it has ended
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
  for (const button of [copyCode, copyAgentUrl, copyLink, renew, end]) button.disabled = ended;
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
  closeInbox();
  if (!focused?.isConnected || focused.matches(":disabled") || focused.closest("[hidden]")) newSession.focus();
  showTitle();
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

function showTitle() {
  setTitle(session && session.state !== "ended" ? `${formatCode(session.code)} · Parley` : "Parley");
}
