// "Connect an agent": the URL of the MCP server, how it is added to each client, which agent is there, and the tools
// that an agent finds.

import { CLIENTS, ONE_CLICK } from "./clients.js";
import { announce, copyOnClick, find, formatCode, visible } from "./view.js";

/** @import { AgentClient, Session } from "../relay.js" */
/** @import { Client, Values } from "./clients.js" */

const panel = find("#connect", HTMLFieldSetElement);
const urlShown = find("#mcp-url", HTMLElement);
const oneClick = find("#one-click", HTMLElement);
const clients = find("#clients", HTMLElement);
const tools = find("#tools", HTMLElement);
const agent = find("#agent", HTMLElement);
const fixed = find("[value=fixed]", HTMLInputElement, panel);

/** @type {Session | null} */
let session = null;
let agentName = ""; // of the agent that was there last, empty before one was
let calledAt = 0; // when it last called a tool, by performance.now()

const links = ONE_CLICK.map(({ name, link }) => {
  const shown = Object.assign(document.createElement("a"), { className: "button", textContent: name });
  oneClick.append(shown);
  return { shown, link };
});
const texts = CLIENTS.map(createClient);
copyOnClick(find("#copy-mcp-url", HTMLButtonElement), () => urlShown.textContent);
panel.addEventListener("change", showTexts);
setInterval(showAgent, 1000);

/** @param {Client} client */
function createClient({ name, how, paste }) {
  const details = document.createElement("details");
  details.name = "client";
  const summary = Object.assign(document.createElement("summary"), { textContent: name });
  const hint = Object.assign(document.createElement("p"), { textContent: how });
  const shown = Object.assign(document.createElement("pre"), { tabIndex: 0, role: "region" }); // for the keyboard
  shown.ariaLabel = `${name}: what to paste`;
  const copy = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy" });
  copyOnClick(copy, () => shown.textContent);
  details.append(summary, hint, shown, copy);
  clients.append(details);
  return { shown, paste };
}

/** @param {Session} opened */
export function showConnect(opened) {
  session = opened;
  agentName = "";
  panel.disabled = false;
  for (const shown of [clients, oneClick]) shown.hidden = false;
  opened.addEventListener("ended", () => {
    panel.disabled = true;
    showAgent();
  });
  opened.addEventListener("tools", showTools);
  opened.addEventListener("guest", ({ detail }) => onAgent(detail.client));
  opened.addEventListener("request", ({ detail: { call } }) => {
    if (!call) return;
    calledAt = performance.now();
    onAgent(call.client);
  });
  showTexts();
  showTools();
  showAgent();
}

function showTexts() {
  if (!session) return;
  const { code, mcpUrl } = session;
  const url = fixed.checked ? `${location.origin}/mcp` : mcpUrl;
  const shownCode = formatCode(code);
  /** @type {Values} */
  const values = { url, code, shownCode, origin: location.origin, given: fixed.checked ? "" : shownCode };
  urlShown.textContent = url;
  for (const { shown, paste } of texts) shown.textContent = paste(values);
  for (const { shown, link } of links) shown.href = link(url);
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

/** @param {AgentClient | null} [client] */
function onAgent(client) {
  const name = client ? visible([client.name, client.version].filter(Boolean).join(" ")) : agentName || "An agent";
  if (name !== agentName) announce(`${name} is connected`);
  agentName = name;
  showAgent();
}

/** Say which agent is there, and since when it has been silent. */
function showAgent() {
  agent.hidden = !session || session.state === "ended";
  agent.dataset.state = agentName ? "connected" : "";
  const since = calledAt ? `last call ${formatAge(performance.now() - calledAt)} ago` : "no call yet";
  agent.textContent = agentName ? `${agentName} is connected, ${since}` : "Waiting for an agent";
}

/** @param {number} milliseconds */
function formatAge(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min`;
}
