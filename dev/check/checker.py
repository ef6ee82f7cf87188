"""The deployment checker: does a deployment work, seen from outside, and if not, what is to be done?"""

import argparse
import json
import time
from collections.abc import Callable
from typing import NamedTuple

from dev.check.caller import Caller, Failed
from dev.check.session import milliseconds
from dev.check.tools import Checks


class Step(NamedTuple):
    """A step of the check, the capability that it belongs to, and the earlier steps that have to have passed."""

    name: str
    capability: str
    needs: tuple[str, ...]
    take: Callable[[Checks], str]


CAPABILITIES = (
    *("sessions", "push", "waiting", "tools", "mcp", "progress", "changed list", "cancelling", "1 MiB"),
    *("pages", "limits"),
)
STEPS = (
    Step("reachable", "sessions", (), Checks.check_reachable),
    Step("health", "sessions", ("reachable",), Checks.check_health),
    Step("deep health", "sessions", ("health",), Checks.check_store_write),
    Step("store latency", "limits", ("health",), Checks.check_store_latency),
    Step("pages", "pages", ("reachable",), Checks.check_pages),
    Step("preflight", "pages", ("reachable",), Checks.check_preflight),
    Step("session", "sessions", ("deep health",), Checks.check_create),
    Step("read", "sessions", ("session",), Checks.check_read),
    Step("token", "sessions", ("session",), Checks.check_auth),
    Step("renewal", "sessions", ("session",), Checks.check_renew),
    Step("tools", "tools", ("session",), Checks.check_tools),
    Step("MCP access", "mcp", ("reachable",), Checks.check_mcp_access),
    Step("MCP start", "mcp", ("session",), Checks.check_mcp_open),
    Step("MCP list", "mcp", ("tools",), Checks.check_mcp_list),
    Step("MCP codes", "mcp", ("deep health",), Checks.check_mcp_codes),
    Step("stream", "push", ("session",), Checks.check_stream),
    Step("push", "push", ("stream",), Checks.check_push),
    Step("answer", "push", ("push",), Checks.check_answer),
    Step("id conflict", "push", ("push",), Checks.check_id_conflict),
    Step("waiting guest", "waiting", ("push",), Checks.check_wait),
    Step("MCP call", "mcp", ("session", "stream", "push"), Checks.check_mcp_call),
    Step("progress", "progress", ("session", "stream", "MCP call"), Checks.check_progress),
    Step("changed list", "changed list", ("session", "MCP list"), Checks.check_list_change),
    Step("cancelling", "cancelling", ("session", "stream", "MCP start", "MCP call"), Checks.check_cancelling),
    Step("1 MiB", "1 MiB", ("session", "stream", "waiting guest"), Checks.check_large),
    Step("limits", "limits", ("session", "answer"), Checks.check_limits),
    Step("end", "sessions", ("session", "stream", "push"), Checks.check_end),
)


class Check(NamedTuple):
    """The result of a step: `state` is `ok`, `FAIL`, or `skip` if a step that it needs has not passed.

    `ms` is the time that it took, `note` what was seen, and `advice` what to do if it failed.
    """

    name: str
    capability: str
    state: str
    ms: int | None
    note: str
    advice: str | None = None

    def lines(self) -> str:
        """Return a row of the table, and for a failure a second line with the advice."""
        took = "" if self.ms is None else f"{self.ms} ms"
        row = f"{self.state:<4}  {self.name:<13}  {took:>8}  {self.note}"
        return f"{row}\n      what to do: {self.advice}" if self.advice else row


class Capability(NamedTuple):
    """What became of the steps of a capability: whether all passed, those that failed, and those that were skipped."""

    passed: bool
    failed: list[dict[str, str | None]]
    skipped: list[str]


class Checker:
    """Checks the deployment at `url`. `bypass` opens a protected deployment.

    `latency_limit` is in milliseconds; `patience` is how many seconds an event may take.
    """

    def __init__(self, url: str, bypass: str = "", latency_limit: float = 50, patience: float = 10) -> None:
        self._caller = Caller(url, bypass)
        self._steps = Checks(self._caller, latency_limit, patience)
        self.checks: list[Check] = []

    @property
    def ok(self) -> bool:
        """Tell whether every check has passed."""
        return len(self.checks) == len(STEPS) and all(check.state == "ok" for check in self.checks)

    def run(self, report: Callable[[Check], None]) -> None:
        """Take every step, and report each result at once. The session is ended in every case."""
        passed: set[str] = set()
        try:
            for step in STEPS:
                if lacking := [name for name in step.needs if name not in passed]:
                    check = Check(step.name, step.capability, "skip", None, f"needs: {', '.join(lacking)}")
                else:
                    check = self._take(step)
                if check.state == "ok":
                    passed.add(step.name)
                passed -= self._steps.lost
                self.checks.append(check)
                report(check)
        finally:
            self._steps.clean_up()
            self._caller.close()

    def capabilities(self) -> dict[str, Capability]:
        """Return what became of each capability."""
        found: dict[str, Capability] = {}
        for name in CAPABILITIES:
            checks = [check for check in self.checks if check.capability == name]
            failed = [
                {"name": check.name, "note": check.note, "advice": check.advice}
                for check in checks
                if check.state == "FAIL"
            ]
            skipped = [check.name for check in checks if check.state == "skip"]
            found[name] = Capability(bool(checks) and not failed and not skipped, failed, skipped)
        return found

    def summary(self) -> str:
        """Return a sentence that says what works, what does not, and what could not be tried."""
        found = self.capabilities().items()
        groups = {
            "works": [name for name, became in found if became.passed],
            "does not work": [name for name, became in found if became.failed],
            "not tried to the end": [name for name, became in found if became.skipped and not became.failed],
        }
        listed = "".join(f"; {title}: {', '.join(names)}" for title, names in groups.items() if names)
        return f"{sum(check.state == 'ok' for check in self.checks)} of {len(self.checks)} checks passed{listed}."

    def as_json(self) -> str:
        """Return all results as one JSON object."""
        reported = {name: getattr(self._steps, name) for name in ("environment", "commit", "region")}
        found = {
            "url": self._caller.url,
            "ok": self.ok,
            "summary": self.summary(),
            **{name: value and self._without_secrets(value) for name, value in reported.items()},
            "capabilities": {name: became._asdict() for name, became in self.capabilities().items()},
            "checks": [check._asdict() for check in self.checks],
        }
        return json.dumps(found, indent=2)

    def _take(self, step: Step) -> Check:
        started = time.perf_counter()
        try:
            state, note, advice = "ok", step.take(self._steps), None
        except Failed as failure:
            state, note, advice = "FAIL", failure.found.seen, self._without_secrets(failure.found.advice)
        took = milliseconds(time.perf_counter() - started)
        return Check(step.name, step.capability, state, took, self._without_secrets(note), advice)

    def _without_secrets(self, text: str) -> str:
        """Return a text without the bypass secret and the token, which an answer may have repeated."""
        for secret in filter(None, (self._caller.bypass, self._steps.token)):
            text = text.replace(secret, "(secret)")
        return text


def command(arguments: argparse.Namespace) -> bool:
    """Check a deployment, and print the results. Returns whether the check failed, also because of an interrupt."""
    checker = Checker(arguments.url, arguments.bypass, arguments.latency)
    try:
        checker.run(lambda check: None if arguments.json else print(check.lines(), flush=True))
    except KeyboardInterrupt:
        return True
    print(checker.as_json() if arguments.json else f"\n{checker.summary()}")
    return not checker.ok
