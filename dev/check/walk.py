"""The steps of a walk through a deployment, from outside, as its hosts and guests go."""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime

import requests

from dev.check import diagnosis
from dev.check.caller import Caller, Failed, expect, parsed, region, require
from dev.check.diagnosis import Diagnosis
from dev.check.listener import Event, Listener
from lib import codes

_ORIGIN = "https://elsewhere.example"
_LATENCY_CALLS = 4
_PUSHES = 3
_WAIT_SECONDS = 20
_CODE = f"[{codes.ALPHABET}]{{{codes.LENGTH}}}"


class Walk:
    """A walk through the deployment that `caller` calls. Each step returns what there is to note, or raises Failed.

    `latency_limit` is in milliseconds; `patience` is how many seconds an event may take. `environment`, `commit` and
    `region` are what the deployment has told of itself.
    """

    def __init__(self, caller: Caller, latency_limit: float, patience: float) -> None:
        self.environment: str | None = None
        self.commit: str | None = None
        self.region: str | None = None
        self.token = ""
        self._caller = caller
        self._latency_limit = latency_limit
        self._patience = patience
        self._listener: Listener
        self._path = ""
        self._expires_at: object = ""

    def reach(self) -> str:
        """Find Parley at the address, well or not."""
        answer = self._caller.send("GET", "/api/health")
        if answer.status_code == 200:
            _latency(answer)
        elif not diagnosis.problem(answer):
            raise Failed(diagnosis.of_answer(answer))
        self.region = region(answer)
        return f"Parley, region: {self.region or 'unknown'}"

    def look_at_health(self) -> str:
        """See that the functions reach their store, and what they are."""
        health = parsed(self._caller.call("GET", "/api/health", 200))
        self.environment = diagnosis.printable(health.get("environment") or "") or None
        self.commit = diagnosis.printable(health.get("commit") or "") or None
        return f"{self.environment}, {f'commit {self.commit[:7]}' if self.commit else 'no commit'}"

    def write_to_store(self) -> str:
        """See that the store takes, gives back and forgets."""
        answer = self._caller.send("GET", "/api/health?deep=1")
        if diagnosis.problem(answer).get("code") == "store_unauthorized":
            raise Failed(diagnosis.READ_ONLY_TOKEN)
        expect(answer, 200)
        return "the store writes, reads and forgets"

    def measure_store(self) -> str:
        """See that the store is near the functions."""
        least = min(_latency(self._caller.call("GET", "/api/health", 200)) for _ in range(_LATENCY_CALLS))
        if least > self._latency_limit:
            raise Failed(diagnosis.of_latency(least, self._latency_limit, self.region))
        return f"{least:g} ms, the least of {_LATENCY_CALLS}"

    def look_at_page(self) -> str:
        """See that what lies beside the functions is there, with its headers."""
        page = self._caller.call("GET", "/", 200)
        wrong = [] if page.headers.get("Content-Type", "").startswith("text/html") else ["/ is no HTML"]
        if "Content-Security-Policy" not in page.headers:
            wrong.append("/ has no Content-Security-Policy")
        wrong += [
            f"{path} has no Access-Control-Allow-Origin"
            for path in ("/relay.js", "/openapi.json")
            if "Access-Control-Allow-Origin" not in self._caller.call("GET", path, 200).headers
        ]
        require(not wrong, f"{'; '.join(wrong)}.", diagnosis.NO_HEADERS)
        return "the page, relay.js and openapi.json"

    def create_session(self) -> str:
        """Create the session that the steps after it are about."""
        answer = self._caller.call("POST", "/api/sessions", 201)
        session = parsed(answer)
        match session:
            case {"code": str(code), "token": str(token), "ttl": int(ttl)} if re.fullmatch(_CODE, code):
                self._path, self.token = f"/api/sessions/{code}", token
            case _:
                raise Failed(
                    Diagnosis("The new session lacks a code, a token or a time to live.", diagnosis.OTHER_CODE)
                )
        self._expires_at = session.get("expiresAt")
        require(answer.headers.get("Location") == self._path, "Location does not lead to the new session.")
        require("no-store" in answer.headers.get("Cache-Control", ""), "Cache-Control is not no-store.")
        lives = _seconds_between(session.get("createdAt"), self._expires_at)
        require(ttl > 0 and abs(ttl - lives) <= 2, f"ttl is {ttl} s, but expiresAt is {lives:g} s after createdAt.")
        return f"lives {ttl} s"

    def read_session(self) -> str:
        """Read the session, by its code as it is and as a person may type it."""
        code = self._path.rpartition("/")[2]
        for typed in (code, f"{code[:4]}-{code[4:]}".lower()):
            session = parsed(self._caller.call("GET", f"/api/sessions/{typed}", 200))
            require(session.get("code") == code and session.get("active") is True, "Another session was read.")
            require("token" not in session, "The session tells its token to whoever reads it.")
        return "also in lower case, with a hyphen"

    def refuse_strangers(self) -> str:
        """See that nobody but the host can renew."""
        self._caller.call("PATCH", self._path, 401, "host_token_required")
        self._caller.call("PATCH", self._path, 403, "host_token_wrong", token="wrong")  # noqa: S106 - it is none
        return "refused without a token, and with a wrong one"

    def renew_session(self) -> str:
        """Let the session live on."""
        renewed = parsed(self._caller.call("PATCH", self._path, 200, token=self.token))
        moved = _seconds_between(self._expires_at, renewed.get("expiresAt"))
        require(moved > 0, "expiresAt did not move.", "Set SESSION_MAX_SECONDS to more than SESSION_TTL_SECONDS.")
        return f"{moved:.3g} s longer"

    def ask_for_leave(self) -> str:
        """Ask as a browser does before a page of another origin may renew a session."""
        asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
        path = "/api/sessions/ABC12345"
        answer = self._caller.call("OPTIONS", path, 204, headers={"Origin": _ORIGIN, **asked})
        origin = diagnosis.printable(answer.headers.get("Access-Control-Allow-Origin", ""))
        require(origin, "The preflight's answer has no Access-Control-Allow-Origin.", diagnosis.NO_HEADERS)
        for kind, needed in (("Methods", "PATCH"), ("Headers", "Authorization")):
            listed = answer.headers.get(f"Access-Control-Allow-{kind}", "").lower().replace(" ", "").split(",")
            require(needed.lower() in listed, f"Access-Control-Allow-{kind} lacks {needed}.", diagnosis.NO_HEADERS)
        return "for pages of every origin" if origin == "*" else f"for pages of {origin} alone"

    def open_stream(self) -> str:
        """Listen as the host does."""
        path, token, caller = f"{self._path}/stream", self.token, self._caller.another()
        asked = time.perf_counter()
        self._listener = Listener(lambda: caller.stream(path, token))
        return f"open came after {milliseconds(self._hear('open').at - asked)} ms"

    def push(self) -> str:
        """Post requests one after the other: each has to be heard before the next is posted."""
        slowest = 0.0
        for number in range(1, _PUSHES + 1):
            posted = time.perf_counter()
            self._post(f"check-{number}", number)
            slowest = max(slowest, self._hear_request(f"check-{number}").at - posted)
        return f"{_PUSHES} events one by one, the slowest after {milliseconds(slowest)} ms"

    def answer_request(self) -> str:
        """Answer a request, once and again."""
        self._answer("check-1", "first", 201)
        self._answer("check-1", "first", 200)
        self._answer("check-1", "second", 409, "already_answered")
        return "once, again, and no other answer"

    def answer_guest(self) -> str:
        """Answer a guest who waits."""
        caller = self._caller.another()
        prefer = {"Prefer": f"wait={_WAIT_SECONDS}"}
        body = {"id": "check-wait", "payload": "?"}
        guest = _beside(lambda: caller.send("POST", f"{self._path}/requests", json=body, headers=prefer))
        self._hear_request("check-wait", guest)
        answered = time.perf_counter()
        self._answer("check-wait", "!", 201)
        try:
            answer = guest.result(self._patience)
        except TimeoutError:
            seen = f"The waiting guest did not have the answer within {self._patience:g} s."
            raise Failed(Diagnosis(seen, diagnosis.NOT_RUNG)) from None
        took = milliseconds(time.perf_counter() - answered)
        if answer.status_code == 202:
            raise Failed(diagnosis.NOT_WAITED)
        result = parsed(expect(answer, 200)).get("result")
        require(result == "!", "The waiting guest got something else than the answer.")
        return f"has its answer after {took} ms"

    def reuse_id(self) -> str:
        """Post a request again, and another one under its id."""
        self._post("check-2", 2)
        self._post("check-2", "other", 409, "id_conflict")
        return "the same request again, and no other one"

    def end_session(self) -> str:
        """End the session, and see that its host and its guests are told."""
        self._caller.call("DELETE", self._path, 204, token=self.token)
        event = self._hear("ended")
        require(event.data.get("reason") == "ended", "The stream gives another reason for its end.")
        self._post("check-late", 0, 410, "session_ended")
        self._path = ""
        return "the host is told, and a guest refused"

    def leave(self) -> None:
        """End the session, if there is one."""
        if self._path:
            with suppress(Failed):
                self._caller.send("DELETE", self._path, token=self.token)

    def _hear_request(self, request_id: str, beside: "Future[requests.Response] | None" = None) -> Event:
        event = self._hear("request", beside)
        require(event.data.get("id") == request_id, "The stream brought another request than the one that was posted.")
        return event

    def _hear(self, name: str, beside: "Future[requests.Response] | None" = None) -> Event:
        """Return the next event, which has to have this name.

        Raises Failed: for what went wrong `beside` it, where that is why there is none.
        """
        match self._listener.next(self._patience):
            case Event() as event:
                require(event.name == name, f"The stream said {diagnosis.printable(event.name)!r} before {name!r}.")
                return event
            case Diagnosis() as end:
                raise Failed(end)
        if beside and beside.done():
            expect(beside.result(), 200)
        raise Failed(self._silence(name))

    def _silence(self, name: str) -> Diagnosis:
        """Return why an event did not come: once the session has ended, does the stream bring what it held back?"""
        self.leave()
        late = self._listener.rest(self._patience)
        silence = f"No {name!r} event within {self._patience:g} s"
        if any(event.name == name for event in late):
            held = f"{silence}: {len(late)} events came in a lump when the session ended."
            return Diagnosis(held, diagnosis.BUFFERED)
        if late:
            return Diagnosis(f"{silence}, though the stream is open.", diagnosis.NOT_RUNG)
        return Diagnosis(f"{silence}, nor anything else.", diagnosis.BUFFERED)

    def _post(self, request_id: str, payload: object, status: int = 202, code: str = "") -> None:
        body = {"id": request_id, "payload": payload}
        self._caller.call("POST", f"{self._path}/requests", status, code, json=body)

    def _answer(self, request_id: str, result: str, status: int, code: str = "") -> None:
        body = {"id": request_id, "result": result}
        self._caller.call("POST", f"{self._path}/responses", status, code, json=body, token=self.token)


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds."""
    return round(seconds * 1000)


def _latency(health: requests.Response) -> float:
    match parsed(health):
        case {"status": "ok", "store": {"latencyMs": int() | float() as latency}}:
            return float(latency)
    raise Failed(diagnosis.not_parley(health))


def _seconds_between(earlier: object, later: object) -> float:
    """Return the seconds between two times in ISO 8601. Raises Failed."""
    try:
        return (datetime.fromisoformat(str(later)) - datetime.fromisoformat(str(earlier))).total_seconds()
    except (ValueError, TypeError):
        seen = "createdAt and expiresAt are not both times in ISO 8601."
        raise Failed(Diagnosis(seen, diagnosis.OTHER_CODE)) from None


def _beside(call: Callable[[], requests.Response]) -> "Future[requests.Response]":
    """Make a call in a thread of its own, which does not keep the program."""
    made: Future[requests.Response] = Future()

    def make() -> None:
        try:
            made.set_result(call())
        except Failed as failure:
            made.set_exception(failure)

    threading.Thread(target=make, daemon=True).start()
    return made
