"""The checks of what a host's tools need, of MCP, and of what is too much."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from dev.check import diagnosis, reading
from dev.check.agent import CLIENT, LEGACY, MODERN, Agent
from dev.check.caller import Failed, expect, parsed, require
from dev.check.deployment import ORIGIN
from dev.check.session import LARGE, SessionChecks
from lib.session import codes

_NUMBERS = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}
_ADD = {
    "name": "check.add",
    "description": "Adds two numbers.",
    "inputSchema": _NUMBERS,
    "annotations": {"readOnlyHint": True},
}
_OFFERED = [_ADD, {"name": "check.any"}]
_LISTED = [_ADD, {"name": "check.any", "inputSchema": {"type": "object"}}]
_CALL = {"name": "check.add", "arguments": {"a": 2, "b": 3}}
_RESULT = {"content": [{"type": "text", "text": "5"}], "structuredContent": {"sum": 5}}
_PROGRESS = {"progress": 1, "total": 2, "message": "half"}
_LIST_CHANGE = ["notifications/subscriptions/acknowledged", "notifications/tools/list_changed"]

_FIXED = ["list_tools", "call_tool", "send_request"]
_MCP_HEADERS = ("Content-Type", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name")
_MOST_TOOLS = 128
_LONGEST_WAIT = 55


class Checks(SessionChecks):
    """All checks."""

    def check_tools(self) -> str:
        """Check that the host, and nobody else, can say what it offers, and that everybody can read it."""
        path, offered = f"{self.path}/tools", {"tools": _OFFERED}
        self.caller.call("PUT", path, 401, "host_token_required", json=offered)
        for given, found in (({"tools": []}, []), (offered, _LISTED)):
            self.caller.call("PUT", path, 204, json=given, token=self.token)
            listed = parsed(self.caller.call("GET", path, 200))
            require(listed == {"tools": found}, "The tools are not read as they were registered.")
        return f"{len(_LISTED)} registered, and read back"

    def check_limits(self) -> str:
        """Check that what is too much is refused, and that a long wait is cut."""
        body = {"id": "check-none", "result": "x" * LARGE}
        large = self.caller.send("POST", f"{self.path}/responses", json=body, token=self.token)
        found = reading.problem(large).get("code")
        if large.status_code == 413 and not found:
            raise Failed(*diagnosis.BODY_REFUSED)
        raised = found == "request_not_found"  # it was read: MAX_PAYLOAD_BYTES allows more
        expect(large, *((404, "request_not_found") if raised else (413, "payload_too_large")))
        many = {"tools": [{"name": f"check.{number}"} for number in range(_MOST_TOOLS + 1)]}
        self.caller.call("PUT", f"{self.path}/tools", 400, "invalid_request", json=many, token=self.token)
        answer = self.caller.call("GET", f"{self.path}/responses/check-1?wait=600", 200)
        applied = answer.headers.get("Preference-Applied")
        require(applied == f"wait={_LONGEST_WAIT}", "Preference-Applied does not tell how long a wait may be.")
        return f"messages{' may be larger than' if raised else ', at most'} 1 MiB, tools, a wait"

    def check_mcp_access(self) -> str:
        """Check the methods that MCP has, and that pages may use it as they may use the API."""
        for path in ("/mcp", "/mcp/ABC12345"):
            for method in ("GET", "DELETE"):
                allow = self.caller.call(method, path, 405, "method_not_allowed").headers.get("Allow")
                require("POST" in (allow or "").split(", "), f"{method} {path}: Allow lacks POST.")
            origin = self.preflight(path, "POST", *_MCP_HEADERS)
            answer = Agent(self.caller, path, MODERN).send("server/discover", Origin=ORIGIN)
            expect(answer, 200 if origin in ("*", ORIGIN) else 403)
            other = "Access-Control-Allow-Origin of an answer is not that of the preflight's."
            require(answer.headers.get("Access-Control-Allow-Origin") == origin, other, diagnosis.NO_HEADERS)
            require("no-store" in answer.headers.get("Cache-Control", ""), "Cache-Control is not no-store.")
        return "POST alone, for pages of the origins that may call the API"

    def check_mcp_open(self) -> str:
        """Check that agents of both eras can begin, also where there is no session, and not without a code."""
        for path in (self._server, "/mcp", f"/mcp/{codes.draw()}"):
            for version in (MODERN, LEGACY):
                Agent(self.caller, path, version).open()
        return f"{MODERN} and {LEGACY}, at both addresses"

    def check_mcp_list(self) -> str:
        """Check that agents find the session's tools, or the fixed ones."""
        for version in (MODERN, LEGACY):
            Agent(self.caller, self._server, version).ask("tools/list", tools=_LISTED)
            fixed = Agent(self.caller, "/mcp", version)
            names = [tool.get("name") for tool in fixed.ask("tools/list", tools=list)["tools"]]
            require(names == _FIXED, f"/mcp has other tools than {', '.join(_FIXED)}.")
            asked = {"name": "list_tools", "arguments": {"code": self.code}}
            fixed.ask("tools/call", asked, structuredContent={"tools": _LISTED}, isError=False)
        return f"those of the session, and {', '.join(_FIXED)}"

    def check_mcp_call(self) -> str:
        """Check that agents can call a tool, which this host answers, and send any other request."""
        caller = self.caller.another()  # for other threads, one after the other
        payload = {"method": "tools/call", "params": _CALL}
        named = {"name": "call_tool", "arguments": {"code": self.code, **_CALL}}
        asking = {"name": "send_request", "arguments": {"code": self.code, "payload": "?"}}
        said = {"content": [{"type": "text", "text": "!"}]}
        calls: tuple[tuple[str, dict[str, Any], object, object, dict[str, Any]], ...] = (
            (self._server, _CALL, payload, _RESULT, _RESULT),
            ("/mcp", named, payload, _RESULT, _RESULT),
            ("/mcp", asking, "?", "!", said),
        )
        slowest = 0
        for path, params, asked, answer, expected in calls:
            for version in (MODERN, LEGACY):
                ask = partial(Agent(caller, path, version).ask, "tools/call", params, isError=False, **expected)
                posted = {**asked, "client": CLIENT} if version == MODERN and isinstance(asked, dict) else asked
                slowest = max(slowest, self.exchange(ask, {"payload": posted}, answer)[1])
        return f"{len(calls) * 2} answered, the slowest after {slowest} ms"

    def check_progress(self) -> str:
        """Check that what the host reports of a call reaches the agent before the call's result."""
        agent = Agent(self.caller, self._server, MODERN)
        answer = agent.listen("tools/call", **_CALL, _meta={"progressToken": "check"})
        with self._request_of_call() as request_id:
            report = {"id": request_id, **_PROGRESS}
            reported = self.caller.send("POST", f"{self.path}/progress", json=report, token=self.token)
            event = answer.next(self.patience)
            self._answer(request_id, _RESULT, 201)
        expect(reported, 204)
        came = event and event.data.get("params") == {"progressToken": "check", **_PROGRESS}
        require(came, *diagnosis.NO_PROGRESS.fill(seconds=self.patience))
        return "the agent has the host's report before the result"

    def check_list_change(self) -> str:
        """Check that an agent that listens learns at once that the tools have changed."""
        agent = Agent(self.caller, self._server, MODERN)
        stream = agent.listen("subscriptions/listen", notifications={"toolsListChanged": True})
        before = stream.next(self.patience)
        self.caller.call("PUT", f"{self.path}/tools", 204, json={"tools": _OFFERED[:1]}, token=self.token)
        after = stream.next(self.patience)
        methods = [event and event.data.get("method") for event in (before, after)]
        require(methods == _LIST_CHANGE, *diagnosis.NO_LIST_CHANGE.fill(seconds=self.patience))
        return "announced to an agent that listens"

    def check_cancelling(self) -> str:
        """Check that a call which its agent cancels is withdrawn from the host."""
        agent = Agent(self.caller, self._server, LEGACY)
        agent.open()
        agent.listen("tools/call", **_CALL)
        with self._request_of_call() as request_id:
            agent.notify("notifications/cancelled", requestId=1)
            event = self._listener.next(self.patience)
            withdrawn = event and (event.name, event.data.get("id")) == ("withdrawn", request_id)
            require(withdrawn, *diagnosis.NOT_WITHDRAWN.fill(seconds=self.patience))
        return "the host's request is withdrawn"

    def check_mcp_codes(self) -> str:
        """Check the answers for a code that is wrong: an error if the agent lists, a result if it calls."""
        unknown = codes.draw()
        for version in (MODERN, LEGACY):
            Agent(self.caller, "/mcp/nothing", version).refused("tools/list", 400, "invalid_code")
        Agent(self.caller, f"/mcp/{unknown}", MODERN).refused("tools/list", 200, "session_not_found")
        named = {"name": "call_tool", "arguments": {"code": unknown, **_CALL}}
        for path, params in ((f"/mcp/{unknown}", _CALL), ("/mcp", named)):
            result = Agent(self.caller, path, MODERN).ask("tools/call", params, content=list, isError=True)
            match result["content"]:
                case [{"type": "text", "text": str(text)}] if text:
                    continue
            raise Failed("A call with an unknown code has no text that says so.")
        return "refused, in words for a model where it calls"

    @contextmanager
    def _request_of_call(self) -> Iterator[str]:
        """Receive the request of a call, and give its id. If the block fails, the request does not stay.

        Otherwise the service would withdraw it at some time, and the event would come in the middle of a later step.
        """
        request_id = self._receive("request").data["id"]
        try:
            yield request_id
        except Failed:
            self._settle(request_id)
            raise

    def _settle(self, request_id: str) -> None:
        """Answer a request. If it was withdrawn before, take that event from the stream. Else the stream is lost."""
        self.lost.add("stream")
        body = {"id": request_id, "result": _RESULT}
        with suppress(Failed):
            answer = self.caller.send("POST", f"{self.path}/responses", json=body, token=self.token)
            if answer.status_code == 201 or self._listener.next(self.patience):
                self.lost.discard("stream")

    @property
    def _server(self) -> str:
        return f"/mcp/{self.code}"
