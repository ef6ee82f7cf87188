"""dev/check/: each fault in tools, MCP or limits makes its capability fail, and no other."""

import io
import json
import re
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import pytest
import requests
from requests import PreparedRequest, Response
from requests_mock import Mocker

from dev.check import diagnosis
from dev.check.agent import LEGACY, MODERN
from dev.check.checker import STEPS, Checker
from dev.check.diagnosis import Diagnosis
from lib import problems
from tests.support.checks import diagnosed, failure, found, try_only
from tests.support.deployments import Parley, deployed, running_parley
from tests.support.stores import running_store

# A fault of each step of the checker takes a tenth of the time of all tests. tests/dev/test_check.py tries the checker.
pytestmark = pytest.mark.long

type Change = Callable[[Response], None]


class Call(NamedTuple):
    """Which calls: of a method and a path, of MCP those of one of its methods and in one version, `""` for any."""

    method: str
    path: str
    rpc: str = ""
    version: str = ""

    def is_made_by(self, request: PreparedRequest) -> bool:
        """Tell whether the request is such a call."""
        path = (request.path_url or "").partition("?")[0]
        told = json.loads(request.body or "{}") if self.rpc else {}
        return (
            request.method == self.method
            and re.fullmatch(self.path, path) is not None
            and told.get("method", "") == self.rpc
            and request.headers.get("MCP-Protocol-Version", "").startswith(self.version)
        )


SERVER, FIXED = "/mcp/[0-9A-Z]{8}", "/mcp"
TOOLS = "/api/sessions/[^/]+/tools"


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Callable[[Call, Change], None]:
    """Give a function that changes the answers to some calls, as a deployment with a fault would answer."""
    send = requests.Session.send

    def make(which: Call, change: Change) -> None:
        def sent(self: requests.Session, request: PreparedRequest, **options: Any) -> Response:
            answer = send(self, request, **options)
            if which.is_made_by(request) and not options["stream"]:
                change(answer)
            return answer

        monkeypatch.setattr(requests.Session, "send", sent)

    return make


def status(number: int) -> Change:
    def change(answer: Response) -> None:
        answer.status_code = number

    return change


def header(name: str, value: str = "") -> Change:
    """Give the header another value, or take it away."""

    def change(answer: Response) -> None:
        answer.headers.pop(name, None)
        if value:
            answer.headers[name] = value

    return change


def text(new: str) -> Change:
    def change(answer: Response) -> None:
        answer._content = new.encode()

    return change


def member(path: str, value: object) -> Change:
    """Give a member of the JSON in the answer, which may be a few levels deep, another value."""

    def change(answer: Response) -> None:
        told = place = answer.json()
        *way, last = [int(name) if name.isdigit() else name for name in path.split(".")]
        for name in way:
            place = place[name]
        place[last] = value
        answer._content = json.dumps(told).encode()

    return change


def html(answer: Response) -> None:
    """Answer as a page that takes every path does."""
    answer.headers["Content-Type"] = "text/html"
    answer._content = b"<!doctype html>"


def refused(problem: problems.Problem) -> Change:
    """Answer a call of MCP with this problem."""

    def change(answer: Response) -> None:
        error = {"code": problem.status, "message": problem.title, "data": problem.body()}
        answer._content = json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}).encode()

    return change


def only(part: str, change: Change) -> Change:
    """Change the answers in whose status or body this part is."""
    return lambda answer: change(answer) if part in f"{answer.status_code} {answer.text}" else None


def from_the(number: int, change: Change) -> Change:
    """Change this one of the answers, counted from 1, and those after it."""
    seen = count(1)
    return lambda answer: change(answer) if next(seen) >= number else None


