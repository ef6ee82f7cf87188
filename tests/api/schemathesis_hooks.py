"""What schemathesis is told of this API: where there are sessions, and who is their host."""

import itertools
import os
from functools import cache
from typing import Any

import httpx
import schemathesis

from lib.problems import InvalidCode
from lib.session import codes

_URL = os.environ["PARLEY_URL"]
_USES = 25
_turns = itertools.count()
_live = ""
_tokens: dict[str, str] = {}


def _new_code() -> str:
    """Create a session in which the request `q1` waits for its answer."""
    session = httpx.post(f"{_URL}/api/sessions").raise_for_status().json()
    _tokens[session["code"]] = session["token"]
    code = str(session["code"])
    httpx.post(f"{_URL}/api/sessions/{code}/requests", json={"id": "q1", "payload": None}).raise_for_status()
    return code


# Nobody answers or ends what progress is reported of.
_reported = cache(_new_code)


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Aim three of four calls with a code at a session that there is; all reports of progress at one of their own."""
    global _live
    turn = next(_turns)
    if not parameters or not _parsed(parameters.get("code")):
        return parameters
    if context.operation is not None and context.operation.path.endswith("/progress"):
        parameters["code"] = _reported()
    elif turn % 4:
        if turn % _USES == 1 or not _live:
            _live = _new_code()
        parameters["code"] = _live
        if "id" in parameters and turn % 3:
            parameters["id"] = "q1"
    return parameters


@schemathesis.hook
def map_query(_: schemathesis.HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Wait for a second at most."""
    if query and str(query.get("wait", "")).isdigit():
        query["wait"] = min(int(query["wait"]), 1)
    return query


@schemathesis.hook
def map_headers(context: schemathesis.HookContext, headers: dict[str, Any] | None) -> dict[str, Any] | None:
    """Ask as a browser does for what only browsers are shown."""
    if context.operation and context.operation.method == "get" and context.operation.path.startswith("/mcp"):
        return {**(headers or {}), "Accept": "text/html"}
    return headers


@schemathesis.hook
def map_body(_: schemathesis.HookContext, body: Any) -> Any:
    """Give each tool a name of its own, which a schema cannot ask for; report progress of the request that waits."""
    if isinstance(body, dict) and isinstance(body.get("progress"), int | float):
        body["id"] = "q1"
    if isinstance(body, dict) and isinstance(tools := body.get("tools"), list):
        named = {str(tool.get("name")) if isinstance(tool, dict) else place: tool for place, tool in enumerate(tools)}
        body["tools"] = list(named.values())
    return body


@schemathesis.auth(refresh_interval=None)  # a token is that of one session, so none is kept
class Host:
    """Has the token of whatever session is called."""

    def get(self, case: schemathesis.Case[Any], _: schemathesis.AuthContext) -> str:
        code = _parsed(case.path_parameters.get("code"))
        return _tokens.get(code, "none")

    def set(self, case: schemathesis.Case[Any], token: str, _: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {token}"


def _parsed(code: Any) -> str:
    try:
        return codes.parse(str(code))
    except InvalidCode:
        return ""
