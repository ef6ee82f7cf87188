// What was asked and answered before a reload: the latest entries of a list, kept in the tab.

import { keep, kept } from "./remember.js";
import { createEntry, prependEntry } from "./view.js";

/** @import { Entry } from "./view.js" */

const MAX_HISTORY = 50;

/** @param {string} key Of the list. @param {ReturnType<Entry["texts"]>} texts Of an entry that is done. */
export function record(key, texts) {
  const history = [texts, ...recorded(key)];
  keep(key, JSON.stringify(history.slice(0, MAX_HISTORY)));
}

/** Show what was recorded, each entry folded to a line. @param {string} key @param {HTMLElement} list */
export function restore(key, list) {
  for (const { title, question, answer, outcome, failed } of recorded(key).reverse()) {
    const entry = createEntry(title, question);
    entry.close(outcome, failed);
    if (answer) entry.showAnswer(answer);
    entry.fold();
    prependEntry(list, entry.item);
  }
}

/** The latest comes first. @param {string} key @returns {ReturnType<Entry["texts"]>[]} */
function recorded(key) {
  return JSON.parse(kept(key) ?? "[]");
}

/** A counter that goes on after a reload, so that no two entries have the same title. @param {string} key */
export function createCounter(key) {
  let count = Number(kept(key) ?? 0);
  return () => {
    keep(key, `${++count}`);
    return count;
  };
}