ERROR = '{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"There is no method."}}'
# The step that finds it, the calls that are answered wrongly, how, and what is told of it.
FAULTS: dict[str, tuple[str, Call, Change, list[str]]] = {
    "tools without a token": (
        "tools",
        Call("PUT", TOOLS),
        only("401", status(204)),
        ["PUT", "{code}/tools answered 204"],
    ),
    "tools that are lost": ("tools", Call("GET", TOOLS), text('{"tools":[]}'), ["not read as they were registered"]),
    "tools that stay": ("tools", Call("GET", TOOLS), member("tools", [{"name": "old"}]), ["not read as"]),
    "tools that are not there": ("tools", Call("GET", TOOLS), status(404), ["answered 404"]),
    "GET at the session's": ("MCP access", Call("GET", SERVER), status(200), ["GET /mcp/{code} answered 200"]),
    "GET at the fixed one": ("MCP access", Call("GET", FIXED), status(200), ["GET /mcp answered 200"]),
    "DELETE": ("MCP access", Call("DELETE", SERVER), status(204), ["DELETE /mcp/{code} answered 204"]),
    "no Allow": ("MCP access", Call("GET", FIXED), header("Allow"), ["GET /mcp: Allow lacks POST."]),
    "preflight for another method": (
        "MCP access",
        Call("OPTIONS", SERVER),
        header("Access-Control-Allow-Methods", "GET"),
        ["Access-Control-Allow-Methods lacks POST."],
    ),
    "preflight without its headers": (
        "MCP access",
        Call("OPTIONS", FIXED),
        header("Access-Control-Allow-Headers", "content-type, mcp-method, mcp-name"),
        ["Access-Control-Allow-Headers lacks MCP-Protocol-Version."],
    ),
    "no origin": (
        "MCP access",
        Call("POST", FIXED, "server/discover"),
        header("Access-Control-Allow-Origin"),
        ["Access-Control-Allow-Origin of an answer is not that of the preflight's."],
    ),
    "answers that are kept": (
        "MCP access",
        Call("POST", SERVER, "server/discover"),
        header("Cache-Control", "public"),
        ["Cache-Control is not no-store."],
    ),
    "no modern era": (
        "MCP start",
        Call("POST", SERVER, "server/discover"),
        member("result.supportedVersions", ["2099-01-01"]),
        ["server/discover: supportedVersions lacks 2026-07-28."],
    ),
    "a result without its type": (
        "MCP start",
        Call("POST", FIXED, "server/discover"),
        member("result.resultType", None),
        ["server/discover, 2026-07-28: resultType is null."],
    ),
    "no legacy era": ("MCP start", Call("POST", FIXED, "initialize"), text(ERROR), ["initialize", "-32601"]),
    "another version": (
        "MCP start",
        Call("POST", SERVER, "initialize"),
        member("result.protocolVersion", "2025-03-26"),
        ['initialize, 2025-11-25: protocolVersion is "2025-03-26".'],
    ),
    "another capability": (
        "MCP start",
        Call("POST", SERVER, "initialize"),
        member("result.capabilities", {}),
        ["capabilities is {}."],
    ),
    "no start without a session": (
        "MCP start",
        Call("POST", SERVER, "server/discover"),
        from_the(3, refused(problems.SessionNotFound())),
        ["server/discover, 2026-07-28", "session_not_found"],
    ),
    **{
        f"no {name}": ("MCP start", Call("POST", SERVER, method), member(f"result.{name}", None), [f"{name} is null."])
        for method, name in (
            ("server/discover", "instructions"),
            ("server/discover", "ttlMs"),
            ("server/discover", "cacheScope"),
            ("initialize", "serverInfo"),
        )
    },
    "no notifications": (
        "MCP start",
        Call("POST", SERVER, "notifications/initialized"),
        status(200),
        ["notifications/initialized", "answered 200"],
    ),
    "no ping": ("MCP start", Call("POST", FIXED, "ping"), status(404), ["ping, 2025-11-25", "404"]),
    "an id of another": ("MCP start", Call("POST", FIXED, "ping"), member("id", 2), ["no JSON-RPC with a result"]),
    "a page in place of it": (
        "MCP list",
        Call("POST", SERVER, "tools/list", MODERN),
        only("check.add", html),
        ["text/html"],
    ),
    "a list without schemas": (
        "MCP list",
        Call("POST", SERVER, "tools/list", LEGACY),
        member("result.tools", [{"name": "check.add"}]),
        ["tools/list, 2025-11-25: tools is"],
    ),
    "other fixed tools": (
        "MCP list",
        Call("POST", FIXED, "tools/list"),
        member("result.tools", [{"name": "list_tools"}]),
        ["/mcp has other tools than list_tools, call_tool, send_request."],
    ),
    "tools that cannot be listed by code": (
        "MCP list",
        Call("POST", FIXED, "tools/call"),
        only('"structuredContent":{"tools"', member("result.structuredContent", {"tools": []})),
        ["tools/call, 2026-07-28: structuredContent is"],
    ),
    "a list by code that is an error": (
        "MCP list",
        Call("POST", FIXED, "tools/call"),
        only('"structuredContent":{"tools"', member("result.isError", True)),
        ["tools/call, 2026-07-28: isError is true."],
    ),
    "no tool at all": ("MCP list", Call("POST", FIXED, "tools/list"), member("result.tools", None), ["tools is null"]),
    "a limit": (
        "MCP list",
        Call("POST", SERVER, "tools/list", MODERN),
        only("check.add", refused(problems.RateLimited(7))),
        ["tools/list, 2026-07-28: rate_limited"],
    ),
    "any code will do": (
        "MCP codes",
        Call("POST", "/mcp/nothing", "tools/list"),
        status(200),
        ["tools/list, 2026-07-28", "answered 200 invalid_code"],
    ),
    "an error of no status": (
        "MCP codes",
        Call("POST", "/mcp/nothing", "tools/list"),
        member("error.code", -32000),
        ["The error's code is not the status of its problem."],
    ),
    "a call that fails without words": (
        "MCP codes",
        Call("POST", SERVER, "tools/call", MODERN),
        only('"isError":true', member("result.content", [])),
        ["A call with an unknown code has no text that says so."],
    ),
    "a call by code that succeeds without a session": (
        "MCP codes",
        Call("POST", FIXED, "tools/call", MODERN),
        only('"isError":true', member("result.isError", False)),
        ["tools/call, 2026-07-28: isError is false."],
    ),
    "a list without a session": (
        "MCP codes",
        Call("POST", SERVER, "tools/list", MODERN),
        only("404", text('{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}')),
        ["tools/list, 2026-07-28", "answered 200"],
    ),
    "a call that succeeds without a session": (
        "MCP codes",
        Call("POST", SERVER, "tools/call", MODERN),
        only('"isError":true', member("result.isError", False)),
        ["tools/call, 2026-07-28: isError is false."],
    ),
    "a call that loses its structure": (
        "MCP call",
        Call("POST", SERVER, "tools/call", LEGACY),
        member("result.structuredContent", None),
        ["tools/call, 2025-11-25: structuredContent is null."],
    ),
    "a call that loses its content": (
        "MCP call",
        Call("POST", SERVER, "tools/call", LEGACY),
        member("result.content.0.text", "6"),
        ["tools/call, 2025-11-25: content is", "6"],
    ),
    "a call that fails": (
        "MCP call",
        Call("POST", SERVER, "tools/call", LEGACY),
        member("result.isError", True),
        ["tools/call, 2025-11-25: isError is true."],
    ),
    "a call by code that loses its content": (
        "MCP call",
        Call("POST", FIXED, "tools/call", MODERN),
        only('{"sum"', member("result.content", [])),
        ["tools/call, 2026-07-28: content is []."],
    ),
    "a request that gets something else": (
        "MCP call",
        Call("POST", FIXED, "tools/call", LEGACY),
        only('"text":"!"', member("result.content.0.text", "?")),
        ["tools/call, 2025-11-25: content is"],
    ),
    "a large message that is cut": (
        "1 MiB",
        Call("POST", "/api/sessions/[^/]+/requests"),
        only("x" * 1024, member("result", "x" * 1024)),
        ["something else than the answer"],
    ),
    "messages of any size": (
        "limits",
        Call("POST", "/api/sessions/[^/]+/responses"),
        only("413", status(201)),
        ["responses answered 201"],
    ),
    "any number of tools": (
        "limits",
        Call("PUT", TOOLS),
        only("400", status(204)),
        ["tools answered 204"],
    ),
    "waits that nobody cuts": (
        "limits",
        Call("GET", "/api/sessions/[^/]+/responses/check-1"),
        header("Preference-Applied", "wait=600"),
        ["Preference-Applied"],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault(
    name: str, well: Parley, faulty: Callable[[Call, Change], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, which, change, evidence = FAULTS[name]
    (capability,) = [one.capability for one in STEPS if one.name == step]
    try_only(capability, monkeypatch)
    changed: list[Response] = []

    def note(answer: Response) -> None:
        changed.append(answer)
        change(answer)

    faulty(which, note)
    failed = failure(Checker(well.url, latency_limit=1000))
    assert failed.name == step
    assert changed
    assert all(part in failed.note for part in evidence), failed.note


def test_every_step_has_a_fault() -> None:
    """Of those about tools, MCP and sizes; the latency to the store has its own test, and so have calls under way."""
    about = {step.name for step in STEPS if step.capability in ("tools", "mcp", "1 MiB", "limits")}
    assert about - {"store latency"} == {step for step, *_ in FAULTS.values()}


@pytest.mark.parametrize("name", ["Mcp-Method", "MCP-Protocol-Version"])
def test_proxy_that_removes_a_header(name: str, well: Parley, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of MCP fails, for one reason, and everything else is well."""
    send = requests.Session.send

    def sent(self: requests.Session, request: PreparedRequest, **options: Any) -> Response:
        request.headers.pop(name, None)
        return send(self, request, **options)

    monkeypatch.setattr(requests.Session, "send", sent)
    checker = Checker(well.url, latency_limit=1000, patience=1)
    checker.run(lambda _: None)
    capabilities = checker.capabilities()
    untried = ["progress", "changed list", "cancelling"]  # which go over MCP, too
    assert [one for one, found in capabilities.items() if not found.passed] == ["mcp", *untried]
    for failed in capabilities["mcp"].failed:
        assert name in str(failed["note"])
        assert failed["advice"] == diagnosis.MCP_HEADERS.advice
    assert capabilities["mcp"].skipped == []
    assert len(capabilities["mcp"].failed) == sum(step.capability == "mcp" for step in STEPS)
    assert f"; does not work: mcp; not tried to the end: {', '.join(untried)}." in checker.summary()


def test_report_that_does_not_arrive(well: Parley, mocked: Mocker) -> None:
    """The deployment takes reports of progress, and passes none on."""
    mocked.post(re.compile("/progress$"), status_code=204)
    checker = Checker(well.url, latency_limit=1000, patience=1)
    diagnosed(checker, "progress", diagnosis.NO_PROGRESS.fill(seconds=1), "report of progress", "1 s")


def test_report_that_is_refused(well: Parley, mocked: Mocker) -> None:
    mocked.post(re.compile("/progress$"), status_code=404, headers={"x-vercel-error": "NOT_FOUND"})
    expected = diagnosis.VERCEL_ERRORS["NOT_FOUND"].fill(path="/api/sessions/{code}/progress")
    diagnosed(Checker(well.url, latency_limit=1000, patience=1), "progress", expected, "/progress is not in it")


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[PreparedRequest]:
    """Return a list to which every call is added that is made from now on."""
    made: list[PreparedRequest] = []
    send = requests.Session.send

    def sent(self: requests.Session, request: PreparedRequest, **options: Any) -> Response:
        made.append(request)
        return send(self, request, **options)

    monkeypatch.setattr(requests.Session, "send", sent)
    return made


def call_after(made: list[PreparedRequest], part: bytes) -> str:
    """Return the path of the call that follows on the one whose body has this part."""
    numbers = [number for number, call in enumerate(made) if part in (call.body or b"")]
    return str(made[numbers[-1] + 1].path_url)


def only_failed(checker: Checker) -> str:
    """Return the only step that has not passed."""
    (failed,) = [check.name for check in checker.checks if check.state != "ok"]
    return failed


def test_report_on_a_stream_that_breaks_off(well: Parley, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy cuts the agent's stream, and keeps its connection to the function: the host answers the call."""
    made = recorded(monkeypatch)
    send, kept = requests.Session.send, []

    def sent(self: requests.Session, request: PreparedRequest, **options: Any) -> Response:
        answer = send(self, request, **options)
        if b"progressToken" in (request.body or b""):
            kept.append(answer.raw)
            answer.raw = io.BytesIO()
        return answer

    monkeypatch.setattr(requests.Session, "send", sent)
    checker = Checker(well.url, latency_limit=60_000)
    diagnosed(checker, "progress", diagnosis.STREAM_ENDED, "ended too early")
    (connection,) = kept
    connection.close()
    assert call_after(made, b'"progress":').endswith("/responses")
    assert only_failed(checker) == "progress"


def test_changed_list_that_nobody_is_told(well: Parley, mocked: Mocker) -> None:
    only_one: dict[str, Any] = {"additional_matcher": lambda call: len(call.json()["tools"]) == 1}
    mocked.put(re.compile("/tools$"), **only_one, status_code=204)
    checker = Checker(well.url, latency_limit=1000, patience=1)
    diagnosed(checker, "changed list", diagnosis.NO_LIST_CHANGE.fill(seconds=1), "changed tools", "1 s")


def test_deployment_that_has_no_subscriptions(well: Parley, mocked: Mocker) -> None:
    listens: dict[str, Any] = {"additional_matcher": lambda call: b"subscriptions/listen" in (call.body or b"")}
    mocked.post(re.compile("/mcp/"), **listens, status_code=404, json=json.loads(ERROR))
    found(Checker(well.url, latency_limit=1000), "changed list", diagnosis.OTHER_CODE, "404", "-32601")


def test_call_that_is_not_cancelled(well: Parley, faulty: Callable[[Call, Change], None]) -> None:
    """A proxy takes away what tells which client cancels."""
    faulty(Call("POST", SERVER, "initialize"), header("Mcp-Session-Id"))
    checker = Checker(well.url, latency_limit=1000, patience=1)
    diagnosed(checker, "cancelling", diagnosis.NOT_WITHDRAWN.fill(seconds=1), "notifications/cancelled", "1 s")


def test_cancelling_that_is_refused(well: Parley, mocked: Mocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request stays, until the host answers it."""
    cancels: dict[str, Any] = {"additional_matcher": lambda call: b"notifications/cancelled" in (call.body or b"")}
    mocked.post(re.compile("/mcp/"), **cancels, status_code=404, json=json.loads(ERROR))
    made = recorded(monkeypatch)
    checker = Checker(well.url, latency_limit=60_000)
    found(checker, "cancelling", diagnosis.OTHER_CODE, "notifications/cancelled, 2025-11-25", "-32601")
    assert call_after(made, b"notifications/cancelled").endswith("/responses")
    assert only_failed(checker) == "cancelling"


def test_cancelling_whose_answer_is_changed(well: Parley, faulty: Callable[[Call, Change], None]) -> None:
    """The request is withdrawn all the same: the steps that follow do not stumble over that event."""
    faulty(Call("POST", SERVER, "notifications/cancelled"), status(204))
    checker = Checker(well.url, latency_limit=60_000)
    found(checker, "cancelling", diagnosis.OTHER_CODE, "notifications/cancelled, 2025-11-25", "204")
    assert only_failed(checker) == "cancelling"


def misled(which: Call, path: str, arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let some calls arrive at another path, and with other arguments."""
    send = requests.Session.send

    def sent(self: requests.Session, request: PreparedRequest, **options: Any) -> Response:
        if which.is_made_by(request):
            told = json.loads(request.body or "{}")
            told["params"]["arguments"] = arguments
            if path:
                request.url = str(request.url).removesuffix(request.path_url) + path
            request.prepare_body(None, None, told)
        return send(self, request, **options)

    monkeypatch.setattr(requests.Session, "send", sent)


def test_call_that_is_refused(well: Parley, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host would wait for the request in vain, and that is not what is wrong."""
    misled(Call("POST", SERVER, "tools/call", LEGACY), "/mcp/nothing", {}, monkeypatch)
    checker = Checker(well.url, latency_limit=1000, patience=1)
    found(checker, "MCP call", diagnosis.OTHER_CODE, "tools/call, 2025-11-25", "invalid_code")
    assert checker.capabilities()["sessions"].passed


def test_call_that_arrives_otherwise(well: Parley, monkeypatch: pytest.MonkeyPatch) -> None:
    misled(Call("POST", SERVER, "tools/call", LEGACY), "", {"a": 2, "b": 4}, monkeypatch)
    found(Checker(well.url, latency_limit=1000), "MCP call", diagnosis.OTHER_CODE, "another request")


def test_proxy_that_refuses_large_bodies(well: Parley, faulty: Callable[[Call, Change], None]) -> None:
    faulty(Call("POST", "/api/sessions/[^/]+/responses"), only("413", html))
    diagnosed(Checker(well.url, latency_limit=1000), "limits", diagnosis.BODY_REFUSED, "1 MiB", "413")


def test_limits_that_are_set_otherwise() -> None:
    """The operator may allow larger messages."""
    with running_store(None) as store, running_parley(store, MAX_PAYLOAD_BYTES="2000000") as parley:
        checker = Checker(parley.url, latency_limit=1000)
        checker.run(lambda _: None)
    assert checker.ok, checker.summary()
    (limits,) = [one for one in checker.checks if one.name == "limits"]
    assert limits.note == "messages may be larger than 1 MiB, tools, a wait"


def test_limit_below_1_mib() -> None:
    with running_store(None) as store, running_parley(store, MAX_PAYLOAD_BYTES="100000") as parley:
        diagnosed(
            Checker(parley.url, latency_limit=1000, patience=1),
            "1 MiB",
            diagnosis.LIMIT_LOWERED,
            "413 payload_too_large",
        )


@pytest.mark.parametrize("origin", ["https://page.example", "https://elsewhere.example"])
def test_deployment_for_one_origin(origin: str) -> None:
    """Whether that is the one that the checker calls from, or another one."""
    with running_store(None) as store, running_parley(store, CORS_ALLOW_ORIGIN=origin) as parley:
        checker = Checker(parley.url, latency_limit=1000)
        checker.run(lambda _: None)
    assert checker.ok, checker.summary()


def test_origin_that_is_not_refused(well: Parley, faulty: Callable[[Call, Change], None]) -> None:
    """Pages of one origin may call the API, and those of any other one call tools."""
    with running_store(None) as store, running_parley(store, CORS_ALLOW_ORIGIN="https://page.example") as parley:
        faulty(Call("POST", FIXED, "server/discover"), status(200))
        found(Checker(parley.url, latency_limit=1000), "MCP access", diagnosis.OTHER_CODE, "/mcp answered 200")


def test_hidden_system_variables() -> None:
    """The functions run on the platform, and cannot tell whether they are a preview."""
    with running_store(None) as store:
        variables = {"PATH": "/usr/bin:/bin", **store.variables()}
        with deployed(store, variables) as parley:
            checker = Checker(parley.url, latency_limit=1000)
            diagnosed(checker, "health", diagnosis.SYSTEM_VARIABLES, "store_not_configured")
    assert "'Automatically expose System Environment Variables'" in diagnosis.SYSTEM_VARIABLES.advice
    assert "Settings, Environment Variables" in diagnosis.SYSTEM_VARIABLES.advice
    assert "deploy again" in diagnosis.SYSTEM_VARIABLES.advice
    assert "KV_KEY_PREFIX" in diagnosis.SYSTEM_VARIABLES.advice


def test_another_error_of_configuration_is_told_as_it_is() -> None:
    variables = {"PATH": "/usr/bin:/bin", "VERCEL_ENV": "preview", "KV_REST_API_URL": "https://store.example"}
    with running_store(None) as store, deployed(store, variables) as parley:
        detail = "Set the environment variable KV_REST_API_TOKEN as well."
        expected = Diagnosis(f"store_not_configured: {detail}", diagnosis.PROBLEMS["store_not_configured"])
        diagnosed(Checker(parley.url, latency_limit=1000), "health", expected)
