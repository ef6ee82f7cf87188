"""dev/check/: a deployment that is well passes, and what is wrong with another is told, with what to do."""

import io
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from socket import gaierror
from typing import Any

import httpx
import pytest
import requests
import trustme
from requests_mock import ANY, Mocker
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError, SSLError

from dev import __main__ as command
from dev.check import diagnosis, session
from dev.check.checker import CAPABILITIES, STEPS, Check, Checker
from dev.check.diagnosis import Diagnosis
from dev.local.deployment import local_store
from lib import problems
from lib.problems import Problem
from tests.support.checks import diagnosed, failure, found, refusal, try_only
from tests.support.commands import finished
from tests.support.deployments import Parley
from tests.support.tools import PROJECT

HOST = "parley.example"
URL = f"https://{HOST}"
HTML: dict[str, Any] = {
    "headers": {"Content-Type": "text/html; charset=utf-8"},
    "text": "<!doctype html><title>Log in</title>",
}
OPEN = b"id: 0-0\nevent: open\ndata: {}\n\n"
REQUEST = b'id: 1-0\nevent: request\ndata: {"id":"check-1","payload":1}\n\n'
HTTP = HTTPConnection("parley.example")
EVERYTHING = (
    "27 of 27 checks passed; works: sessions, push, waiting, tools, mcp, "
    "progress, changed list, cancelling, 1 MiB, pages, limits."
)
ENDED = b'id: 1-0\nevent: ended\ndata: {"reason":"ended"}\n\n'


def sessions(parley: Parley) -> list[dict[str, Any]]:
    """Return the records in the store."""
    texts = [parley.store.db.get(name) for name in parley.store.names("session:*")]
    return [json.loads(text) for text in texts if text]


def watch(mocked: Mocker, look: Callable[[Any], None]) -> None:
    """Look at every call that is made from now on, and let it through."""

    def matches(call: Any) -> bool:
        look(call)
        return False

    mocked.request(ANY, ANY, additional_matcher=matches)


def unreachable(reason: Exception) -> MaxRetryError:
    return MaxRetryError(HTTPConnectionPool("parley.example"), "/api/health", reason)


def unknown_name() -> NameResolutionError:
    """Return urllib3's error for a name that is not known, with the system's error as its cause."""
    cause = gaierror(-2, "Name or service not known")
    error = NameResolutionError(HOST, HTTP, cause)
    error.__cause__ = cause
    return error


def refused_connection() -> NewConnectionError:
    """Return urllib3's error for a port where nothing listens, with the system's error as its cause."""
    error = NewConnectionError(HTTP, "Failed to establish a new connection")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    return error


def untrusted() -> ssl.SSLCertVerificationError:
    """Return the error of the TLS library for a certificate that nobody known has signed."""
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1000)")
    error.reason, error.verify_message = "CERTIFICATE_VERIFY_FAILED", "self-signed certificate"
    return error


def test_a_deployment_that_is_well(well: Parley) -> None:
    checker = Checker(well.url, latency_limit=60_000)
    checker.run(lambda _: None)
    assert [(one.name, one.state) for one in checker.checks] == [(step.name, "ok") for step in STEPS]
    assert checker.ok
    assert checker.summary() == EVERYTHING
    assert [session["active"] for session in sessions(well)] == [False]
    assert well.store.names("re[qs]:*") == []


def test_an_interrupted_check_ends_its_session(well: Parley) -> None:
    def interrupt(one: Check) -> None:
        if one.name == "stream":
            assert [session["active"] for session in sessions(well)] == [True]
            raise KeyboardInterrupt

    checker = Checker(well.url, latency_limit=60_000)
    with pytest.raises(KeyboardInterrupt):
        checker.run(interrupt)
    assert [session["active"] for session in sessions(well)] == [False]
    assert not checker.ok


def test_an_interrupted_command_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Checker, "run", interrupted)
    monkeypatch.setattr("sys.argv", ["dev", "check", URL])
    assert command.main() == 1


def test_one_line_a_check(well: Parley) -> None:
    done = finished("check", f"{well.url}/")
    assert (done.returncode, done.stderr) == (0, "")
    *rows, empty, summary = done.stdout.splitlines()
    assert (empty, summary) == ("", EVERYTHING)
    for row, step in zip(rows, STEPS, strict=True):
        assert re.fullmatch(rf"ok    {step.name:<13}  (?=.{{8}}  \S) *\d+ ms  \S.*", row)


