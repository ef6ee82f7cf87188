// Questions that cannot be missed: a line that stays in view, the title's count, and, once the person has allowed it, a
// notification and a sound.

import { visible } from "../relay/dialog.js";

const bar = document.createElement("div");
const goThere = Object.assign(document.createElement("button"), { type: "button", className: "main" });
const allow = Object.assign(document.createElement("button"), { type: "button", textContent: "Notify me" });

let title = document.title;
let count = 0;
let goToFirst = () => {};

bar.className = "attention";
bar.hidden = true;
bar.append(goThere, allow);
document.body.prepend(bar);
goThere.addEventListener("click", () => goToFirst());
allow.addEventListener("click", async () => {
  await Notification.requestPermission();
  show();
});

/** Show how many questions wait. @param {number} waiting @param {() => void} onGo Called to go to the first. */
export function showQuestions(waiting, onGo) {
  count = waiting;
  goToFirst = onGo;
  show();
}

/** The page's title, before which the count of questions is shown. @param {string} text */
export function setTitle(text) {
  title = text;
  show();
}

/** Tell a person who is not at the page of a new question. @param {string} text */
export function notify(text) {
  if (document.visibilityState === "visible" || !canNotify()) return;
  const notification = new Notification(title, { body: visible(text).slice(0, 200), tag: "question" });
  notification.addEventListener("click", () => {
    focus();
    goToFirst();
  });
  beep();
}

function show() {
  bar.hidden = !count;
  goThere.textContent = count === 1 ? "1 question is waiting" : `${count} questions are waiting`;
  allow.hidden = !globalThis.Notification || Notification.permission !== "default";
  document.title = count ? `(${count}) ${title}` : title;
}

function canNotify() {
  return globalThis.Notification?.permission === "granted";
}

function beep() {
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  tone.connect(audio.destination);
  tone.addEventListener("ended", () => audio.close());
  tone.start();
  tone.stop(audio.currentTime + 0.15);
}
