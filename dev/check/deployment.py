"""The checks that need no session: the functions, their store, and the static files."""

import re
from dataclasses import dataclass

import requests

from dev.check import diagnosis, reading
from dev.check.caller import Caller, Failed, expect, parsed, require

_ORIGIN = "https://elsewhere.example"
_LATENCY_CALLS = 4


@dataclass
class DeploymentChecks:
    """Checks of the deployment that `caller` calls. Each check returns a note for the report, or raises Failed.

    `latency_limit` is in milliseconds; `patience` is how many seconds an event may take. `environment`, `commit` and
    `region` are what the deployment reports of itself.
    """

    caller: Caller
    latency_limit: float
    patience: float
    environment: str | None = None
    commit: str | None = None
    region: str | None = None

    def check_reachable(self) -> str:
        """Check that Parley answers at the address, even if it reports a problem."""
        answer = self.caller.send("GET", "/api/health")
        if answer.status_code == 200:
            _latency(answer)
        elif not reading.problem(answer):
            raise Failed(reading.of_answer(answer))
        found = re.fullmatch(r"(?:.*::)?([\w-]{1,16})::[^:]*", answer.headers.get("x-vercel-id", ""))
        self.region = found[1] if found else None
        return f"Parley, region: {self.region or 'unknown'}"

    def check_health(self) -> str:
        """Check that the functions reach their store, and note their environment and commit."""
        health = parsed(self.caller.call("GET", "/api/health", 200))
        self.environment = reading.printable(health.get("environment") or "") or None
        self.commit = reading.printable(health.get("commit") or "") or None
        return f"{self.environment}, {f'commit {self.commit[:7]}' if self.commit else 'no commit'}"

    def check_store_write(self) -> str:
        """Check that the store writes, reads and expires a key."""
        answer = self.caller.send("GET", "/api/health?deep=1")
        if reading.problem(answer).get("code") == "store_unauthorized":
            raise Failed(diagnosis.READ_ONLY_TOKEN)
        expect(answer, 200)
        return "the store writes, reads and forgets"

    def check_store_latency(self) -> str:
        """Check that the store is near the functions."""
        least = min(_latency(self.caller.call("GET", "/api/health", 200)) for _ in range(_LATENCY_CALLS))
        if least > self.latency_limit:
            region = self.region or "unknown"
            raise Failed(diagnosis.STORE_FAR_AWAY.fill(ms=least, limit=self.latency_limit, region=region))
        return f"{least:g} ms, the least of {_LATENCY_CALLS}"

    def check_page(self) -> str:
        """Check that the static files are there, with their headers."""
        page = self.caller.call("GET", "/", 200)
        wrong = [] if page.headers.get("Content-Type", "").startswith("text/html") else ["/ is no HTML"]
        if "Content-Security-Policy" not in page.headers:
            wrong.append("/ has no Content-Security-Policy")
        wrong += [
            f"{path} has no Access-Control-Allow-Origin"
            for path in ("/relay.js", "/openapi.json")
            if "Access-Control-Allow-Origin" not in self.caller.call("GET", path, 200).headers
        ]
        require(not wrong, f"{'; '.join(wrong)}.", diagnosis.NO_HEADERS)
        return "the page, relay.js and openapi.json"

    def check_preflight(self) -> str:
        """Check that the CORS preflight lets pages of another origin renew a session."""
        asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
        answer = self.caller.call("OPTIONS", "/api/sessions/ABC12345", 204, headers={"Origin": _ORIGIN, **asked})
        origin = reading.printable(answer.headers.get("Access-Control-Allow-Origin", ""))
        require(origin, "The preflight's answer has no Access-Control-Allow-Origin.", diagnosis.NO_HEADERS)
        for kind, needed in (("Methods", "PATCH"), ("Headers", "Authorization")):
            listed = answer.headers.get(f"Access-Control-Allow-{kind}", "").lower().replace(" ", "").split(",")
            require(needed.lower() in listed, f"Access-Control-Allow-{kind} lacks {needed}.", diagnosis.NO_HEADERS)
        return "for pages of every origin" if origin == "*" else f"for pages of {origin} alone"


def _latency(health: requests.Response) -> float:
    """Return the milliseconds that the health reports for a call to the store. Raises Failed."""
    match parsed(health):
        case {"status": "ok", "store": {"latencyMs": int() | float() as latency}}:
            return float(latency)
    raise Failed(diagnosis.NOT_PARLEY.fill(answer=reading.summary(health)))
