"""The deployment checker: does a deployment work, seen from outside, and if not, what is there to do?"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

from dev.check.caller import Caller, Failed
from dev.check.walk import Walk, milliseconds

LATENCY_LIMIT = 50.0
_PATIENCE_SECONDS = 10.0


class Step(NamedTuple):
    """A step, and the one before it that has to have gone well."""

    name: str
    needs: str
    take: Callable[[Walk], str]


STEPS = (
    Step("reachable", "", Walk.reach),
    Step("health", "reachable", Walk.look_at_health),
    Step("deep health", "health", Walk.write_to_store),
    Step("store latency", "health", Walk.measure_store),
    Step("page", "reachable", Walk.look_at_page),
    Step("session", "deep health", Walk.create_session),
    Step("read", "session", Walk.read_session),
    Step("token", "session", Walk.refuse_strangers),
    Step("renewal", "session", Walk.renew_session),
    Step("preflight", "reachable", Walk.ask_for_leave),
    Step("stream", "session", Walk.open_stream),
    Step("push", "stream", Walk.push),
    Step("answer", "push", Walk.answer_request),
    Step("id conflict", "push", Walk.reuse_id),
    Step("waiting guest", "push", Walk.answer_guest),
    Step("end", "waiting guest", Walk.end_session),
)


@dataclass(frozen=True)
class Check:
    """What became of a step: `state` is `ok`, `FAIL`, or `skip` where a step that it needs has failed.

    `ms` is the time that it took, `note` what was seen, and `advice` what to do where it failed.
    """

    name: str
    state: str
    ms: int | None
    note: str
    advice: str | None = None

    def lines(self) -> str:
        """Return it as a row of the table, and below a failure what to do."""
        took = "" if self.ms is None else f"{self.ms} ms"
        row = f"{self.state:<4}  {self.name:<13}  {took:>8}  {self.note}"
        return f"{row}\n      what to do: {self.advice}" if self.advice else row


class Checker:
    """Checks the deployment at `url`; `bypass` opens a protected one.

    `latency_limit` is in milliseconds, `patience` is how many seconds an event may take.
    """

    def __init__(
        self,
        url: str,
        bypass: str = "",
        latency_limit: float = LATENCY_LIMIT,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._bypass = bypass
        self._caller = Caller(url, bypass)
        self._walk = Walk(self._caller, latency_limit, patience)
        self.checks: list[Check] = []

    @property
    def ok(self) -> bool:
        """Tell whether every check has passed."""
        return len(self.checks) == len(STEPS) and all(check.state == "ok" for check in self.checks)

    def run(self, report: Callable[[Check], None]) -> None:
        """Take every step, and report each check as it is done. Whatever happens, the session is ended."""
        states = {"": "ok"}
        try:
            for step in STEPS:
                ready = states[step.needs] == "ok"
                check = self._take(step) if ready else Check(step.name, "skip", None, f"needs: {step.needs}")
                states[step.name] = check.state
                self.checks.append(check)
                report(check)
        finally:
            self._walk.leave()
            self._caller.close()

    def summary(self) -> str:
        """Return how many checks passed, in a line."""
        count = {state: sum(check.state == state for check in self.checks) for state in ("ok", "FAIL", "skip")}
        rest = "" if self.ok else f" {count['FAIL']} failed, {count['skip']} skipped."
        return f"{count['ok']} of {len(self.checks)} checks passed.{rest}"

    def as_json(self) -> str:
        """Return all that was found, for programs."""
        told = {"environment": self._walk.environment, "commit": self._walk.commit, "region": self._walk.region}
        told = {name: value and self._without_secrets(value) for name, value in told.items()}
        checks = [asdict(check) for check in self.checks]
        return json.dumps({"url": self._caller.url, "ok": self.ok, **told, "checks": checks}, indent=2)

    def _take(self, step: Step) -> Check:
        started = time.perf_counter()
        try:
            state, note, advice = "ok", step.take(self._walk), None
        except Failed as failure:
            state, note, advice = "FAIL", failure.found.seen, self._without_secrets(failure.found.advice)
        took = milliseconds(time.perf_counter() - started)
        return Check(step.name, state, took, self._without_secrets(note), advice)

    def _without_secrets(self, text: str) -> str:
        """Return a text without what a deployment, or who stands in its place, may repeat."""
        for secret in filter(None, (self._bypass, self._walk.token)):
            text = text.replace(secret, "(secret)")
        return text


def command(arguments: argparse.Namespace) -> bool:
    """Check a deployment as the command line says. Returns whether it failed, also if it is interrupted."""
    try:
        return not run(arguments.url, arguments.bypass, arguments.latency, as_json=arguments.json)
    except KeyboardInterrupt:
        return True


def run(url: str, bypass: str, latency_limit: float, *, as_json: bool) -> bool:
    """Check a deployment, print what was found, and tell whether it is well."""
    checker = Checker(url, bypass, latency_limit)
    checker.run(_ignore if as_json else _print)
    print(checker.as_json() if as_json else f"\n{checker.summary()}")
    return checker.ok


def _print(check: Check) -> None:
    print(check.lines(), flush=True)


def _ignore(_: Check) -> None:
    """Print nothing yet."""
