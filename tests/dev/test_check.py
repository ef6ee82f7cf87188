"""dev/check/: a deployment that is well passes, and what is wrong with another is told, with what to do."""

import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from socket import gaierror
from typing import Any

import httpx
import pytest
import requests
from requests_mock import ANY, Mocker
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError, SSLError

from dev import __main__ as command
from dev.check import checker, walk
from dev.check.checker import STEPS, Check, Checker
from lib import problems
from lib.problems import Problem
from tests.support.commands import finished
from tests.support.deployments import Parley, running_parley
from tests.support.stores import running_store

URL = "https://parley.example"
HTML: dict[str, Any] = {
    "headers": {"Content-Type": "text/html; charset=utf-8"},
    "text": "<!doctype html><title>Log in</title>",
}
OTHER_CODE = "This deployment does not keep the API's contract: deploy this checkout, and check again."
NO_HEADERS = (
    "Deploy with this checkout's vercel.json, which sets the headers; a proxy before the deployment may drop them, too."
)
BUFFERED = (
    "Something between here and the functions holds the stream back, such as a proxy or a CDN before the deployment: "
    "turn its buffering off for text/event-stream, or check from another network."
)
NOT_RUNG = (
    "The functions do not hear of what is new in time: see that the store's token may SUBSCRIBE and PUBLISH, "
    "and look at the log of /api/stream."
)
AGAIN = "Try again; if it stays, look at the function's log, and check from another network."
LOGS = "Look at the log of /api/stream: a function that crashes or times out cuts its stream, and so does a proxy."
BYPASS = "Settings, Deployment Protection, Protection Bypass for Automation"
STRANGER = (
    "Compare the address with the list of `vercel ls`; a framework preset or a rewrite of everything to one page looks "
    "like this, too."
)
CREATE_SECRET = (
    f"Create a secret under {BYPASS}, and pass it with --bypass SECRET or in VERCEL_AUTOMATION_BYPASS_SECRET."
)
OPEN = b"id: 0-0\nevent: open\ndata: {}\n\n"
REQUEST = b'id: 1-0\nevent: request\ndata: {"id":"check-1","payload":1}\n\n'
HTTP = HTTPConnection("parley.example")
CERTIFICATE = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"
ENDED = b'id: 1-0\nevent: ended\ndata: {"reason":"ended"}\n\n'


@pytest.fixture(scope="module")
def deployment() -> Iterator[Parley]:
    """Give a deployment on the embedded store: what another store changes is not the checker's matter."""
    with running_store(None) as store, running_parley(store) as parley:
        yield parley


@pytest.fixture
def well(deployment: Parley) -> Parley:
    """Give a deployment with an empty store."""
    deployment.store.clear()
    return deployment


@pytest.fixture
def mocked(requests_mock: Mocker) -> Mocker:
    """Give a mock that lets through what it does not answer."""
    requests_mock.real_http = True
    return requests_mock


def failure(checker: Checker) -> Check:
    """Run all the checks; return the only one that failed, behind which no check was tried that needs it."""
    told: list[Check] = []
    checker.run(told.append)
    assert told == checker.checks
    assert [one.name for one in told] == [step.name for step in STEPS]
    states = {one.name: one.state for one in told}
    for step in STEPS:
        assert (states[step.name] == "skip") == (step.needs != "" and states[step.needs] != "ok")
    (failed,) = [one for one in told if one.state == "FAIL"]
    assert not checker.ok
    return failed


def seen(checker: Checker) -> tuple[str, str, str | None]:
    """Return which check failed, what it saw, and what it says to do."""
    failed = failure(checker)
    return failed.name, failed.note, failed.advice


def sessions(parley: Parley) -> list[dict[str, Any]]:
    """Return the records in the store."""
    texts = [parley.store.db.get(name) for name in parley.store.names("session:*")]
    return [json.loads(text) for text in texts if text]


def refusal(problem: Problem) -> dict[str, Any]:
    """Return what the mock answers for a problem."""
    headers = {"Content-Type": "application/problem+json"} | problem.headers
    return {"status_code": problem.status, "json": problem.body(), "headers": headers}


def watch(mocked: Mocker, look: Callable[[Any], None]) -> None:
    """Look at every call that is made from now on, and let it through."""

    def matches(call: Any) -> bool:
        look(call)
        return False

    mocked.request(ANY, ANY, additional_matcher=matches)


