"""What schemathesis is told of this API: where there are sessions, and who is their host."""

import itertools
import os
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
    session = httpx.post(f"{_URL}/api/sessions").raise_for_status().json()
    _tokens[session["code"]] = session["token"]
    return str(session["code"])


@schemathesis.hook
def map_path_parameters(_: schemathesis.HookContext, parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Aim three of four calls with a code at a session that there is."""
    global _live
    turn = next(_turns)
    if parameters and _parsed(parameters.get("code")) and turn % 4:
        if turn % _USES == 1 or not _live:
            _live = _new_code()
            httpx.post(f"{_URL}/api/sessions/{_live}/requests", json={"id": "q1", "payload": None}).raise_for_status()
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
def map_body(_: schemathesis.HookContext, body: Any) -> Any:
    """Give each tool a name of its own, which a schema cannot ask for."""
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
