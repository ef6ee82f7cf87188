"""What a run of the deployment checker has to find: one fault, in one step, and nothing else."""

from typing import Any

import pytest

from dev.check import checker as checks
from dev.check import diagnosis
from dev.check.checker import Check, Checker
from dev.check.diagnosis import Diagnosis
from lib.problems import Problem

# After these the session, or its stream, is of no use for the steps that come.
_LOSING = (diagnosis.BUFFERED, diagnosis.NOT_NOTIFIED, diagnosis.STREAM_ENDED.advice, diagnosis.OTHER_CODE)


def try_only(capability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let checkers take only the steps of a capability, and those that they need: all take three times as long."""
    needed: set[str] = set()
    for step in reversed(checks.STEPS):
        if step.capability == capability or step.name in needed:
            needed |= {step.name, *step.needs}
    monkeypatch.setattr(checks, "STEPS", tuple(step for step in checks.STEPS if step.name in needed))


def failure(checker: Checker) -> Check:
    """Run all the checks; return the only one that failed, behind which no check was tried that needs it."""
    told: list[Check] = []
    checker.run(told.append)
    steps = checks.STEPS
    assert told == checker.checks
    assert [(one.name, one.capability) for one in told] == [(step.name, step.capability) for step in steps]
    (failed,) = [one for one in told if one.state == "FAIL"]
    before: set[str] = set()
    for one, step in zip(told, steps, strict=True):
        lacking = [name for name in step.needs if name not in before]
        if not lacking and one.state == "skip":
            assert failed.advice in _LOSING
            assert {"session", "stream"} & set(step.needs), one
        else:
            assert (one.state == "skip") == bool(lacking), one
        if one.state == "ok":
            before.add(one.name)
    assert not checker.ok
    found = checker.capabilities()
    assert [name for name, one in found.items() if one.failed] == [failed.capability]
    for name in {step.capability for step in steps}:
        skipped = [one.name for one in told if one.capability == name and one.state == "skip"]
        assert found[name].skipped == skipped
        assert found[name].passed == (name != failed.capability and not skipped)
    assert found[failed.capability].failed == [{name: getattr(failed, name) for name in ("name", "note", "advice")}]
    return failed


def diagnosed(checker: Checker, step: str, expected: Diagnosis, *evidence: str) -> None:
    """Run all the checks; this one failed, with this diagnosis, whose text has the evidence in it."""
    failed = failure(checker)
    assert (failed.name, failed.note, failed.advice) == (step, *expected)
    assert all(part in failed.note for part in evidence)


def found(checker: Checker, step: str, advice: str, *evidence: str) -> None:
    """Run all the checks; this one failed, with this advice, and with the evidence in what it has seen."""
    failed = failure(checker)
    assert (failed.name, failed.advice) == (step, advice)
    assert all(part in failed.note for part in evidence)


def refusal(problem: Problem) -> dict[str, Any]:
    """Return what the mock answers for a problem."""
    headers = {"Content-Type": "application/problem+json", **problem.headers}
    return {"status_code": problem.status, "json": problem.body(), "headers": headers}