def unreachable(reason: Exception) -> MaxRetryError:
    return MaxRetryError(HTTPConnectionPool("parley.example"), "/api/health", reason)


def test_a_deployment_that_is_well(well: Parley) -> None:
    checker = Checker(well.url)
    checker.run(lambda _: None)
    assert [(one.name, one.state) for one in checker.checks] == [(step.name, "ok") for step in STEPS]
    assert checker.ok
    assert checker.summary() == "16 of 16 checks passed."
    (session,) = sessions(well)
    assert session["active"] is False
    assert well.store.names("re[qs]:*") == []


def test_an_interrupted_check_ends_its_session(well: Parley) -> None:
    def interrupt(one: Check) -> None:
        if one.name == "stream":
            assert [session["active"] for session in sessions(well)] == [True]
            raise KeyboardInterrupt

    checker = Checker(well.url)
    with pytest.raises(KeyboardInterrupt):
        checker.run(interrupt)
    assert [session["active"] for session in sessions(well)] == [False]
    assert not checker.ok


def test_an_interrupted_command_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(checker, "run", interrupted)
    monkeypatch.setattr("sys.argv", ["dev", "check", URL])
    assert command.main() == 1


def test_one_line_a_check(well: Parley) -> None:
    done = finished("check", f"{well.url}/")
    assert (done.returncode, done.stderr) == (0, "")
    *rows, empty, summary = done.stdout.splitlines()
    assert (empty, summary) == ("", "16 of 16 checks passed.")
    for row, step in zip(rows, STEPS, strict=True):
        assert re.fullmatch(rf"ok    {step.name:<13}  (?=.{{8}}  \S) *\d+ ms  \S.*", row)


def test_lines_come_as_they_are_known(well: Parley, mocked: Mocker, capsys: pytest.CaptureFixture[str]) -> None:
    printed: list[str] = []
    watch(mocked, lambda call: printed.append(capsys.readouterr().out) if call.path == "/api/sessions" else None)
    assert checker.run(well.url, "", 1000, as_json=False)
    (before,) = printed
    assert [line[6:19].strip() for line in before.splitlines()] == [step.name for step in STEPS[:5]]


def test_json(well: Parley) -> None:
    done = finished("check", well.url, "--json", "--latency", "0.001")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    checks = found.pop("checks")
    assert found == {"url": well.url, "ok": False, "environment": "development", "commit": None, "region": "local"}
    assert [one["name"] for one in checks] == [step.name for step in STEPS]
    assert all(one.keys() == {"name", "state", "ms", "note", "advice"} for one in checks)
    assert [one["name"] for one in checks if one["state"] != "ok"] == ["store latency"]
    assert all(isinstance(one["ms"], int) for one in checks)


