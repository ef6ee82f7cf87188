// The result of a tool as what it is: texts, images, tables, other JSON.

import { showValue } from "./view.js";

/** @import { CallToolResult, ContentBlock } from "../relay.js" */

const MAX_TABLE_ROWS = 100;
const MAX_TABLE_COLUMNS = 20;

/** @param {CallToolResult} result @param {string} title */
export function createResult({ content, structuredContent }, title) {
  const shown = document.createElement("div");
  shown.className = "result";
  const table = createTable(structuredContent, title);
  if (table) shown.append(table);
  content.forEach((block, index) => {
    const name = `${title}: part ${index + 1} of the result`;
    const isCopy = structuredContent !== undefined && block.type === "text" && isSame(block.text, structuredContent);
    if (!isCopy) shown.append(createBlock(block, name));
    else if (!table) shown.append(createText(structuredContent, name));
  });
  return shown;
}

/** What is kept of a result for after a reload: its texts, and the kinds of the rest. @param {CallToolResult} result */
export function textOf({ content }) {
  return content.map((block) => (block.type === "text" ? block.text : `(${block.type})`)).join("\n");
}

/** Whether a text is the JSON of a value. @param {string} text @param {unknown} value */
function isSame(text, value) {
  try {
    return JSON.stringify(JSON.parse(text)) === JSON.stringify(value);
  } catch {
    return false;
  }
}

/** @param {ContentBlock} block @param {string} name */
function createBlock(block, name) {
  if (block.type === "text") return createText(block.text, name);
  if (block.type === "image") return createPicture(block, name);
  return createText(block, name);
}

/** @param {unknown} value @param {string} name */
function createText(value, name) {
  const shown = document.createElement("div");
  const text = Object.assign(document.createElement("pre"), { className: "answer", tabIndex: 0, role: "region" });
  text.ariaLabel = name;
  shown.append(text);
  showValue(text, value);
  return shown;
}

/**
 * A picture on a canvas: the page's security policy lets no image in but those of the site.
 * @param {ContentBlock} block @param {string} name
 */
function createPicture({ data, mimeType }, name) {
  const canvas = Object.assign(document.createElement("canvas"), { role: "img", ariaLabel: name });
  drawImage(canvas, data, mimeType).catch(() => {
    canvas.replaceWith(createText(`This image (${mimeType}) cannot be shown.`, name));
  });
  return canvas;
}

/** @param {HTMLCanvasElement} canvas @param {string} data @param {string} mimeType */
async function drawImage(canvas, data, mimeType) {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: mimeType }));
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d")?.drawImage(image, 0, 0);
}

/** A table of a list of objects, or null for anything else. @param {any} value @param {string} title */
function createTable(value, title) {
  const isRow = (/** @type {any} */ row) => row !== null && typeof row === "object" && !Array.isArray(row);
  if (!Array.isArray(value) || !value.length || !value.every(isRow)) return null;
  const columns = [...new Set(value.flatMap(Object.keys))];
  if (value.length > MAX_TABLE_ROWS || columns.length > MAX_TABLE_COLUMNS) return null;
  const table = Object.assign(document.createElement("table"), { className: "data" });
  const head = table.createTHead().insertRow();
  for (const name of columns) {
    head.append(Object.assign(document.createElement("th"), { scope: "col", textContent: name }));
  }
  const body = table.createTBody();
  for (const row of value) {
    const line = body.insertRow();
    for (const name of columns) showValue(line.insertCell(), row[name] ?? "");
  }
  const wide = Object.assign(document.createElement("div"), { className: "wide", tabIndex: 0, role: "region" });
  wide.ariaLabel = `${title}: the result as a table`;
  wide.append(table);
  return wide;
}
