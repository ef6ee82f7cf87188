"""An MCP server over standard input and output, as good or as bad as a test wants it: python program.py WISH…

Wishes: `modern` or `legacy` (the only era that it follows, else both), `strict` (it ends at a first message that is not
`initialize`), `silent` (it never answers), `deaf` (it reads nothing after the list), `short` (it dies at once), `brief`
(it dies after the list of tools), `pages` (a tool a page), `child` (it starts a program that does not heed SIGTERM).
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

wishes = sys.argv[1:]
lock = threading.Lock()
cancelled: dict[Any, threading.Event] = {}
answers: dict[str, Any] = {}
answered = threading.Event()
is_modern = False
subscription: Any = None
META = "io.modelcontextprotocol/"

ANY = {"type": "object", "properties": {}}
TOOLS: list[dict[str, Any]] = [
    {
        "name": "echo",
        "title": "Echo",
        "description": "Say the same.",
        "inputSchema": {"type": "object", "properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}},
        "outputSchema": {"type": "object", "properties": {"a": {}}},
        "annotations": {"readOnlyHint": True, "title": "Echo", "someHint": 1},
        "_meta": {"test/key": ["any"]},
        "icons": [],
    },
    *(
        {"name": name, "inputSchema": ANY}
        for name in ("image", "fail", "odd", "steps", "wait", "die", "change", "ask", "stray", "long", "where", "want")
    ),
    {"name": "echo", "inputSchema": ANY},
    {"name": "no/name", "inputSchema": ANY},
    {"name": "needs-tasks", "inputSchema": ANY, "execution": {"taskSupport": "required"}},
]


def send(message: dict[str, Any]) -> None:
    with lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def text(value: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}]}


def ask(method: str) -> Any:
    """Ask the client, and return its answer."""
    send({"id": method, "method": method, "params": {}})
    while method not in answers:
        answered.wait()
        answered.clear()
    answer = answers[method]
    return answer.get("result", answer.get("error", {}).get("code"))


def run(name: str, arguments: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    params = request["params"]
    over = cancelled[request["id"]]
    if name == "echo":
        return text(json.dumps(arguments)) | {"structuredContent": arguments}
    if name == "image":
        block = {"type": "image", "data": "AAAA", "mimeType": "image/png", "annotations": {"audience": ["user"]}}
        return {"content": [block], "_meta": {"test/key": [1]}}
    if name == "fail":
        return text("it failed") | {"isError": True}
    if name == "steps":
        for step in range(1, 4):
            told = {"progressToken": params["_meta"]["progressToken"], "progress": step, "total": 3}
            send({"method": "notifications/progress", "params": told | {"message": f"step {step}"}})
            over.wait(1)
        return text("done")
    if name == "wait":
        say("waiting")
        over.wait()
        say("was cancelled")
    if name == "die":
        say("my last words")
        os._exit(1)
    if name == "change":
        TOOLS.append({"name": "new", "inputSchema": ANY})
        meta = {"_meta": {f"{META}subscriptionId": subscription}} if is_modern else {}
        send({"method": "notifications/tools/list_changed", "params": meta})
    if name == "ask":
        methods = ("ping", "roots/list", "sampling/createMessage", "elicitation/create")
        return text(json.dumps([ask(method) for method in methods]))
    if name == "stray":
        for line in (b"stray\n", b"{}\n", b"[1]\n", b"\xff\n", b'{"jsonrpc":"2.0","id":[1],"result":{}}\n', b"\n"):
            os.write(1, line)
    if name == "long":
        with lock:
            sys.stdout.write("x" * 100_000_000 + "\n")
            sys.stdout.flush()
        over.wait()
    if name == "where":
        return text(f"{Path.cwd()} {os.environ.get('WISH')}")
    if name == "want":
        return {"resultType": "input_required", "inputRequests": {}, "content": []}
    return text("fine")


def call(request: dict[str, Any]) -> None:
    params = request["params"]
    if params["name"] == "odd":
        send({"id": request["id"], "error": {"code": -32000, "message": "very odd"}})
        return
    result = run(params["name"], params["arguments"], request)
    extra = {"resultType": "complete"} if is_modern else {}
    send({"id": request["id"], "result": {**extra, **result}})


def list_tools(params: dict[str, Any]) -> dict[str, Any]:
    extra = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"} if is_modern else {}
    if "pages" not in wishes:
        return {"tools": TOOLS, **extra}
    at = int(params.get("cursor", "0"))
    following = {"nextCursor": str(at + 1)} if at + 1 < len(TOOLS) else {}
    return {"tools": TOOLS[at : at + 1], **following, **extra}


def take(message: dict[str, Any]) -> None:
    global is_modern, subscription
    method, params = message.get("method"), message.get("params", {})
    version = params.get("_meta", {}).get(f"{META}protocolVersion")
    if method is None:
        answers[message["id"]] = message
        answered.set()
    elif method == "notifications/cancelled":
        cancelled[params["requestId"]].set()
    elif method == "server/discover" and "legacy" not in wishes:
        is_modern = True
        assert version == "2026-07-28"
        assert params["_meta"][f"{META}clientCapabilities"] == {}
        tools = {"tools": {"listChanged": True}}
        result = {"resultType": "complete", "supportedVersions": [version], "capabilities": tools}
        send({"id": message["id"], "result": result})
    elif method == "initialize" and "modern" not in wishes:
        is_modern = False
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {}}
        send({"id": message["id"], "result": result})
    elif method == "subscriptions/listen":
        subscription = message["id"]
    elif method == "tools/list":
        send({"id": message["id"], "result": list_tools(params)})
        if "deaf" in wishes:
            time.sleep(1000)
        if "brief" in wishes:
            say("too brief a life")
            os._exit(1)
    elif method == "tools/call":
        cancelled[message["id"]] = threading.Event()
        threading.Thread(target=call, args=[message], daemon=True).start()
    elif "id" in message:
        send({"id": message["id"], "error": {"code": -32601, "message": f"no {method}"}})


def main() -> None:
    say("begins")
    if "short" in wishes:
        sys.exit("I cannot")
    if "child" in wishes:
        heedless = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"]
        with Path(os.environ["PIDS"]).open("a") as pids:
            print(os.getpid(), subprocess.Popen(heedless).pid, file=pids)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin:
        message = json.loads(line)
        if "strict" in wishes and message.get("method") == "server/discover":
            sys.exit("I expected initialize")
        if "silent" not in wishes:
            take(message)
    if "child" in wishes:
        time.sleep(1000)


main()
