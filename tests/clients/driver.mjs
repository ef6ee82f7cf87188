// A program of relay.js, which a test drives by lines of JSON: node driver.mjs MODULE RELAY host|asking|guest.
// `host` runs whatever guests call, `asking` asks the test before each call. driver.py is the same with relay.py.

import { createInterface } from "node:readline";

const [module, relay, side] = process.argv.slice(2);
const { guest, host } = await import(module);
const tell = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);
const lines = createInterface({ input: process.stdin });
let release = () => undefined;
let decide = () => undefined;

async function onRequest({ payload, signal, progress }) {
  tell({ ran: payload });
  for (const report of payload?.reports ?? []) progress(...report);
  if (payload?.hold) {
    await new Promise((resolve) => {
      release = resolve;
      signal.addEventListener("abort", resolve);
    });
    if (signal.aborted) tell({ cancelled: payload });
  }
  if (payload?.raise) throw new Error(payload.raise);
  return payload?.large ? "x".repeat(payload.large) : { echo: payload };
}

const scalars = ["string", "number", "boolean", "object", "null"].map((type) => ({ type }));
const anything = { anyOf: [...scalars, { type: "array", items: {} }] };

const run = {
  name: "run",
  description: "Do what a test wants.",
  inputSchema: { type: "object", properties: { payload: anything }, required: ["payload"], additionalProperties: false },
  execute: ({ payload }, { signal, progress }) => onRequest({ payload, signal, progress }),
};
const more = { ...run, name: "more", description: "Do the same, for a while." };

function ask({ name, signal }) {
  tell({ asked: name });
  return new Promise((resolve) => {
    decide = resolve;
    signal.addEventListener("abort", () => {
      tell({ unasked: name });
      resolve("deny");
    });
  });
}

async function runHost(options = {}) {
  const session = await host({ relay, onRequest, tools: [run], ...options });
  session.addEventListener("state", ({ detail: { state } }) => tell({ state }));
  session.addEventListener("ended", ({ detail: { reason } }) => tell({ ended: reason }));
  tell({ code: session.code });
  const removal = new AbortController();
  const commands = {
    end: () => session.end(),
    release: () => release(),
    add: () => session.registerTool(more, { signal: removal.signal }),
    remove: () => removal.abort(),
  };
  lines.on("line", (line) => (commands[line] ? commands[line]() : decide(line)));
  session.addEventListener("ended", () => lines.close());
}

function runGuest() {
  lines.on("line", async (line) => {
    const { code, payload, id, seconds, tool, reports } = JSON.parse(line);
    const onProgress = (report) => tell({ progress: report });
    const options = { ...(id && { id }), ...(seconds && { timeout: seconds * 1000 }), ...(reports && { onProgress }) };
    try {
      const one = guest(code, { relay });
      if (tool === "list") tell({ result: await one.tools() });
      else if (tool) tell({ result: await one.callTool(tool, payload, options) });
      else tell({ result: await one.request(payload, options) });
    } catch ({ code, status, retryAfter, error, message }) {
      tell({ code: code ?? null, status: status ?? null, retryAfter: retryAfter ?? null, error: error ?? null, message });
    }
  });
}

const sides = { host: runHost, asking: () => runHost({ approve: "each", ask }), guest: runGuest };
await sides[side]();
