// The guest's view: a code, a form, and the answers as they come.

import { guest } from "../relay.js";
import { announce, clock, element, grouped, message, parse, sendByKey, typed } from "./view.js";

/** @type {{code: string, until: number} | null} What is known of the session whose code stands in the field. */
let known = null;
let looksAgainAt = Infinity;
const PAUSE_MS = 5_000;

/** @param {string} code */
export function showGuest(code) {
  const field = element("guest-code");
  field.value = code;
  field.addEventListener("change", look);
  element("ask").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    ask();
  });
  sendByKey(element("ask"));
  element(code ? "payload" : "guest-code").focus();
  setInterval(tick, 1000);
  look();
}

/** Look whether there is such a session, and for how long. */
async function look() {
  known = null;
  looksAgainAt = Infinity;
  const code = element("guest-code").value.trim();
  if (!code) return state("", "");
  try {
    const session = await guest(code).session();
    if (element("guest-code").value.trim() !== code) return; // another one was typed in the meantime
    if (!session.active) return state("ended", "The host has ended this session");
    known = { code: session.code, until: Date.now() + session.ttl * 1000 };
    element("guest-code").value = grouped(session.code);
    tick();
  } catch (error) {
    state("disconnected", error.message);
    if (!(error.status < 500) || error.status === 429) looksAgainAt = Date.now() + PAUSE_MS;
  }
}

function tick() {
  if (Date.now() > looksAgainAt) look();
  if (!known) return;
  const left = (known.until - Date.now()) / 1000;
  if (left > 0) state("connected", `Open, ${clock(left)} left`);
  else look(); // It may have been renewed.
}

/** @param {string} name @param {string} label */
function state(name, label) {
  const shown = element("guest-state");
  shown.dataset.state = name;
  // A countdown that is read out each second helps nobody.
  shown.ariaLive = name === "connected" ? "off" : "polite";
  shown.textContent = label;
}

let asked = 0;

async function ask() {
  const payload = typed(element("payload").value);
  const title = `Request ${++asked}`;
  const entry = message(title, payload);
  entry.form.remove();
  entry.become("Waiting for the host");
  element("answers-title").hidden = false;
  element("answers").prepend(entry.item);
  element("payload").value = "";
  element("payload").focus();
  try {
    entry.show(await guest(element("guest-code").value.trim(), { parse }).request(payload));
    entry.become("Answered");
  } catch (error) {
    if ("error" in error) entry.show(error.error);
    entry.become("error" in error ? "Answered with an error" : error.message, true);
    if (["session_ended", "session_not_found"].includes(error.code)) look();
  }
  announce(`${title}: ${entry.item.querySelector(".outcome").textContent}`);
}
