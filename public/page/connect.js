// "Connect an agent": the URL of the MCP server, how each client is told of it, and the tools that an agent finds.

import { copyOnClick, find, formatCode } from "./view.js";

/** @import { Session } from "../relay.js" */

const panel = find("#connect", HTMLFieldSetElement);
const urlShown = find("#mcp-url", HTMLElement);
const clients = find("#clients", HTMLElement);
const tools = find("#tools", HTMLElement);
const fixed = find("[value=fixed]", HTMLInputElement, panel);

/** @type {Session | null} */
let session = null;

/** What to paste for each client: where it is shown, and how it is written, with names in braces. */
const texts = Array.from(clients.querySelectorAll("details"), (details) => {
  const shown = find("pre", HTMLPreElement, details);
  shown.tabIndex = 0; // for the keyboard to scroll
  shown.role = "region";
  shown.ariaLabel = `${find("summary", HTMLElement, details).textContent}: what to paste`;
  const copy = document.createElement("button");
  copy.type = "button";
  copy.textContent = "Copy";
  copyOnClick(copy, () => shown.textContent);
  details.append(copy);
  return { shown, template: shown.textContent };
});

copyOnClick(find("#copy-mcp-url", HTMLButtonElement), () => urlShown.textContent);
panel.addEventListener("change", showTexts);

/** @param {Session} opened */
export function showConnect(opened) {
  session = opened;
  panel.disabled = false;
  clients.hidden = false;
  opened.addEventListener("ended", () => (panel.disabled = true));
  opened.addEventListener("tools", showTools);
  showTexts();
  showTools();
}

function showTexts() {
  if (!session) return;
  const { code, mcpUrl } = session;
  const url = fixed.checked ? `${location.origin}/mcp` : mcpUrl;
  /** @type {Record<string, string>} */
  const values = { url, code, shownCode: formatCode(code), origin: location.origin };
  urlShown.textContent = url;
  for (const { shown, template } of texts) {
    shown.textContent = template.replace(/\{(url|code|shownCode|origin)\}/g, (_, name) => values[name]);
  }
}

function showTools() {
  const items = session?.tools.map(({ name, description = "" }) => {
    const item = document.createElement("li");
    item.append(document.createElement("code"), `: ${description}`);
    find("code", HTMLElement, item).textContent = name;
    return item;
  });
  tools.replaceChildren(...(items ?? []));
}
