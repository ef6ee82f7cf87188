"""The checks that need no session: the functions, their store, and the static files."""

from dataclasses import dataclass

import requests

from dev.check import diagnosis, reading
from dev.check.caller import Caller, Failed, expect, parsed, require

ORIGIN = "https://elsewhere.example"
_LATENCY_CALLS = 4
# Each static file with what its type may be, and a header that it needs: a page to be safe, a client to be used by
# pages of other origins.
_HTML, _SCRIPT, _OPEN = ["text/html"], ["text/javascript", "application/javascript"], "Access-Control-Allow-Origin"
_FILES = (
    ("/", _HTML, "Content-Security-Policy"),
    ("/demo.html", _HTML, "Content-Security-Policy"),
    ("/problems.html", _HTML, "Content-Security-Policy"),
    ("/relay.js", _SCRIPT, _OPEN),
    ("/relay.d.ts", ["text/plain"], _OPEN),
    ("/relay.py", ["text/x-python"], _OPEN),
    ("/openapi.json", ["application/json"], _OPEN),
)


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
            raise Failed(*reading.of_answer(answer))
        # Vercel's id of a request names the regions where it came in and where the function runs: fra1::iad1::abc-1
        regions = answer.headers.get("x-vercel-id", "").split("::")[:-1]
        self.region = reading.printable(regions[-1]) if regions else None
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
            raise Failed(*diagnosis.READ_ONLY_TOKEN)
        expect(answer, 200)
        return "the store writes, reads and forgets"

    def check_store_latency(self) -> str:
        """Check that the store is near the functions."""
        least = min(_latency(self.caller.call("GET", "/api/health", 200)) for _ in range(_LATENCY_CALLS))
        far = {"ms": least, "limit": self.latency_limit, "region": self.region or "unknown"}
        require(least <= self.latency_limit, *diagnosis.STORE_FAR_AWAY.fill(**far))
        return f"{least:g} ms, the least of {_LATENCY_CALLS}"

    def check_pages(self) -> str:
        """Check that the static files are there, with their types and headers."""
        wrong: list[str] = []
        for path, kinds, header in _FILES:
            headers = self.caller.call("GET", path, 200).headers
            kind = headers.get("Content-Type", "").partition(";")[0].strip()
            if kind not in kinds:
                wrong.append(f"{path} is {reading.printable(kind) or 'of no type'} instead of {kinds[0]}")
            if header not in headers:
                wrong.append(f"{path} has no {header}")
        require(not wrong, f"{'; '.join(wrong)}.", diagnosis.NO_HEADERS)
        return ", ".join(path for path, _, _ in _FILES)

    def check_preflight(self) -> str:
        """Check that the CORS preflight lets pages of another origin renew a session."""
        origin = self.preflight("/api/sessions/ABC12345", "PATCH", "Authorization")
        return "for pages of every origin" if origin == "*" else f"for pages of {origin} alone"

    def preflight(self, path: str, method: str, *headers: str) -> str:
        """Return the origin whose pages may make such a call. Raises Failed unless the preflight's answer allows it."""
        asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": ",".join(headers).lower()}
        answer = self.caller.call("OPTIONS", path, 204, headers={"Origin": ORIGIN, **asked})
        origin = reading.printable(answer.headers.get("Access-Control-Allow-Origin", ""))
        require(origin, "The preflight's answer has no Access-Control-Allow-Origin.", diagnosis.NO_HEADERS)
        for kind, needed in (("Methods", method), *(("Headers", header) for header in headers)):
            listed = answer.headers.get(f"Access-Control-Allow-{kind}", "").lower().replace(" ", "").split(",")
            require(needed.lower() in listed, f"Access-Control-Allow-{kind} lacks {needed}.", diagnosis.NO_HEADERS)
        return origin


def _latency(health: requests.Response) -> float:
    """Return the milliseconds that the health reports for a call to the store. Raises Failed."""
    match parsed(health):
        case {"status": "ok", "store": {"latencyMs": int() | float() as latency}}:
            return float(latency)
    raise Failed(*diagnosis.NOT_PARLEY.fill(answer=reading.summary(health)))
