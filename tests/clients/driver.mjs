// A program of relay.js, which a test drives by lines of JSON: node driver.mjs MODULE RELAY host|guest. driver.py is
// the same with relay.py.

import { createInterface } from "node:readline";

const [module, relay, side] = process.argv.slice(2);
const { guest, host } = await import(module);
const tell = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);
const lines = createInterface({ input: process.stdin });
let release = () => undefined;

async function onRequest({ payload, signal }) {
  tell({ ran: payload });
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
  execute: ({ payload }, { signal }) => onRequest({ payload, signal }),
};

async function runHost() {
  const session = await host({ relay, onRequest, tools: [run] });
  session.addEventListener("state", ({ detail: { state } }) => tell({ state }));
  session.addEventListener("ended", ({ detail: { reason } }) => tell({ ended: reason }));
  tell({ code: session.code });
  lines.on("line", (line) => (line === "end" ? session.end() : release()));
  session.addEventListener("ended", () => lines.close());
}

function runGuest() {
  lines.on("line", async (line) => {
    const { code, payload, id, seconds, tool } = JSON.parse(line);
    const options = { ...(id && { id }), ...(seconds && { timeout: seconds * 1000 }) };
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

await (side === "host" ? runHost() : runGuest());