def test_a_failure_in_the_table() -> None:
    done = finished("check", "http://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (1, "")
    failed, advice, *skipped, empty, summary = done.stdout.splitlines()
    expected = "FAIL  reachable      T ms  Nothing listens at 127.0.0.1:1: the connection is refused."
    assert re.sub(r" +\d+ ms", "      T ms", failed) == expected
    assert advice == (
        "      what to do: Compare the address and its port; the local one needs `make dev` in another terminal."
    )
    assert skipped[0] == "skip  health                   needs: reachable"
    assert len(skipped) == 15
    assert (empty, summary) == ("", "0 of 16 checks passed. 1 failed, 15 skipped.")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "parley.example",
        "ftp://parley.example",
        "https://",
        "https://a..b",
        "http://[::1",
        "https://parley.example:x",
        "https://me:secret@parley.example",
        "https://parley.example/api/health",
        "https://parley.example/?x-vercel-protection-bypass=secret",
    ],
)
def test_not_an_address(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(["check", url], monkeypatch, capsys) == (
        "argument URL: give the deployment's address alone, such as https://parley.vercel.app"
    )


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "x"])
def test_not_a_latency(given: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(["check", URL, f"--latency={given}"], monkeypatch, capsys) == (
        "argument --latency: give a number of milliseconds, such as 50"
    )


@pytest.mark.parametrize("given", ["my secret", "sécret", "my\x00secret"])
def test_not_a_bypass_secret(given: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    message = "argument --bypass: the secret has characters that cannot be sent"
    assert refused(["check", URL, "--bypass", given], monkeypatch, capsys) == message


def refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Return why the command line is not understood."""
    monkeypatch.setattr("sys.argv", ["dev", *arguments])
    with pytest.raises(SystemExit) as stopped:
        command.main()
    assert stopped.value.code == 2
    return capsys.readouterr().err.strip().rpartition("error: ")[2]


def test_the_bypass_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, requests_mock: Mocker, capsys: pytest.CaptureFixture[str]
) -> None:
    requests_mock.get(f"{URL}/api/health", status_code=401, **HTML)
    monkeypatch.setenv("VERCEL_AUTOMATION_BYPASS_SECRET", " hidden\n")
    monkeypatch.setattr("sys.argv", ["dev", "check", URL])
    assert command.main() == 1
    assert [call.headers["x-vercel-protection-bypass"] for call in requests_mock.request_history] == ["hidden"]
    assert "and the bypass secret is refused (401)." in capsys.readouterr().out


def test_the_bypass_goes_with_every_call(well: Parley, mocked: Mocker) -> None:
    checker = Checker(well.url, bypass="hidden")
    asked: list[str | None] = []
    watch(mocked, lambda call: asked.append(call.headers.get("x-vercel-protection-bypass")))
    checker.run(lambda _: None)
    assert checker.ok
    assert len(asked) > len(STEPS)
    assert set(asked) == {"hidden"}


def test_a_password_file_does_not_replace_the_token(
    well: Parley, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests would send what a .netrc has for the host in place of the Authorization that it is given."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password hidden\n", "utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    checker = Checker(well.url)
    checker.run(lambda _: None)
    assert checker.ok


PROTECTED = "The deployment is protected: a login page answers ({})."
REACHING: dict[str, tuple[dict[str, Any], str, str]] = {
    "protected": ({"status_code": 401} | HTML, PROTECTED.format(401), CREATE_SECRET),
    "protected, with a redirect": (
        {"status_code": 302, "headers": {"Location": "https://vercel.com/sso-api?url=https%3A%2F%2Fparley.example"}},
        PROTECTED.format(302),
        CREATE_SECRET,
    ),
    "protected, for trusted addresses": ({"status_code": 403} | HTML, PROTECTED.format(403), CREATE_SECRET),
    "firewall": (
        {"status_code": 429, "headers": HTML["headers"] | {"x-vercel-mitigated": "challenge"}},
        "Vercel's firewall stopped the call (challenge).",
        "Let this machine's address through in the project's Firewall tab, or turn Attack Mode off meanwhile.",
    ),
    "no deployment": (
        {"status_code": 404, "headers": {"x-vercel-error": "DEPLOYMENT_NOT_FOUND"}},
        "Vercel has no deployment at this address (DEPLOYMENT_NOT_FOUND).",
        "Compare the address with the list of `vercel ls`: the deployment may have been deleted.",
    ),
    "no functions": (
        {
            "status_code": 404,
            "headers": {"Content-Type": "text/plain; charset=utf-8"},
            "text": "The page could not be found\n\nNOT_FOUND\n\nfra1::abcde-1\n",
        },
        "There is a deployment, but /api/health is not in it (NOT_FOUND).",
        (
            "It was made without api/ or public/, or from another folder: deploy the one that holds vercel.json "
            "(Settings, Build and Deployment, Root Directory)."
        ),
    ),
    "crash": (
        {
            "status_code": 500,
            "headers": {"Content-Type": "text/plain; charset=utf-8"},
            "text": "A server error has occurred\n\nFUNCTION_INVOCATION_FAILED\n\nfra1::iad1::abcde-1\n",
        },
        "The function crashes (FUNCTION_INVOCATION_FAILED).",
        "Look at the function's log, with `vercel logs` and the address: its last lines say what it fails at.",
    ),
    "timeout": (
        {"status_code": 504, "headers": {"x-vercel-error": "FUNCTION_INVOCATION_TIMEOUT"}},
        "The function did not answer in its time (FUNCTION_INVOCATION_TIMEOUT).",
        "Look at the function's log, and at the store: an address that swallows packets looks like this.",
    ),
    "another error of Vercel's": (
        {"status_code": 402, "headers": {"x-vercel-error": "DEPLOYMENT_DISABLED"}},
        "Vercel answers 402 (DEPLOYMENT_DISABLED).",
        "Look it up: https://vercel.com/docs/errors/DEPLOYMENT_DISABLED",
    ),
    "redirect": (
        {"status_code": 308, "headers": {"Location": "https://www.parley.example/api/health?x=1"}},
        "The address redirects to https://www.parley.example (308).",
        "Check that one: python -m dev check https://www.parley.example",
    ),
    "no address to redirect to": (
        {"status_code": 308, "headers": {"Location": "https://[bad"}},
        "The connection to parley.example broke off (ValueError).",
        AGAIN,
    ),
    "another service": (
        {"status_code": 200} | HTML,
        "This is not Parley: GET /api/health answered 200 with text/html.",
        STRANGER,
    ),
    "another API": (
        {"json": {"status": "ok"}, "headers": {"Content-Type": "application/json"}},
        "This is not Parley: GET /api/health answered 200 with application/json.",
        STRANGER,
    ),
    "another method": ({"status_code": 405}, "GET /api/health answered 405.", OTHER_CODE),
    "a gateway before it": (
        {"status_code": 502} | HTML,
        "GET /api/health answered 502 with text/html.",
        "Look at the function's log, and at what stands before the deployment.",
    ),
    "name": (
        {
            "exc": requests.ConnectionError(
                unreachable(NameResolutionError("parley.example", HTTP, gaierror("unknown")))
            )
        },
        "The name parley.example is not known.",
        "Compare the address with the list of `vercel ls`; a new domain takes a while until its name is known.",
    ),
    "port": (
        {"exc": requests.ConnectionError(unreachable(NewConnectionError(HTTP, "[Errno 111] Connection refused")))},
        "Nothing listens at parley.example: the connection is refused.",
        "Compare the address and its port; the local one needs `make dev` in another terminal.",
    ),
    "certificate": (
        {"exc": requests.exceptions.SSLError(unreachable(SSLError(f"(1, '{CERTIFICATE} (_ssl.c:1000)')")))},
        "The TLS connection to parley.example fails: certificate verify failed: self-signed certificate.",
        (
            "A new domain's certificate takes some minutes; behind a company's proxy set REQUESTS_CA_BUNDLE to the "
            "file of its certificate."
        ),
    ),
    "proxy": (
        {"exc": requests.exceptions.ProxyError("Cannot connect to proxy.")},
        "The proxy of this machine does not lead to parley.example.",
        "Correct HTTPS_PROXY, or name the host in NO_PROXY.",
    ),
    "silence": ({"exc": requests.exceptions.ReadTimeout()}, "No answer from parley.example in time.", AGAIN),
    "break": (
        {"exc": requests.ConnectionError("Connection aborted.")},
        "The connection to parley.example broke off (ConnectionError).",
        AGAIN,
    ),
}


@pytest.mark.parametrize("name", REACHING)
def test_not_reachable(name: str, requests_mock: Mocker) -> None:
    answer, note, advice = REACHING[name]
    requests_mock.get(f"{URL}/api/health", **answer)
    assert seen(Checker(URL)) == ("reachable", note, advice)
    assert requests_mock.call_count == 1


@pytest.mark.parametrize("name", ["protected", "protected, with a redirect", "protected, for trusted addresses"])
def test_bypass_refused(name: str, requests_mock: Mocker) -> None:
    answer = REACHING[name][0]
    requests_mock.get(f"{URL}/api/health", **answer)
    assert seen(Checker(URL, bypass="hidden")) == (
        "reachable",
        f"The deployment is protected, and the bypass secret is refused ({answer['status_code']}).",
        f"The secret is not this project's, or is revoked: copy it again from {BYPASS}.",
    )


MISSING = "Set the environment variable KV_REST_API_TOKEN as well."
STORE: list[tuple[Problem, str, str]] = [
    (
        problems.StoreNotConfigured(MISSING),
        f"store_not_configured: {MISSING}",
        (
            "Connect an Upstash Redis database in the project's Storage tab, or set the variable for this environment, "
            "then deploy again, since variables only reach new deployments."
        ),
    ),
    (
        problems.StoreUnauthorized("WRONGPASS"),
        (
            "store_unauthorized: "
            "The operator has to set the database's current token, not the read-only one, and deploy again."
        ),
        (
            "Copy the database's standard token from the Upstash console into KV_REST_API_TOKEN "
            "(or UPSTASH_REDIS_REST_TOKEN), then deploy again, since variables only reach new deployments."
        ),
    ),
    (
        problems.StoreUnavailable("ConnectError"),
        "store_unavailable: Try again in a few seconds.",
        (
            "See in the Upstash console that the database exists and is active, and that KV_REST_API_URL "
            "(or UPSTASH_REDIS_REST_URL) is its REST address; the function's log names the cause."
        ),
    ),
    (
        problems.StoreQuotaExceeded("ERR max requests limit exceeded"),
        "store_quota_exceeded: The operator has to raise the database's limit in the Upstash console.",
        "Raise the database's limit in the Upstash console, or wait until its period is over.",
    ),
    (
        problems.InternalError(),
        "internal_error: Try again; if it stays, tell the operator the time of this call.",
        "Look at the function's log: its line with internal_error names the place of the defect.",
    ),
]


@pytest.mark.parametrize(("problem", "note", "advice"), STORE, ids=[problem.code for problem, _, _ in STORE])
def test_store(problem: Problem, note: str, advice: str, well: Parley, mocked: Mocker) -> None:
    """What does not need the store is checked all the same."""
    mocked.get(f"{well.url}/api/health", **refusal(problem))
    checker = Checker(well.url)
    assert seen(checker) == ("health", note, advice)
    assert [one.name for one in checker.checks if one.state == "ok"] == ["reachable", "page", "preflight"]


def test_read_only_token(well: Parley, mocked: Mocker) -> None:
    mocked.get(f"{well.url}/api/health?deep=1", **refusal(problems.StoreUnauthorized("NOPERM")))
    checker = Checker(well.url)
    assert seen(checker) == (
        "deep health",
        "store_unauthorized: the store can be read, but not written.",
        (
            "The token is the read-only one: set KV_REST_API_TOKEN (or UPSTASH_REDIS_REST_TOKEN) to the database's "
            "standard token, then deploy again, since variables only reach new deployments."
        ),
    )
    assert sessions(well) == []


@pytest.mark.parametrize(
    ("platform_id", "region"),
    [("fra1::iad1::abcde-1", "iad1"), ("iad1::abcde-1", "iad1"), ("abcde-1", "unknown"), ("", "unknown")],
)
def test_store_in_another_region(platform_id: str, region: str, requests_mock: Mocker) -> None:
    """The least of what was measured counts: the first one may hold the connection that was made."""
    found: list[dict[str, Any]] = [
        {"json": {"status": "ok", "store": {"latencyMs": ms}}} for ms in (0.5, 0.5, 0.5, 200.0, 96.4, 90.6, 91)
    ]
    for one in found:
        one["headers"] = {"x-vercel-id": platform_id}
    requests_mock.request(ANY, ANY, status_code=404)
    requests_mock.get(f"{URL}/api/health", found)
    checker = Checker(URL)
    checker.run(lambda _: None)
    (latency,) = [one for one in checker.checks if one.name == "store latency"]
    assert (latency.state, latency.note, latency.advice) == (
        "FAIL",
        f"90.6 ms from the functions (region: {region}) to the store; the limit is 50 ms.",
        (
            "Move the database next to the functions, or the functions next to the database (Settings, Functions, "
            "Function Region, then deploy again); --latency sets another limit."
        ),
    )


@pytest.mark.parametrize(
    ("path", "answer", "note"),
    [
        ("/", {"headers": {"Content-Security-Policy": "x"}}, "/ is no HTML."),
        ("/", HTML, "/ has no Content-Security-Policy."),
        ("/relay.js", {}, "/relay.js has no Access-Control-Allow-Origin."),
        ("/openapi.json", {}, "/openapi.json has no Access-Control-Allow-Origin."),
    ],
)
def test_page(path: str, answer: dict[str, Any], note: str, well: Parley, mocked: Mocker) -> None:
    mocked.get(f"{well.url}{path}", **answer)
    assert seen(Checker(well.url)) == ("page", note, NO_HEADERS)


def test_rate_limited(well: Parley, mocked: Mocker) -> None:
    mocked.post(f"{well.url}/api/sessions", **refusal(problems.RateLimited(42)))
    assert seen(Checker(well.url)) == (
        "session",
        "rate_limited: this machine has called too often.",
        "Wait 42 s, then check again; the RATE_LIMIT_ variables set the limits.",
    )


SESSION: dict[str, Any] = {
    "code": "ABC12345",
    "token": "hidden",
    "createdAt": "2026-01-01T00:00:00.000Z",
    "expiresAt": "2026-01-01T00:10:00.000Z",
    "active": True,
    "ttl": 600,
}
CREATED = {"Location": "/api/sessions/ABC12345", "Cache-Control": "no-store"}


@pytest.mark.parametrize(
    ("change", "headers", "note"),
    [
        ({"code": "abc12345"}, {}, "The new session lacks a code, a token or a time to live."),
        ({"token": None}, {}, "The new session lacks a code, a token or a time to live."),
        ({}, {"Location": "/"}, "Location does not lead to the new session."),
        ({}, {"Cache-Control": "public"}, "Cache-Control is not no-store."),
        ({"ttl": 60}, {}, "ttl is 60 s, but expiresAt is 600 s after createdAt."),
        ({"expiresAt": "soon"}, {}, "createdAt and expiresAt are not both times in ISO 8601."),
    ],
)
def test_session(change: dict[str, Any], headers: dict[str, str], note: str, well: Parley, mocked: Mocker) -> None:
    mocked.post(f"{well.url}/api/sessions", status_code=201, json=SESSION | change, headers=CREATED | headers)
    assert seen(Checker(well.url)) == ("session", note, OTHER_CODE)


def test_session_that_tells_its_token(well: Parley, mocked: Mocker) -> None:
    mocked.post(f"{well.url}/api/sessions", status_code=201, json=SESSION, headers=CREATED)
    mocked.get(f"{well.url}/api/sessions/ABC12345", json=SESSION)
    checker = Checker(well.url)
    checker.run(lambda _: None)
    read = next(one for one in checker.checks if one.name == "read")
    assert read.note == "The session tells its token to whoever reads it."


def test_token_that_a_proxy_strips(well: Parley, mocked: Mocker) -> None:
    strips: dict[str, Any] = {"request_headers": {"Authorization": "Bearer wrong"}}
    mocked.patch(re.compile("/api/sessions/"), **strips, **refusal(problems.HostTokenRequired()))
    assert seen(Checker(well.url)) == (
        "token",
        "host_token_required: the Authorization header did not arrive.",
        "A proxy before the deployment strips it: let it through there.",
    )


def test_token_that_is_not_looked_at(well: Parley, mocked: Mocker) -> None:
    mocked.patch(re.compile("/api/sessions/"), request_headers={"Authorization": "Bearer wrong"}, json={})
    assert seen(Checker(well.url)) == (
        "token",
        "PATCH /api/sessions/{code} answered 200.",
        OTHER_CODE,
    )


def test_renewal_that_gives_no_time(well: Parley, mocked: Mocker) -> None:
    mocked.patch(re.compile("/api/sessions/"), additional_matcher=is_renewal, json=SESSION)
    assert seen(Checker(well.url)) == (
        "renewal",
        "expiresAt did not move.",
        "Set SESSION_MAX_SECONDS to more than SESSION_TTL_SECONDS.",
    )


@pytest.mark.parametrize(
    ("headers", "note"),
    [
        ({}, "The preflight's answer has no Access-Control-Allow-Origin."),
        (
            {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, OPTIONS"},
            "Access-Control-Allow-Methods lacks PATCH.",
        ),
        (
            {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, PATCH"},
            "Access-Control-Allow-Headers lacks Authorization.",
        ),
    ],
)
def test_preflight(headers: dict[str, str], note: str, well: Parley, mocked: Mocker) -> None:
    mocked.options(re.compile("/api/sessions/"), status_code=204, headers=headers)
    assert seen(Checker(well.url)) == ("preflight", note, NO_HEADERS)


def test_preflight_for_one_origin(well: Parley, mocked: Mocker) -> None:
    allowed = {"Origin": "https://app.example", "Methods": "PATCH", "Headers": "authorization"}
    headers = {f"Access-Control-Allow-{name}": value for name, value in allowed.items()}
    mocked.options(re.compile("/api/sessions/"), status_code=204, headers=headers)
    checker = Checker(well.url)
    checker.run(lambda _: None)
    assert "for pages of https://app.example alone" in [one.note for one in checker.checks]


class Slow(io.RawIOBase):
    """A body that comes in parts; where there is an event among them, it has to happen before the rest comes."""

    def __init__(self, *parts: bytes | threading.Event) -> None:
        self._parts = list(parts)

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        while self._parts:
            part = self._parts.pop(0)
            if isinstance(part, threading.Event):
                part.wait(20)
            elif part:
                room[:1] = part[:1]
                self._parts.insert(0, part[1:])
                return 1
        return 0


@pytest.fixture
def at_last() -> Iterator[threading.Event]:
    """Give an event that happens when the test is over, at the latest."""
    event = threading.Event()
    yield event
    event.set()


def when_ended(mocked: Mocker, event: threading.Event) -> None:
    """Let the event happen when the session is ended."""
    watch(mocked, lambda call: event.set() if call.method == "DELETE" else None)


def streams(mocked: Mocker, *parts: bytes | threading.Event) -> None:
    mocked.get(re.compile("/stream$"), headers={"Content-Type": "text/event-stream"}, body=Slow(*parts))


def test_proxy_that_swallows_the_stream(well: Parley, mocked: Mocker, at_last: threading.Event) -> None:
    streams(mocked, at_last)
    assert seen(Checker(well.url, patience=0.2)) == (
        "stream",
        "No 'open' event within 0.2 s, nor anything else.",
        BUFFERED,
    )
    assert [session["active"] for session in sessions(well)] == [False]


def test_proxy_that_holds_the_stream_until_it_ends(well: Parley, mocked: Mocker, at_last: threading.Event) -> None:
    streams(mocked, at_last, OPEN + ENDED)
    when_ended(mocked, at_last)
    assert seen(Checker(well.url, patience=0.2)) == (
        "stream",
        "No 'open' event within 0.2 s: 2 events came in a lump when the session ended.",
        BUFFERED,
    )


def test_proxy_that_holds_the_requests(well: Parley, mocked: Mocker, at_last: threading.Event) -> None:
    streams(mocked, OPEN, at_last, REQUEST + ENDED)
    when_ended(mocked, at_last)
    assert seen(Checker(well.url, patience=0.2)) == (
        "push",
        "No 'request' event within 0.2 s: 2 events came in a lump when the session ended.",
        BUFFERED,
    )
    assert [session["active"] for session in sessions(well)] == [False]


def test_functions_that_do_not_hear(well: Parley, mocked: Mocker, at_last: threading.Event) -> None:
    streams(mocked, OPEN, at_last, ENDED)
    when_ended(mocked, at_last)
    assert seen(Checker(well.url, patience=0.2)) == (
        "push",
        "No 'request' event within 0.2 s, though the stream is open.",
        NOT_RUNG,
    )


@pytest.mark.parametrize(
    ("body", "name", "note", "advice"),
    [
        (b"", "stream", "The stream ended too early.", LOGS),
        (b": hello\n\n" + OPEN, "push", "The stream ended too early.", LOGS),
        (REQUEST, "stream", "The stream said 'request' before 'open'.", OTHER_CODE),
        (
            OPEN + REQUEST.replace(b"check-1", b"another"),
            "push",
            "The stream brought another request than the one that was posted.",
            OTHER_CODE,
        ),
        (
            OPEN.replace(b"{}", b"[]"),
            "stream",
            "What came over the stream is not a server-sent event with JSON in it.",
            OTHER_CODE,
        ),
    ],
)
def test_stream(body: bytes, name: str, note: str, advice: str, well: Parley, mocked: Mocker) -> None:
    streams(mocked, body)
    assert seen(Checker(well.url)) == (name, note, advice)


def test_stream_that_is_refused(well: Parley, mocked: Mocker) -> None:
    mocked.get(re.compile("/stream$"), status_code=504, headers={"x-vercel-error": "FUNCTION_INVOCATION_TIMEOUT"})
    assert seen(Checker(well.url))[:2] == (
        "stream",
        "The function did not answer in its time (FUNCTION_INVOCATION_TIMEOUT).",
    )
    assert [session["active"] for session in sessions(well)] == [False]


def test_stream_that_is_out_of_reach(well: Parley, mocked: Mocker) -> None:
    mocked.get(re.compile("/stream$"), exc=requests.exceptions.ConnectTimeout())
    host = well.url.removeprefix("http://")
    assert seen(Checker(well.url)) == ("stream", f"No answer from {host} in time.", AGAIN)


def test_answer_that_is_not_refused(well: Parley, mocked: Mocker) -> None:
    again: dict[str, Any] = {"additional_matcher": lambda call: call.json()["result"] == "second"}
    mocked.post(re.compile("/responses$"), **again, status_code=201, json={"id": "check-1", "status": "answered"})
    failed = failure(Checker(well.url))
    assert failed.name == "answer"
    assert failed.note == "POST /api/sessions/{code}/responses answered 201."


def guests(mocked: Mocker, **answer: Any) -> None:
    """Let the mock answer the guest that waits."""
    mocked.post(re.compile("/requests$"), additional_matcher=lambda call: "Prefer" in call.headers, **answer)


def test_guest_whose_request_is_not_heard_of(well: Parley, mocked: Mocker, at_last: threading.Event) -> None:
    requests = b"".join(REQUEST.replace(b"1", str(number).encode()) for number in (1, 2, 3))
    streams(mocked, OPEN + requests, at_last, ENDED)
    when_ended(mocked, at_last)
    assert seen(Checker(well.url, patience=0.2)) == (
        "waiting guest",
        "No 'request' event within 0.2 s, though the stream is open.",
        NOT_RUNG,
    )


def test_guest_that_is_refused(well: Parley, mocked: Mocker) -> None:
    """The host would wait for the request in vain, and that is not what is wrong."""
    guests(mocked, **refusal(problems.RateLimited(7)))
    assert seen(Checker(well.url, patience=2)) == (
        "waiting guest",
        "rate_limited: this machine has called too often.",
        "Wait 7 s, then check again; the RATE_LIMIT_ variables set the limits.",
    )


def test_guest_whose_preference_is_lost(well: Parley, mocked: Mocker) -> None:
    def pending(call: Any, context: Any) -> str:
        context.status_code = 202
        return httpx.post(call.url, json=call.json()).text

    guests(mocked, text=pending)
    assert seen(Checker(well.url)) == (
        "waiting guest",
        "The waiting guest came back before the answer (202).",
        "See that nothing before the deployment drops the Prefer header, and look at the log of /api/requests.",
    )


def test_guest_that_is_not_woken(well: Parley, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = walk._beside

    def never(call: Callable[[], requests.Response]) -> "Future[requests.Response]":
        beside(call)
        return Future()

    monkeypatch.setattr(walk, "_beside", never)
    assert seen(Checker(well.url, patience=2)) == (
        "waiting guest",
        "The waiting guest did not have the answer within 2 s.",
        NOT_RUNG,
    )


def test_id_that_is_taken_twice(well: Parley, mocked: Mocker) -> None:
    other: dict[str, Any] = {"additional_matcher": lambda call: call.json()["payload"] == "other"}
    mocked.post(re.compile("/requests$"), **other, status_code=202, json={"id": "check-2", "status": "pending"})
    failed = failure(Checker(well.url))
    assert (failed.name, failed.note) == ("id conflict", "POST /api/sessions/{code}/requests answered 202.")


def test_session_that_goes_on(well: Parley, mocked: Mocker) -> None:
    late: dict[str, Any] = {"additional_matcher": lambda call: call.json()["id"] == "check-late"}
    mocked.post(re.compile("/requests$"), **late, status_code=202, json={})
    failed = failure(Checker(well.url))
    assert (failed.name, failed.note) == ("end", "POST /api/sessions/{code}/requests answered 202.")


def test_nothing_secret_is_told(well: Parley, mocked: Mocker) -> None:
    """Whatever answers may repeat what it was sent, and try to write to the terminal."""
    echo = problems.StoreNotConfigured("\x1b[31mgot my-bypass-secret\r\n")
    mocked.get(f"{well.url}/api/health", **refusal(echo))
    failed = failure(Checker(well.url, bypass="my-bypass-secret"))
    assert failed.note == "store_not_configured: [31mgot (secret)"


def test_the_token_is_not_told(well: Parley, mocked: Mocker) -> None:
    def repeat(call: Any, context: Any) -> Any:
        context.status_code = 409
        context.headers["Content-Type"] = "application/problem+json"
        return problems.IdConflict().body() | {"detail": call.headers["Authorization"]}

    mocked.patch(re.compile("/api/sessions/"), additional_matcher=is_renewal, json=repeat)
    assert failure(Checker(well.url)).note == ("PATCH /api/sessions/{code} answered 409 id_conflict: Bearer (secret)")


def is_renewal(call: Any) -> bool:
    return bool(call.headers.get("Authorization", "Bearer wrong") != "Bearer wrong")
