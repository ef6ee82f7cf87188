"""A program of relay.py, which a test drives by lines of JSON: python driver.py RELAY host|guest.

driver.mjs is the same with relay.js.
"""

import json
import logging
import sys
import threading
from typing import Any

from relay import RelayError, cancelled, guest, host  # type: ignore[import-not-found]

released = threading.Event()
code_is_told = threading.Event()


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


def run_host(relay: str) -> None:
    """Be a host until the session ends, or the test says so."""
    logging.getLogger("relay").addHandler(Told())
    logging.getLogger("relay").setLevel(logging.INFO)
    with host([run], on_request=answer, relay=relay) as session:
        tell(code=session.code)
        code_is_told.set()

        def listen() -> None:
            for line in sys.stdin:
                if line.strip() == "end":
                    session.end()
                else:
                    released.set()

        threading.Thread(target=listen, daemon=True).start()
        reason = session.wait()
    tell(ended=reason)


def run_guest(relay: str) -> None:
    """Send each request that the test wants."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            one = guest(asked["code"], relay=relay)
            options = {"timeout": asked.get("seconds"), "id": asked.get("id")}
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
    {"host": run_host, "guest": run_guest}[sys.argv[2]](sys.argv[1])
