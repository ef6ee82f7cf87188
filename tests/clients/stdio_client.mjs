// An agent with the official client for TypeScript: node stdio_client.mjs MODE COMMAND… starts an MCP server, which has
// the tools `wait` and `echo`, uses it, and prints what it has seen as JSON.

import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const [mode, command, ...args] = process.argv.slice(2);
const client = new Client({ name: "stdio_client", version: "1" }, { versionNegotiation: { mode } });
const transport = new StdioClientTransport({ command, args, env: { ...process.env }, stderr: "inherit" });
await client.connect(transport);
const { tools } = await client.listTools();
const calls = Array.from({ length: 20 }, (_, n) => client.callTool({ name: "echo", arguments: { n } }));
const results = await Promise.all(calls);
const giveUp = new AbortController();
const waiting = client.callTool({ name: "wait", arguments: {} }, { signal: giveUp.signal });
setTimeout(() => giveUp.abort("enough"), 1000);
const given = await waiting.then(() => "answered", () => "given up");
const again = await client.callTool({ name: "echo", arguments: { n: 20 } });
const seen = {
  version: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? "",
  server: client.getServerVersion()?.name,
  names: tools.map((tool) => tool.name),
  echoes: [...results, again].map((result) => result.structuredContent.n),
  given,
};
await client.close();
console.log(JSON.stringify(seen));
