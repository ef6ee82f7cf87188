"""The checks of a session: they create it, use it as its host and its guests do, and end it."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dev.check import diagnosis, reading
from dev.check.caller import Failed, Listener, Received, expect, parsed, require
from dev.check.deployment import DeploymentChecks
from lib.session import codes

_PUSHES = 3
_WAIT_SECONDS = 20
LARGE = 1024 * 1024  # bytes of JSON
_CODE = f"[{codes.ALPHABET}]{{{codes.LENGTH}}}"


@dataclass
class SessionChecks(DeploymentChecks):
    """Checks of a session. `code`, `path` and `token` are those of the session that they create.

    `lost` names the steps whose success is of no use any more: what they opened is over, or out of step.
    """

    code: str = ""
    path: str = ""
    token: str = ""
    lost: set[str] = field(default_factory=set)
    _expires_at: object = None
    _listener: Listener = field(init=False)

    def check_create(self) -> str:
        """Create the session that the later steps use."""
        answer = self.caller.call("POST", "/api/sessions", 201)
        session = parsed(answer)
        match session:
            case {"code": str(code), "token": str(token), "ttl": int(ttl)} if re.fullmatch(_CODE, code):
                self.code, self.path, self.token = code, f"/api/sessions/{code}", token
            case _:
                raise Failed("The new session lacks a code, a token or a time to live.")
        self._expires_at = session.get("expiresAt")
        require(answer.headers.get("Location") == self.path, "Location does not lead to the new session.")
        require("no-store" in answer.headers.get("Cache-Control", ""), "Cache-Control is not no-store.")
        lives = _seconds_between(session.get("createdAt"), self._expires_at)
        require(ttl > 0 and abs(ttl - lives) <= 2, f"ttl is {ttl} s, but expiresAt is {lives:g} s after createdAt.")
        return f"lives {ttl} s"

    def check_read(self) -> str:
        """Check that the session can be read, by its code as it is and as a person may type it."""
        for typed in (self.code, f"{self.code[:4]}-{self.code[4:]}".lower()):
            session = parsed(self.caller.call("GET", f"/api/sessions/{typed}", 200))
            require(session.get("code") == self.code and session.get("active") is True, "Another session was read.")
            require("token" not in session, "The session shows its token to anyone who reads it.")
        return "also in lower case, with a hyphen"

    def check_auth(self) -> str:
        """Check that a host call is refused without the host's token."""
        self.caller.call("PATCH", self.path, 401, "host_token_required")
        self.caller.call("PATCH", self.path, 403, "host_token_wrong", token="wrong")  # noqa: S106 - not a secret
        return "refused without a token, and with a wrong one"

    def check_renew(self) -> str:
        """Check that the host can renew the session."""
        renewed = parsed(self.caller.call("PATCH", self.path, 200, token=self.token))
        moved = _seconds_between(self._expires_at, renewed.get("expiresAt"))
        require(moved > 0, *diagnosis.NOT_RENEWED)
        return f"{moved:.3g} s longer"

    def check_stream(self) -> str:
        """Open the host's stream."""
        path, token, caller = f"{self.path}/stream", self.token, self.caller.another()
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        asked = time.perf_counter()
        self._listener = Listener(lambda: caller.send("GET", path, token, headers=headers, stream=True))
        return f"open came after {milliseconds(self._receive('open').at - asked)} ms"

    def check_push(self) -> str:
        """Check that the event of each request comes, before the next request is posted."""
        slowest = 0.0
        for number in range(1, _PUSHES + 1):
            posted = time.perf_counter()
            self._post(f"check-{number}", number)
            slowest = max(slowest, self._receive("request", {"id": f"check-{number}"}).at - posted)
        return f"{_PUSHES} events one by one, the slowest after {milliseconds(slowest)} ms"

    def check_answer(self) -> str:
        """Check that a request can be answered, also again with the same answer, and not with another one."""
        self._answer("check-1", "first", 201)
        self._answer("check-1", "first", 200)
        self._answer("check-1", "second", 409, "already_answered")
        return "once, again, and no other answer"

    def check_id_conflict(self) -> str:
        """Check that a request can be posted again, and that its id is refused for another one."""
        self._post("check-2", 2)
        self._post("check-2", "other", 409, "id_conflict")
        return "the same request again, and no other one"

    def check_wait(self) -> str:
        """Check that a guest who waits for a response gets it."""
        return f"has its answer after {self._wait('check-wait', '?', '!')} ms"

    def check_large(self) -> str:
        """Check that a request and a response of 1 MiB arrive as they were sent."""
        text = "x" * (LARGE - len('""'))
        return f"a request and its response; the guest has it after {self._wait('check-large', text, text)} ms"

    def check_end(self) -> str:
        """Check that the session can be ended, that its stream reports it, and that guests are refused."""
        self.caller.call("DELETE", self.path, 204, token=self.token)
        event = self._receive("ended")
        require(event.data.get("reason") == "ended", "The stream gives another reason for its end.")
        self._post("check-late", 0, 410, "session_ended")
        self.path = ""
        return "the host gets the event, and a guest is refused"

    def exchange[T](self, ask: Callable[[], T], expected: Mapping[str, object], result: object) -> tuple[T, int]:
        """Let a guest ask, and answer the request that comes of it, which has these members, as the host.

        Returns what the guest got, and how many milliseconds after the answer. Raises Failed, also what `ask` raises.
        """
        guest = _start(ask)
        request_id = self._receive("request", expected, guest).data["id"]
        answered = time.perf_counter()
        self._answer(request_id, result, 201)
        try:
            return guest.result(self.patience), milliseconds(time.perf_counter() - answered)
        except TimeoutError:
            raise Failed(*diagnosis.NOT_WOKEN.fill(seconds=self.patience)) from None

    def _wait(self, request_id: str, payload: object, answer: object) -> int:
        """Let a guest wait for the answer to a request. Returns the milliseconds from it until the guest has it."""
        caller = self.caller.another()
        prefer = {"Prefer": f"wait={_WAIT_SECONDS}"}
        body = {"id": request_id, "payload": payload}

        def ask() -> object:
            reply = caller.send("POST", f"{self.path}/requests", json=body, headers=prefer)
            if reply.status_code == 413:
                raise Failed(*(diagnosis.LIMIT_LOWERED if reading.problem(reply) else diagnosis.BODY_REFUSED))
            if reply.status_code == 202:
                raise Failed(*diagnosis.NOT_WAITED)
            return parsed(expect(reply, 200)).get("result")

        result, took = self.exchange(ask, body, answer)
        require(result == answer, "The waiting guest got something else than the answer.")
        return took

    def clean_up(self) -> None:
        """End the session, unless none was created or it has ended."""
        if self.path:
            with suppress(Failed):
                self.caller.send("DELETE", self.path, token=self.token)

    def _receive(
        self, name: str, members: Mapping[str, object] | None = None, asking: Future[Any] | None = None
    ) -> Received:
        """Return the next event. Raises Failed if it has another name, lacks one of these members, or does not come.

        `asking` is the call that leads to the event: if that was refused, this is the reason that is given.
        """
        self.lost.add("stream")
        received = self._listener.next(self.patience)
        if received is None and asking and asking.done() and asking.exception():
            self.lost.discard("stream")
            asking.result()
        if received is None:
            raise self._missing(name)
        require(received.name == name, f"The stream said {reading.printable(received.name)!r} before {name!r}.")
        same = (members or {}).items() <= received.data.items()
        require(same, "The stream brought another request than the one that was posted.")
        self.lost.discard("stream")
        return received

    def _missing(self, name: str) -> Failed:
        """Return why an event does not come. Ending the session shows it: what is held back comes now."""
        self.lost.add("session")
        self.clean_up()
        late = self._listener.rest(self.patience)
        held_back = any(event.name == name for event in late)
        found = diagnosis.HELD_BACK if held_back else diagnosis.NO_EVENT if late else diagnosis.SILENT
        return Failed(*found.fill(event=name, seconds=self.patience, count=len(late)))

    def _post(self, request_id: str, payload: object, status: int = 202, code: str = "") -> None:
        self.caller.call("POST", f"{self.path}/requests", status, code, json={"id": request_id, "payload": payload})

    def _answer(self, request_id: str, result: object, status: int, code: str = "") -> None:
        body = {"id": request_id, "result": result}
        self.caller.call("POST", f"{self.path}/responses", status, code, json=body, token=self.token)


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds."""
    return round(seconds * 1000)


def _seconds_between(earlier: object, later: object) -> float:
    """Return the seconds between two times in ISO 8601. Raises Failed."""
    try:
        return (datetime.fromisoformat(str(later)) - datetime.fromisoformat(str(earlier))).total_seconds()
    except (ValueError, TypeError):
        raise Failed("createdAt and expiresAt are not both times in ISO 8601.") from None


def _start[T](call: Callable[[], T]) -> "Future[T]":
    """Make a call in a thread of its own, a daemon, so that it does not keep the program running."""
    reply: Future[T] = Future()

    def make() -> None:
        try:
            reply.set_result(call())
        except Failed as failure:
            reply.set_exception(failure)

    threading.Thread(target=make, daemon=True).start()
    return reply
