"""The deployment checker: does a deployment work, seen from outside, and if not, what is to be done?"""

import argparse
import json
import time
from collections.abc import Callable
from typing import NamedTuple

from dev.check.caller import Caller, Failed
from dev.check.session import Checks, milliseconds


class Step(NamedTuple):
    """A step of the check, and the name of an earlier one that has to have passed (`""`: none)."""

    name: str
    needs: str
    take: Callable[[Checks], str]


STEPS = (
    Step("reachable", "", Checks.check_reachable),
    Step("health", "reachable", Checks.check_health),
    Step("deep health", "health", Checks.check_store_write),
    Step("store latency", "health", Checks.check_store_latency),
    Step("page", "reachable", Checks.check_page),
    Step("session", "deep health", Checks.check_create),
    Step("read", "session", Checks.check_read),
    Step("token", "session", Checks.check_auth),
    Step("renewal", "session", Checks.check_renew),
    Step("preflight", "reachable", Checks.check_preflight),
    Step("stream", "session", Checks.check_stream),
    Step("push", "stream", Checks.check_push),
    Step("answer", "push", Checks.check_answer),
    Step("id conflict", "push", Checks.check_id_conflict),
    Step("waiting guest", "push", Checks.check_wait),
    Step("end", "waiting guest", Checks.check_end),
)


class Check(NamedTuple):
    """The result of a step: `state` is `ok`, `FAIL`, or `skip` if a step that it needs has not passed.

    `ms` is the time that it took, `note` what was seen, and `advice` what to do if it failed.
    """

    name: str
    state: str
    ms: int | None
    note: str
    advice: str | None = None

    def lines(self) -> str:
        """Return a row of the table, and for a failure a second line with the advice."""
        took = "" if self.ms is None else f"{self.ms} ms"
        row = f"{self.state:<4}  {self.name:<13}  {took:>8}  {self.note}"
        return f"{row}\n      what to do: {self.advice}" if self.advice else row


class Checker:
    """Checks the deployment at `url`; `bypass` opens a protected one.

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
        states = {"": "ok"}
        try:
            for step in STEPS:
                ready = states[step.needs] == "ok"
                check = self._take(step) if ready else Check(step.name, "skip", None, f"needs: {step.needs}")
                states[step.name] = check.state
                self.checks.append(check)
                report(check)
        finally:
            self._steps.clean_up()
            self._caller.close()

    def summary(self) -> str:
        """Return a line that says how many checks passed."""
        count = {state: sum(check.state == state for check in self.checks) for state in ("ok", "FAIL", "skip")}
        rest = "" if self.ok else f" {count['FAIL']} failed, {count['skip']} skipped."
        return f"{count['ok']} of {len(self.checks)} checks passed.{rest}"

    def as_json(self) -> str:
        """Return all results as one JSON object."""
        reported = {name: getattr(self._steps, name) for name in ("environment", "commit", "region")}
        reported = {name: value and self._without_secrets(value) for name, value in reported.items()}
        checks = [check._asdict() for check in self.checks]
        return json.dumps({"url": self._caller.url, "ok": self.ok, **reported, "checks": checks}, indent=2)

    def _take(self, step: Step) -> Check:
        started = time.perf_counter()
        try:
            state, note, advice = "ok", step.take(self._steps), None
        except Failed as failure:
            state, note, advice = "FAIL", failure.found.seen, self._without_secrets(failure.found.advice)
        took = milliseconds(time.perf_counter() - started)
        return Check(step.name, state, took, self._without_secrets(note), advice)

    def _without_secrets(self, text: str) -> str:
        """Return a text without the bypass secret and the token, which an answer may have repeated."""
        for secret in filter(None, (self._caller.bypass, self._steps.token)):
            text = text.replace(secret, "(secret)")
        return text


def command(arguments: argparse.Namespace) -> bool:
    """Check a deployment as the command line says. Returns whether it failed, also if it is interrupted."""
    try:
        return not run(arguments.url, arguments.bypass, arguments.latency, as_json=arguments.json)
    except KeyboardInterrupt:
        return True


def run(url: str, bypass: str, latency_limit: float, *, as_json: bool) -> bool:
    """Check a deployment, print the results, and return whether every check has passed."""
    checker = Checker(url, bypass, latency_limit)
    checker.run(lambda check: None if as_json else print(check.lines(), flush=True))
    print(checker.as_json() if as_json else f"\n{checker.summary()}")
    return checker.ok