def test_lines_come_as_they_are_known(
    well: Parley, mocked: Mocker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[str] = []
    monkeypatch.setattr("sys.argv", ["dev", "check", well.url, "--latency", "1000"])
    watch(mocked, lambda call: printed.append(capsys.readouterr().out) if call.path == "/api/sessions" else None)
    assert command.main() == 0
    (before,) = printed
    assert [line[6:19].strip() for line in before.splitlines()] == [step.name for step in STEPS[:6]]


def test_json(well: Parley) -> None:
    done = finished("check", well.url, "--json", "--latency", "0.001")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    checks, capabilities = found.pop("checks"), found.pop("capabilities")
    told = {"environment": "development", "commit": None, "region": "local"}
    works = ", ".join(name for name in CAPABILITIES if name != "limits")
    summary = f"26 of 27 checks passed; works: {works}; does not work: limits."
    assert found == {"url": well.url, "ok": False, "summary": summary, **told}
    assert [one["name"] for one in checks] == [step.name for step in STEPS]
    assert all(one.keys() == {"name", "capability", "state", "ms", "note", "advice"} for one in checks)
    (failed,) = [one for one in checks if one["state"] != "ok"]
    assert (failed["name"], failed["capability"]) == ("store latency", "limits")
    assert all(isinstance(one["ms"], int) for one in checks)
    words = {name: failed[name] for name in ("name", "note", "advice")}
    well_done: dict[str, Any] = {"passed": True, "failed": [], "skipped": []}
    expected = dict.fromkeys(CAPABILITIES, well_done)
    assert capabilities == {**expected, "limits": {"passed": False, "failed": [words], "skipped": []}}


def test_a_failure_in_the_table() -> None:
    done = finished("check", "http://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (1, "")
    failed, advice, *skipped, empty, summary = done.stdout.splitlines()
    refused = diagnosis.REFUSED.fill(host="127.0.0.1:1")
    assert re.sub(r" +\d+ ms", "      T ms", failed) == f"FAIL  reachable      T ms  {refused.seen}"
    assert advice == f"      what to do: {refused.advice}"
    assert skipped[0] == "skip  health                   needs: reachable"
    assert len(skipped) == 26
    others = ", ".join(CAPABILITIES[1:])
    told = f"0 of 27 checks passed; does not work: sessions; not tried to the end: {others}."
    assert (empty, summary) == ("", told)


def test_every_step_is_documented() -> None:
    """The operator finds each step under its capability, in the order of the steps."""
    text = (PROJECT / "docs" / "operations.md").read_text("utf-8")
    chapter = text.partition("## Check a deployment\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", chapter, re.MULTILINE)
    steps = {name: [step.name for step in STEPS if step.capability == name] for name in CAPABILITIES}
    assert [(name, names.split(", ")) for name, names in listed] == list(steps.items())


def test_json_of_what_was_not_tried() -> None:
    """A step that could not be taken is no success, of its capability neither."""
    done = finished("check", "http://127.0.0.1:1", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert found["ok"] is False
    for name, one in found["capabilities"].items():
        steps = [step.name for step in STEPS if step.capability == name]
        assert one["passed"] is False
        assert [check["name"] for check in one["failed"]] + one["skipped"] == steps
        assert bool(one["failed"]) == (name == "sessions")


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
        "argument URL: give the address alone, with http:// or https://, such as https://parley.vercel.app"
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
    assert diagnosis.BYPASS_REFUSED.fill(status=401).seen in capsys.readouterr().out


def test_the_bypass_goes_with_every_call(well: Parley, mocked: Mocker) -> None:
    checker = Checker(well.url, latency_limit=60_000, bypass="hidden")
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
    checker = Checker(well.url, latency_limit=60_000)
    checker.run(lambda _: None)
    assert checker.ok


VERCEL = diagnosis.VERCEL_ERRORS
# By name: the answer to the first call, the diagnosis, and the evidence in its text.
REACHING: dict[str, tuple[dict[str, Any], Diagnosis, list[str]]] = {
    "protected": ({"status_code": 401} | HTML, diagnosis.PROTECTED.fill(status=401), ["401"]),
    "protected, with a redirect": (
        {"status_code": 302, "headers": {"Location": "https://vercel.com/sso-api?url=https%3A%2F%2Fparley.example"}},
        diagnosis.PROTECTED.fill(status=302),
        ["302"],
    ),
    "protected, for trusted addresses": (
        {"status_code": 403} | HTML,
        diagnosis.PROTECTED.fill(status=403),
        ["403"],
    ),
    "firewall": (
        {"status_code": 429, "headers": HTML["headers"] | {"x-vercel-mitigated": "challenge"}},
        diagnosis.FIREWALL.fill(mitigation="challenge"),
        ["challenge"],
    ),
    "no deployment": (
        {"status_code": 404, "headers": {"x-vercel-error": "DEPLOYMENT_NOT_FOUND"}},
        VERCEL["DEPLOYMENT_NOT_FOUND"],
        ["DEPLOYMENT_NOT_FOUND"],
    ),
    "no functions": (
        {
            "status_code": 404,
            "headers": {"Content-Type": "text/plain; charset=utf-8"},
            "text": "The page could not be found\n\nNOT_FOUND\n\nfra1::abcde-1\n",
        },
        VERCEL["NOT_FOUND"].fill(path="/api/health"),
        ["(NOT_FOUND)", "/api/health"],
    ),
    "crash": (
        {
            "status_code": 500,
            "headers": {"Content-Type": "text/plain; charset=utf-8"},
            "text": "A server error has occurred\n\nFUNCTION_INVOCATION_FAILED\n\nfra1::iad1::abcde-1\n",
        },
        VERCEL["FUNCTION_INVOCATION_FAILED"],
        ["FUNCTION_INVOCATION_FAILED"],
    ),
    "timeout": (
        {"status_code": 504, "headers": {"x-vercel-error": "FUNCTION_INVOCATION_TIMEOUT"}},
        VERCEL["FUNCTION_INVOCATION_TIMEOUT"],
        ["FUNCTION_INVOCATION_TIMEOUT"],
    ),
    "another error of Vercel's": (
        {"status_code": 402, "headers": {"x-vercel-error": "DEPLOYMENT_DISABLED"}},
        diagnosis.VERCEL_ERROR.fill(status=402, error="DEPLOYMENT_DISABLED"),
        ["402", "DEPLOYMENT_DISABLED"],
    ),
    "redirect": (
        {"status_code": 308, "headers": {"Location": "https://www.parley.example/api/health?x=1"}},
        diagnosis.REDIRECTS.fill(place="https://www.parley.example", status=308),
        ["308", "https://www.parley.example "],
    ),
    "no address to redirect to": (
        {"status_code": 308, "headers": {"Location": "https://[bad"}},
        diagnosis.BROKE_OFF.fill(host=HOST, error="ValueError"),
        [HOST, "ValueError"],
    ),
    "another service": (
        {"status_code": 200} | HTML,
        diagnosis.NOT_PARLEY.fill(answer="GET /api/health answered 200 with text/html"),
        ["200", "text/html"],
    ),
    "another API": (
        {"json": {"status": "ok"}, "headers": {"Content-Type": "application/json"}},
        diagnosis.NOT_PARLEY.fill(answer="GET /api/health answered 200 with application/json"),
        ["200", "application/json"],
    ),
    "another method": (
        {"status_code": 405},
        Diagnosis("GET /api/health answered 405.", diagnosis.OTHER_CODE),
        ["405"],
    ),
    "a gateway before it": (
        {"status_code": 502} | HTML,
        diagnosis.SERVER_ERROR.fill(answer="GET /api/health answered 502 with text/html"),
        ["502", "text/html"],
    ),
    "name": (
        {"exc": requests.ConnectionError(unreachable(unknown_name()))},
        diagnosis.UNKNOWN_HOST.fill(host=HOST),
        [HOST],
    ),
    "port": (
        {"exc": requests.ConnectionError(unreachable(refused_connection()))},
        diagnosis.REFUSED.fill(host=HOST),
        [HOST],
    ),
    "certificate": (
        {"exc": requests.exceptions.SSLError(unreachable(SSLError(untrusted())))},
        diagnosis.TLS_FAILS.fill(host=HOST, reason="certificate verify failed: self-signed certificate"),
        [HOST, "self-signed certificate"],
    ),
    "proxy": (
        {"exc": requests.exceptions.ProxyError("Cannot connect to proxy.")},
        diagnosis.PROXY_FAILS.fill(host=HOST),
        [HOST],
    ),
    "silence": ({"exc": requests.exceptions.ReadTimeout()}, diagnosis.NO_ANSWER.fill(host=HOST), [HOST]),
    "break": (
        {"exc": requests.ConnectionError("Connection aborted.")},
        diagnosis.BROKE_OFF.fill(host=HOST, error="ConnectionError"),
        [HOST, "ConnectionError"],
    ),
}


def test_no_two_cases_are_told_alike() -> None:
    """Each case has a diagnosis of its own, so that a wrong one is noticed."""
    told = [expected for _, expected, _ in REACHING.values()]
    assert len(set(told)) == len(told)
    assert len({expected.advice for expected in VERCEL.values()}) == len(VERCEL)


@pytest.mark.parametrize("name", REACHING)
def test_not_reachable(name: str, requests_mock: Mocker) -> None:
    answer, expected, evidence = REACHING[name]
    requests_mock.get(f"{URL}/api/health", **answer)
    diagnosed(Checker(URL), "reachable", expected, *evidence)
    assert requests_mock.call_count == 1


def test_certificate_that_nobody_knows(tmp_path: Path) -> None:
    """As the TLS library reports it, through urllib3 and requests."""
    certificate = tmp_path / "server.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    with local_store(None, certificate=certificate) as there:
        host = there.url.removeprefix("https://")
        reason = "certificate verify failed: unable to get local issuer certificate"
        diagnosed(Checker(there.url), "reachable", diagnosis.TLS_FAILS.fill(host=host, reason=reason), host)


@pytest.mark.parametrize("name", ["protected", "protected, with a redirect", "protected, for trusted addresses"])
def test_bypass_refused(name: str, requests_mock: Mocker) -> None:
    answer = REACHING[name][0]
    status = answer["status_code"]
    requests_mock.get(f"{URL}/api/health", **answer)
    diagnosed(Checker(URL, "hidden"), "reachable", diagnosis.BYPASS_REFUSED.fill(status=status), str(status))


def test_advice_names_what_to_set() -> None:
    """What an operator has to type or click is in the advice, to the letter."""
    for text, names in (
        (
            diagnosis.PROTECTED.advice,
            ["Protection Bypass for Automation", 'ARGS="--bypass SECRET"', "VERCEL_AUTOMATION_BYPASS_SECRET"],
        ),
        (diagnosis.BYPASS_REFUSED.advice, ["Protection Bypass for Automation"]),
        (diagnosis.TLS_FAILS.advice, ["REQUESTS_CA_BUNDLE"]),
        (diagnosis.PROXY_FAILS.advice, ["HTTPS_PROXY", "NO_PROXY"]),
        (diagnosis.REFUSED.advice, ["make dev"]),
        (diagnosis.NO_HEADERS, ["vercel.json"]),
        (diagnosis.BUFFERED, ["text/event-stream"]),
        (diagnosis.NOT_NOTIFIED, ["SUBSCRIBE", "PUBLISH", "/api/stream"]),
        (diagnosis.NOT_WAITED.advice, ["Prefer", "/api/requests"]),
        (diagnosis.READ_ONLY_TOKEN.advice, ["KV_REST_API_TOKEN", "UPSTASH_REDIS_REST_TOKEN"]),
        (diagnosis.NOT_RENEWED.advice, ["SESSION_MAX_SECONDS", "SESSION_TTL_SECONDS"]),
        (diagnosis.RATE_LIMITED.advice, ["{seconds}", "RATE_LIMIT_"]),
        (diagnosis.REDIRECTS.advice, ["make check URL={place}"]),
        (diagnosis.VERCEL_ERROR.advice, ["https://vercel.com/docs/errors/{error}"]),
        (diagnosis.STORE_FAR_AWAY.advice, ["--latency"]),
        (diagnosis.PROBLEMS["store_unauthorized"], ["KV_REST_API_TOKEN", "UPSTASH_REDIS_REST_TOKEN"]),
        (diagnosis.PROBLEMS["store_unavailable"], ["KV_REST_API_URL", "UPSTASH_REDIS_REST_URL"]),
    ):
        assert [name for name in names if name not in text] == [], text


MISSING = "Set the environment variable KV_REST_API_TOKEN as well."
STORE: list[Problem] = [
    problems.StoreNotConfigured(MISSING),
    problems.StoreUnauthorized("WRONGPASS"),
    problems.StoreUnavailable("ConnectError"),
    problems.StoreQuotaExceeded("ERR max requests limit exceeded"),
    problems.InternalError(),
]


@pytest.mark.parametrize("problem", STORE, ids=[problem.code for problem in STORE])
def test_store(problem: Problem, well: Parley, mocked: Mocker) -> None:
    """What does not need the store is checked all the same."""
    mocked.get(f"{well.url}/api/health", **refusal(problem))
    checker = Checker(well.url, latency_limit=60_000)
    expected = Diagnosis(f"{problem.code}: {problem.detail}", diagnosis.PROBLEMS[problem.code])
    diagnosed(checker, "health", expected)
    assert [one.name for one in checker.checks if one.state == "ok"] == [
        *("reachable", "pages", "preflight", "MCP access")
    ]


def test_every_problem_has_advice_of_its_own() -> None:
    assert diagnosis.PROBLEMS.keys() == {problem.code for problem in STORE}
    assert len(set(diagnosis.PROBLEMS.values())) == len(STORE)


def test_read_only_token(well: Parley, mocked: Mocker) -> None:
    mocked.get(f"{well.url}/api/health?deep=1", **refusal(problems.StoreUnauthorized("NOPERM")))
    diagnosed(Checker(well.url, latency_limit=60_000), "deep health", diagnosis.READ_ONLY_TOKEN, "store_unauthorized")
    assert sessions(well) == []


@pytest.mark.parametrize(
    ("platform_id", "region"),
    [("fra1::iad1::abcde-1", "iad1"), ("iad1::abcde-1", "iad1"), ("abcde-1", "unknown"), ("", "unknown")],
)
def test_store_in_another_region(platform_id: str, region: str, requests_mock: Mocker) -> None:
    """The least of what was measured counts: the first one may hold the connection that was made."""
    answers: list[dict[str, Any]] = [
        {"json": {"status": "ok", "store": {"latencyMs": ms}}} for ms in (0.5, 0.5, 0.5, 200.0, 96.4, 90.6, 91)
    ]
    for one in answers:
        one["headers"] = {"x-vercel-id": platform_id}
    requests_mock.request(ANY, ANY, status_code=404)
    requests_mock.get(f"{URL}/api/health", answers)
    checker = Checker(URL)
    checker.run(lambda _: None)
    (latency,) = [one for one in checker.checks if one.name == "store latency"]
    expected = diagnosis.STORE_FAR_AWAY.fill(ms=90.6, limit=50, region=region)
    assert (latency.state, latency.note, latency.advice) == ("FAIL", *expected)
    assert all(part in latency.note for part in ("90.6 ms", region, "50 ms"))


SAFE, SHARED = {"Content-Security-Policy": "x"}, {"Access-Control-Allow-Origin": "*"}


@pytest.mark.parametrize(
    ("path", "kind", "headers", "evidence"),
    [
        ("/", "", SAFE, ["/ is of no type", "text/html"]),
        ("/", "text/html", {}, ["/ has no Content-Security-Policy"]),
        ("/demo.html", "text/plain", SAFE, ["/demo.html is text/plain", "text/html"]),
        ("/problems.html", "text/html", {}, ["/problems.html has no Content-Security-Policy"]),
        ("/relay.js", "text/javascript", {}, ["/relay.js has no Access-Control-Allow-Origin"]),
        ("/relay.js", "text/html", SHARED, ["/relay.js is text/html", "text/javascript"]),
        ("/relay.d.ts", "video/mp2t", SHARED, ["/relay.d.ts is video/mp2t", "text/plain"]),
        ("/relay.py", "application/octet-stream", SHARED, ["/relay.py is application/octet-stream", "text/x-python"]),
        ("/openapi.json", "application/json", {}, ["/openapi.json has no Access-Control-Allow-Origin"]),
    ],
)
def test_pages(
    path: str,
    kind: str,
    headers: dict[str, str],
    evidence: list[str],
    well: Parley,
    mocked: Mocker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try_only("pages", monkeypatch)
    mocked.get(f"{well.url}{path}", headers={"Content-Type": kind, **headers})
    checker = Checker(well.url, latency_limit=60_000)
    found(checker, "pages", diagnosis.NO_HEADERS, *evidence)
    (pages,) = [one for one in checker.checks if one.name == "pages"]
    assert ";" not in pages.note, "nothing else is wrong with it"


def test_script_of_another_type(well: Parley, mocked: Mocker) -> None:
    """Vercel's own type of it has changed before."""
    mocked.get(f"{well.url}/relay.js", headers={"Content-Type": "application/javascript; charset=utf-8", **SHARED})
    checker = Checker(well.url, latency_limit=60_000)
    checker.run(lambda _: None)
    assert checker.ok


@pytest.mark.parametrize(
    "path", ["/", "/demo.html", "/problems.html", "/relay.js", "/relay.d.ts", "/relay.py", "/openapi.json"]
)
def test_page_that_is_missing(path: str, well: Parley, mocked: Mocker, monkeypatch: pytest.MonkeyPatch) -> None:
    try_only("pages", monkeypatch)
    mocked.get(f"{well.url}{path}", status_code=404, headers={"x-vercel-error": "NOT_FOUND"})
    diagnosed(Checker(well.url, latency_limit=60_000), "pages", VERCEL["NOT_FOUND"].fill(path=path), path)


def test_rate_limited(well: Parley, mocked: Mocker) -> None:
    mocked.post(f"{well.url}/api/sessions", **refusal(problems.RateLimited(42)))
    expected = diagnosis.RATE_LIMITED.fill(seconds=42)
    diagnosed(Checker(well.url, latency_limit=60_000), "session", expected, "rate_limited")
    assert "42 s" in expected.advice


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
    ("change", "headers", "evidence"),
    [
        ({"code": "abc12345"}, {}, ["lacks a code, a token or a time to live"]),
        ({"token": None}, {}, ["lacks a code, a token or a time to live"]),
        ({}, {"Location": "/"}, ["Location"]),
        ({}, {"Cache-Control": "public"}, ["Cache-Control", "no-store"]),
        ({"ttl": 60}, {}, ["ttl is 60 s", "expiresAt is 600 s"]),
        ({"expiresAt": "soon"}, {}, ["not both times in ISO 8601"]),
    ],
)
def test_session(
    change: dict[str, Any], headers: dict[str, str], evidence: list[str], well: Parley, mocked: Mocker
) -> None:
    mocked.post(f"{well.url}/api/sessions", status_code=201, json=SESSION | change, headers=CREATED | headers)
    found(Checker(well.url, latency_limit=60_000), "session", diagnosis.OTHER_CODE, *evidence)


def test_session_that_tells_its_token(well: Parley, mocked: Mocker) -> None:
    mocked.post(f"{well.url}/api/sessions", status_code=201, json=SESSION, headers=CREATED)
    mocked.get(f"{well.url}/api/sessions/ABC12345", json=SESSION)
    checker = Checker(well.url, latency_limit=60_000)
    checker.run(lambda _: None)
    read = next(one for one in checker.checks if one.name == "read")
    assert (read.state, read.advice) == ("FAIL", diagnosis.OTHER_CODE)
    assert "its token" in read.note


def test_token_that_a_proxy_strips(well: Parley, mocked: Mocker) -> None:
    strips: dict[str, Any] = {"request_headers": {"Authorization": "Bearer wrong"}}
    mocked.patch(re.compile("/api/sessions/"), **strips, **refusal(problems.HostTokenRequired()))
    diagnosed(
        Checker(well.url, latency_limit=60_000),
        "token",
        diagnosis.TOKEN_REMOVED,
        "host_token_required",
        "Authorization",
    )


def test_token_that_is_not_looked_at(well: Parley, mocked: Mocker) -> None:
    mocked.patch(re.compile("/api/sessions/"), request_headers={"Authorization": "Bearer wrong"}, json={})
    expected = Diagnosis("PATCH /api/sessions/{code} answered 200.", diagnosis.OTHER_CODE)
    diagnosed(Checker(well.url, latency_limit=60_000), "token", expected)


def test_renewal_that_gives_no_time(well: Parley, mocked: Mocker) -> None:
    mocked.patch(re.compile("/api/sessions/"), additional_matcher=is_renewal, json=SESSION)
    diagnosed(Checker(well.url, latency_limit=60_000), "renewal", diagnosis.NOT_RENEWED, "expiresAt")


@pytest.mark.parametrize(
    ("headers", "evidence"),
    [
        ({}, ["Access-Control-Allow-Origin"]),
        (
            {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, OPTIONS"},
            ["Access-Control-Allow-Methods", "PATCH"],
        ),
        (
            {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "GET, PATCH"},
            ["Access-Control-Allow-Headers", "Authorization"],
        ),
    ],
)
def test_preflight(headers: dict[str, str], evidence: list[str], well: Parley, mocked: Mocker) -> None:
    mocked.options(re.compile("/api/sessions/"), status_code=204, headers=headers)
    found(Checker(well.url, latency_limit=60_000), "preflight", diagnosis.NO_HEADERS, *evidence)


def test_preflight_for_one_origin(well: Parley, mocked: Mocker) -> None:
    allowed = {"Origin": "https://app.example", "Methods": "PATCH", "Headers": "authorization"}
    headers = {f"Access-Control-Allow-{name}": value for name, value in allowed.items()}
    mocked.options(re.compile("/api/sessions/"), status_code=204, headers=headers)
    checker = Checker(well.url, latency_limit=60_000)
    checker.run(lambda _: None)
    assert "for pages of https://app.example alone" in [one.note for one in checker.checks]


class Slow(io.RawIOBase):
    """A body that comes in parts; where there is an event among them, it has to happen before the rest comes."""

    def __init__(self, *parts: bytes | threading.Event) -> None:
        self._parts = list(parts)

    def readable(self) -> bool:
        return True

    def read1(self, _: int) -> bytes:
        return self.read(1) or b""

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
    ends = re.compile(r"/api/sessions/\w+")  # which the mock has in lower case
    watch(mocked, lambda call: event.set() if call.method == "DELETE" and ends.fullmatch(call.path) else None)


def streams(mocked: Mocker, *parts: bytes | threading.Event) -> None:
    mocked.get(re.compile("/stream$"), headers={"Content-Type": "text/event-stream"}, body=Slow(*parts))


def test_proxy_that_swallows_the_stream(well: Parley, mocked: Mocker, at_last: threading.Event) -> None:
    streams(mocked, at_last)
    expected = diagnosis.SILENT.fill(event="open", seconds=0.2)
    diagnosed(Checker(well.url, latency_limit=60_000, patience=0.2), "stream", expected, "'open'", "0.2 s")
    assert [session["active"] for session in sessions(well)] == [False]


def test_proxy_that_holds_the_stream_until_it_ends(well: Parley, mocked: Mocker, at_last: threading.Event) -> None:
    streams(mocked, at_last, OPEN + ENDED)
    when_ended(mocked, at_last)
    expected = diagnosis.HELD_BACK.fill(event="open", seconds=0.2, count=2)
    diagnosed(Checker(well.url, latency_limit=60_000, patience=0.2), "stream", expected, "'open'", "0.2 s", "2 events")


def test_proxy_that_holds_the_requests(well: Parley, mocked: Mocker, at_last: threading.Event) -> None:
    streams(mocked, OPEN, at_last, REQUEST + ENDED)
    when_ended(mocked, at_last)
    expected = diagnosis.HELD_BACK.fill(event="request", seconds=0.2, count=2)
    diagnosed(Checker(well.url, latency_limit=60_000, patience=0.2), "push", expected, "'request'", "0.2 s", "2 events")
    assert [session["active"] for session in sessions(well)] == [False]


def test_functions_that_do_not_hear(well: Parley, mocked: Mocker, at_last: threading.Event) -> None:
    streams(mocked, OPEN, at_last, ENDED)
    when_ended(mocked, at_last)
    expected = diagnosis.NO_EVENT.fill(event="request", seconds=0.2)
    diagnosed(Checker(well.url, latency_limit=60_000, patience=0.2), "push", expected, "'request'", "0.2 s")


@pytest.mark.parametrize(
    ("body", "name", "advice", "evidence"),
    [
        (b"", "stream", diagnosis.STREAM_ENDED.advice, [diagnosis.STREAM_ENDED.seen]),
        (b": hello\n\n" + OPEN, "push", diagnosis.STREAM_ENDED.advice, [diagnosis.STREAM_ENDED.seen]),
        (REQUEST, "stream", diagnosis.OTHER_CODE, ["'request'", "'open'"]),
        (OPEN + REQUEST.replace(b"check-1", b"another"), "push", diagnosis.OTHER_CODE, ["another request"]),
        (OPEN.replace(b"{}", b"[]"), "stream", diagnosis.OTHER_CODE, ["not a server-sent event with JSON"]),
        (OPEN.replace(b"id: 0-0\n", b""), "stream", diagnosis.OTHER_CODE, ["not a server-sent event with JSON"]),
    ],
)
def test_stream(body: bytes, name: str, advice: str, evidence: list[str], well: Parley, mocked: Mocker) -> None:
    streams(mocked, body)
    found(Checker(well.url, latency_limit=60_000), name, advice, *evidence)


def test_stream_that_is_refused(well: Parley, mocked: Mocker) -> None:
    mocked.get(re.compile("/stream$"), status_code=504, headers={"x-vercel-error": "FUNCTION_INVOCATION_TIMEOUT"})
    diagnosed(
        Checker(well.url, latency_limit=60_000),
        "stream",
        VERCEL["FUNCTION_INVOCATION_TIMEOUT"],
        "FUNCTION_INVOCATION_TIMEOUT",
    )
    assert [session["active"] for session in sessions(well)] == [False]


def test_stream_that_is_out_of_reach(well: Parley, mocked: Mocker) -> None:
    mocked.get(re.compile("/stream$"), exc=requests.exceptions.ConnectTimeout())
    host = well.url.removeprefix("http://")
    diagnosed(Checker(well.url, latency_limit=60_000), "stream", diagnosis.NO_ANSWER.fill(host=host), host)


def test_answer_that_is_not_refused(well: Parley, mocked: Mocker) -> None:
    again: dict[str, Any] = {"additional_matcher": lambda call: call.json()["result"] == "second"}
    mocked.post(re.compile("/responses$"), **again, status_code=201, json={"id": "check-1", "status": "answered"})
    found(
        Checker(well.url, latency_limit=60_000),
        "answer",
        diagnosis.OTHER_CODE,
        "POST /api/sessions/{code}/responses",
        "201",
    )


def guests(mocked: Mocker, **answer: Any) -> None:
    """Let the mock answer the guest that waits."""
    mocked.post(re.compile("/requests$"), additional_matcher=lambda call: "Prefer" in call.headers, **answer)


def test_guest_whose_request_is_not_heard_of(well: Parley, mocked: Mocker, at_last: threading.Event) -> None:
    requests = b"".join(REQUEST.replace(b"1", str(number).encode()) for number in (1, 2, 3))
    streams(mocked, OPEN + requests, at_last, ENDED)
    when_ended(mocked, at_last)
    expected = diagnosis.NO_EVENT.fill(event="request", seconds=0.2)
    diagnosed(Checker(well.url, latency_limit=60_000, patience=0.2), "waiting guest", expected, "'request'", "0.2 s")


def test_guest_that_is_refused(well: Parley, mocked: Mocker) -> None:
    """The host would wait for the request in vain, and that is not what is wrong."""
    guests(mocked, **refusal(problems.RateLimited(7)))
    diagnosed(
        Checker(well.url, latency_limit=60_000, patience=1),
        "waiting guest",
        diagnosis.RATE_LIMITED.fill(seconds=7),
        "rate_limited",
    )


def test_guest_whose_preference_is_lost(well: Parley, mocked: Mocker) -> None:
    def pending(call: Any, context: Any) -> str:
        context.status_code = 202
        return httpx.post(call.url, json=call.json()).text

    guests(mocked, text=pending)
    diagnosed(Checker(well.url, latency_limit=60_000), "waiting guest", diagnosis.NOT_WAITED, "202")


def test_guest_that_is_not_woken(well: Parley, monkeypatch: pytest.MonkeyPatch) -> None:
    start = session._start

    def never(call: Callable[[], Any]) -> "Future[Any]":
        monkeypatch.setattr(session, "_start", start)
        start(call)
        return Future()

    monkeypatch.setattr(session, "_start", never)
    diagnosed(
        Checker(well.url, latency_limit=60_000, patience=1), "waiting guest", diagnosis.NOT_WOKEN.fill(seconds=1), "1 s"
    )


def test_proxy_that_refuses_large_requests(well: Parley, mocked: Mocker) -> None:
    large: dict[str, Any] = {"additional_matcher": lambda call: len(call.body) > 1024 * 1024}
    mocked.post(re.compile("/requests$"), **large, status_code=413, **HTML)
    checker = Checker(well.url, latency_limit=60_000, patience=1)
    diagnosed(checker, "1 MiB", diagnosis.BODY_REFUSED, "1 MiB", "413")


def test_id_that_is_taken_twice(well: Parley, mocked: Mocker) -> None:
    other: dict[str, Any] = {"additional_matcher": lambda call: call.json()["payload"] == "other"}
    mocked.post(re.compile("/requests$"), **other, status_code=202, json={"id": "check-2", "status": "pending"})
    found(
        Checker(well.url, latency_limit=60_000),
        "id conflict",
        diagnosis.OTHER_CODE,
        "POST /api/sessions/{code}/requests",
        "202",
    )


def test_session_that_goes_on(well: Parley, mocked: Mocker) -> None:
    late: dict[str, Any] = {"additional_matcher": lambda call: call.json()["id"] == "check-late"}
    mocked.post(re.compile("/requests$"), **late, status_code=202, json={})
    found(
        Checker(well.url, latency_limit=60_000),
        "end",
        diagnosis.OTHER_CODE,
        "POST /api/sessions/{code}/requests",
        "202",
    )


def test_nothing_secret_is_told(well: Parley, mocked: Mocker) -> None:
    """Whatever answers may repeat what it was sent, and try to write to the terminal."""
    echo = problems.StoreNotConfigured("\x1b[31mgot my-bypass-secret\r\n")
    mocked.get(f"{well.url}/api/health", **refusal(echo))
    failed = failure(Checker(well.url, latency_limit=60_000, bypass="my-bypass-secret"))
    assert failed.note == "store_not_configured: [31mgot (secret)"


def test_the_token_is_not_told(well: Parley, mocked: Mocker) -> None:
    def repeat(call: Any, context: Any) -> Any:
        context.status_code = 409
        context.headers["Content-Type"] = "application/problem+json"
        return problems.IdConflict().body() | {"detail": call.headers["Authorization"]}

    mocked.patch(re.compile("/api/sessions/"), additional_matcher=is_renewal, json=repeat)
    assert failure(Checker(well.url, latency_limit=60_000)).note == (
        "PATCH /api/sessions/{code} answered 409 id_conflict: Bearer (secret)"
    )


def is_renewal(call: Any) -> bool:
    return bool(call.headers.get("Authorization", "Bearer wrong") != "Bearer wrong")
