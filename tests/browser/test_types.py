"""public/relay.d.ts and the scripts in public/, as the TypeScript compiler checks them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.tools import PROJECT, need

pytestmark = pytest.mark.long
# A script of a user. The compiler takes relay.d.ts for "./relay.js".
USE = """
import { guest, host, RelayError } from "./relay.js";
import type { CallToolResult, ModelContext, Session, Tool } from "./relay.js";

const session: Session<{ question: string }> = await host<{ question: string }>({
  onRequest: async ({ id, payload, signal }) => [id, payload.question.length, signal.aborted],
});
session.addEventListener("ended", ({ detail }) => console.log(detail.reason === "expired"));
const answer = await guest(session.code, { relay: "https://example.com" }).request<number>({ a: [1] }, { timeout: 1 });
answer.toFixed();
new RelayError("", {}).code?.length;
const add: Tool<{ a: number; b: number }> = {
  name: "add",
  inputSchema: { type: "object", properties: { a: { type: "number" }, b: { type: "number" } } },
  execute({ a, b }, { signal, id, client, progress }) {
    progress(1, 2, client?.name);
    return signal.aborted ? id : a + b;
  },
};
const offering = await host({ tools: [add], onInterrupted: ({ call }) => call?.arguments.a });
await offering.registerTool({ name: "now", execute: () => Date.now() }, { signal: new AbortController().signal });
offering.tools[0]?.inputSchema;
offering.mcpUrl.length;
offering.addEventListener("tools", ({ detail }) => detail.tools.length + (detail.problem?.status ?? 0));
offering.addEventListener("withdrawn", ({ detail }) => detail.id.length);
const result: CallToolResult = await guest("ABC1-2345").callTool("add", { a: 1, b: 2 }, { timeout: 1, id: "x" });
result.content[0]?.type.length;
await guest("ABC1-2345").request(1, { onProgress: ({ progress, total = 1 }) => progress / total });
offering.addEventListener("guest", ({ detail }) => detail.client?.version?.length);
(await guest("ABC1-2345").tools())[0]?.name.length;
(await guest("ABC1-2345").session()).listening.valueOf();
await host({ tools: (document as unknown as { modelContext: ModelContext }).modelContext });
await host({ tools: undefined, onRequest: () => 1 });
// @ts-expect-error a host has to answer
await host({});
// @ts-expect-error a host has to answer
await host({ tools: undefined });
// @ts-expect-error a tool does something
await host({ tools: [{ name: "add" }] });
// @ts-expect-error there is no such event
session.addEventListener("nothing", ({ detail }) => detail);
"""
# Each of the two exports what the other does, with the same types. `implementation.js` is a copy of relay.js: beside a
# .d.ts file of its name the compiler does not read a script.
CONFORMS = """
import * as declared from "./relay.js";
import * as implementation from "./implementation.js";

export const isImplemented: typeof declared = implementation;
export const isDeclared: typeof implementation = declared;
"""
# A file, and a text in it -> what it would be changed to. No such change may go unnoticed.
CHANGES = [
    ("relay.d.ts", "export function guest(", "export function visitor("),
    ("relay.d.ts", "renew(): Promise<void>", "renew(): Promise<string>"),
    ("relay.d.ts", "timeout?: number", "timeoutMs?: number"),
    ("relay.d.ts", "registerTool(tool: Tool, ", "registerTool(tool: Tool, id: string, "),
    ("relay.d.ts", "tools(): Promise<ToolDefinition[]>", "list(): Promise<ToolDefinition[]>"),
    ("relay.d.ts", "withdrawn: CustomEvent", "revoked: CustomEvent"),
    ("relay/session.js", "this.mcpUrl = ", "this.url = "),
    ("relay/guest.js", "    callTool: async (", "    call: async ("),
    ("implementation.js", "export { host }", "export { host as open }"),
    ("relay/session.js", "async renew()", "async extend()"),
    ("relay/session.js", 'state = "connecting"', 'state = "starting"'),
]
STRICT = [
    "--noEmit",
    "--strict",
    "--skipDefaultLibCheck",
    "--target",
    "es2022",
    "--module",
    "es2022",
    "--moduleResolution",
    "bundler",
]
SCRIPTS = ["--allowJs", "--checkJs", "--lib", "es2023,dom,dom.iterable,dom.asynciterable"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a copy of public/, with a script that uses the client and one that compares it with its declarations."""
    shutil.copytree(PROJECT / "public", tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "relay.js", tmp_path / "implementation.js")
    (tmp_path / "use.ts").write_text(USE)
    (tmp_path / "conforms.ts").write_text(CONFORMS)
    return tmp_path


def complaints(folder: Path, *arguments: str) -> list[str]:
    """Return what the compiler finds in some files of the folder, a line each."""
    tsc = need("tsc", "npm install --global typescript")
    done = subprocess.run([tsc, *STRICT, *SCRIPTS, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert bool(done.returncode) == bool(done.stdout), done.stderr
    return done.stdout.splitlines()


def test_use_as_declared(folder: Path) -> None:
    assert complaints(folder, "use.ts") == []


def test_client_conforms_to_its_declarations(folder: Path) -> None:
    assert complaints(folder, "implementation.js", "conforms.ts") == []


def test_change_on_one_side_is_found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each change is made to a copy of its own, and all copies are compiled at once."""
    copies = tmp_path_factory.mktemp("changed")
    for number, (file, old, new) in enumerate(CHANGES):
        copy = shutil.copytree(folder, copies / str(number))
        text = (copy / file).read_text("utf-8")
        assert text.count(old) == 1, old
        (copy / file).write_text(text.replace(old, new), "utf-8")
    scripts = [f"{number}/{name}" for number in range(len(CHANGES)) for name in ("implementation.js", "conforms.ts")]
    found = {line.partition("/")[0] for line in complaints(copies, *scripts)}
    assert found >= {str(number) for number in range(len(CHANGES))}


def test_pages(folder: Path) -> None:
    assert complaints(folder, "page/page.js", "page/reference.js", "demo.js") == []
