// The clients of MCP, and how a server is added to each.

/**
 * What there is to fill in: the URL of the server, and of the relay; the session's code, which `given` is empty of if
 * the server is the one for all sessions.
 * @typedef {{ url: string, origin: string, code: string, shownCode: string, given: string }} Values
 * @typedef {{ name: string, how: string, paste: (values: Values) => string }} Client
 */

const START_HOW = "Put relay.py, which the header links to, into a folder, and give the client this command:";

/** @type {Client[]} */
export const CLIENTS = [
  {
    name: "Claude",
    how: "Under Customize, Connectors, add a custom connector, and paste the URL. It asks for no login. Claude calls from the internet, where this address has to be reachable.",
    paste: ({ url }) => url,
  },
  { name: "Claude Code", how: "In a terminal:", paste: ({ url }) => `claude mcp add --transport http parley ${url}` },
  {
    name: "ChatGPT",
    how: "In the settings, turn on developer mode, and create a connector without authentication. ChatGPT takes https only, and calls from the internet.",
    paste: ({ url }) => url,
  },
  {
    name: "Codex",
    how: "In ~/.codex/config.toml, or with the command in its first line:",
    paste: ({ url }) => `# codex mcp add parley --url ${url}
[mcp_servers.parley]
url = "${url}"
tool_timeout_sec = 300`,
  },
  {
    name: "Cursor",
    how: "With the button above, or in ~/.cursor/mcp.json, or .cursor/mcp.json of a project:",
    paste: ({ url }) => toJson({ mcpServers: { parley: { url } } }),
  },
  {
    name: "Gemini CLI",
    how: "In ~/.gemini/settings.json:",
    paste: ({ url }) => toJson({ mcpServers: { parley: { httpUrl: url } } }),
  },
  {
    name: "LM Studio",
    how: "With the button above, or in mcp.json:",
    paste: ({ url }) => toJson({ mcpServers: { parley: { url } } }),
  },
  { name: "n8n", how: "Add an MCP Client node, and paste the URL as its endpoint:", paste: ({ url }) => url },
  {
    name: "VS Code",
    how: "With the button above, or in .vscode/mcp.json:",
    paste: ({ url }) => toJson({ servers: { parley: { type: "http", url } } }),
  },
  {
    name: "Windsurf",
    how: "In ~/.codeium/windsurf/mcp_config.json:",
    paste: ({ url }) => toJson({ mcpServers: { parley: { serverUrl: url } } }),
  },
  {
    name: "Zed",
    how: "In the settings:",
    paste: ({ url }) => toJson({ context_servers: { parley: { url } } }),
  },
  {
    name: "Clients that start a command, such as Claude Desktop",
    how: START_HOW,
    paste: ({ origin, given }) => {
      const args = ["relay.py", "mcp", ...(given ? [given] : []), "--relay", origin];
      return toJson({ mcpServers: { parley: { command: "python3", args } } });
    },
  },
  {
    name: "Without MCP: curl",
    how: "Paste this to any agent that can run a command:",
    paste: ({ origin, code, shownCode }) => `You can ask the host of Parley session ${shownCode}, a person or a program, and get its answers.
The session lives for about ten minutes.

Send a request (the payload is any JSON) and wait up to 50 seconds for the answer:

curl -s '${origin}/api/sessions/${code}/requests' \\
  -H 'Content-Type: application/json' -H 'Prefer: wait=50' \\
  -d '{"payload": "your question"}'

It returns one of these:
- {"id": …, "status": "answered", "result": …}: the answer. With "error" in place of "result", the host could not do it.
- {"id": …, "status": "pending"}: not answered yet. Go on waiting, as often as it takes, with that id:

curl -s '${origin}/api/sessions/${code}/responses/ID?wait=50'

- {"code": …, "detail": …}: the request was refused, and the detail says what to do.

The whole API: ${origin}/openapi.json
`,
  },
];

/** @type {{ name: string, link: (url: string) => string }[]} The clients that a link sets up. */
export const ONE_CLICK = [
  {
    name: "Cursor",
    link: (url) => `cursor://anysphere.cursor-deeplink/mcp/install?name=parley&config=${toBase64({ url })}`,
  },
  {
    name: "VS Code",
    link: (url) => `vscode:mcp/install?${encodeURIComponent(JSON.stringify({ name: "parley", type: "http", url }))}`,
  },
  { name: "LM Studio", link: (url) => `lmstudio://add_mcp?name=parley&config=${toBase64({ url })}` },
];

/** @param {unknown} value */
function toJson(value) {
  return JSON.stringify(value, null, 2);
}

/** @param {unknown} value */
function toBase64(value) {
  return encodeURIComponent(btoa(JSON.stringify(value)));
}
