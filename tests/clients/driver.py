"""A program of relay.py, which a test drives by lines of JSON: python driver.py RELAY host|asking|guest.

`host` runs whatever guests call, `asking` asks the test before each call. driver.mjs is the same with relay.js.
"""

import json
import logging
import queue
import sys
import threading
from contextlib import suppress
from typing import Any

from relay import RelayError, cancelled, guest, host, progress  # type: ignore[import-not-found]

released = threading.Event()
code_is_told = threading.Event()
decisions: queue.SimpleQueue[str] = queue.SimpleQueue()


def tell(**told: Any) -> None:
    """Print a line of JSON, in one piece."""
    print(f"{json.dumps(told)}\n", end="", flush=True)


class Told(logging.Handler):
    """Tells in which state the session is, which the client logs, after its code."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of the log."""
        state = record.getMessage().partition(" ")[0]
        if state in ("connected", "polling", "disconnected"):
            code_is_told.wait()
            tell(state=state)


def answer(payload: Any) -> Any:
    """Answer a request as its payload says."""
    tell(ran=payload)
    asked = payload if isinstance(payload, dict) else {}
    for report in asked.get("reports", []):
        progress(*report)
    if "hold" in asked:
        while not cancelled().wait(0.02) and not released.is_set():
            pass
        if cancelled().is_set():
            tell(cancelled=payload)
    if "raise" in asked:
        raise ValueError(asked["raise"])
    return "x" * asked["large"] if "large" in asked else {"echo": payload}


def run(payload: Any) -> Any:
    """Do what a test wants."""
    return answer(payload)


def more(payload: Any) -> Any:
    """Do the same, for a while."""
    return answer(payload)


def ask(call: Any) -> str:
    """Let the test decide about a call."""
    tell(asked=call.name)
    while not cancelled().is_set():
        with suppress(queue.Empty):
            return decisions.get(timeout=0.02)
    tell(unasked=call.name)
    return "deny"


def run_host(relay: str, **options: Any) -> None:
    """Be a host until the session ends, or the test says so."""
    logging.getLogger("relay").addHandler(Told())
    logging.getLogger("relay").setLevel(logging.INFO)
    with host([run], on_request=answer, relay=relay, **options) as session:
        tell(code=session.code)
        code_is_told.set()
        commands = {
            "end": session.end,
            "release": released.set,
            "add": lambda: session.add_tool(more),
            "remove": lambda: session.remove_tool("more"),
        }

        def listen() -> None:
            for line in map(str.strip, sys.stdin):
                if line in commands:
                    commands[line]()
                else:
                    decisions.put(line)

        threading.Thread(target=listen, daemon=True).start()
        reason = session.wait()
    tell(ended=reason)


def run_asking_host(relay: str) -> None:
    """Be a host that asks before each call."""
    run_host(relay, approve="each", ask=ask)


def tell_progress(done: float, total: float | None, message: str) -> None:
    """Tell what a host reports, without what it left out."""
    report = {"progress": done, "total": total, "message": message or None}
    tell(progress={name: value for name, value in report.items() if value is not None})


def run_guest(relay: str) -> None:
    """Send each request that the test wants."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            one = guest(asked["code"], relay=relay)
            options = {"timeout": asked.get("seconds"), "id": asked.get("id")}
            if "reports" in asked:
                options["on_progress"] = tell_progress
            if asked.get("tool") == "list":
                tell(result=one.tools())
            elif "tool" in asked:
                tell(result=one.call_tool(asked["tool"], asked["payload"], **options))
            else:
                tell(result=one.request(asked["payload"], **options))
        except RelayError as error:
            known = {"code": error.code, "status": error.status, "retryAfter": error.retry_after, "error": error.error}
            tell(**known, message=str(error))


if __name__ == "__main__":
    {"host": run_host, "asking": run_asking_host, "guest": run_guest}[sys.argv[2]](sys.argv[1])
