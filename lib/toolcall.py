"""A tool call: a request to the host that is waited for, and its outcome in the words of MCP.

What a model can mend, or tell its user, is a result that says so; a JSON-RPC error is for what the client does wrong.
"""

import secrets
import socket
from collections.abc import Generator
from contextlib import suppress
from functools import partial

from lib import jsontext, mcp, messages, sessions, settings
from lib.access import Access
from lib.jsonrpc import INVALID_PARAMS, Fault
from lib.jsontext import JsonText, compose, write
from lib.messages import Response
from lib.problems import InvalidRequest, PayloadTooLarge, Problem
from lib.waiting import ResponseWait

TICK_SECONDS = 5
_TICKS = 280 // TICK_SECONDS
# After ten seconds, and then every minute, it is asked whether a host listens at all.
_HOST_ASKED_AT, _HOST_ASKED_EVERY = 10 // TICK_SECONDS, 60 // TICK_SECONDS

_NO_HOST = (
    "No host listens: the page or program that showed this code is closed or offline. Ask for it to be opened again, "
    "then repeat the call."
)
_NO_ANSWER = (
    "The host did not answer in time. It may still be at work; ask the person there before you repeat the call."
)


def tool_payload(name: str, arguments: JsonText) -> JsonText:
    """Return the request that calls a tool."""
    return compose(method="tools/call", params=compose(name=name, arguments=arguments))


def run(access: Access, payload: JsonText, speaks: str, client: socket.socket) -> Generator[JsonText | None]:
    """Send a request, and yield its result as soon as it is there, and None every five seconds until then.

    A caller who is gone, or stops asking, withdraws the request. Raises Fault for an unknown tool, and ClientGone.
    """
    request_id = secrets.token_urlsafe(9)
    posted = settled = False
    try:
        if len(payload.encode()) > settings.max_payload():
            raise PayloadTooLarge(settings.max_payload())
        with ResponseWait(access, request_id, client) as wait:
            response = wait.first(partial(messages.post, access, request_id, payload))
            posted = True
            for tick in range(_TICKS):
                response = wait.next(response, TICK_SECONDS)
                if response.answer is not None:
                    settled = True
                    yield result_of(response, speaks)
                    return
                if not _has_host(access, response, tick + 1):
                    yield failed(_NO_HOST, speaks)
                    return
                yield None
        yield failed(_NO_ANSWER, speaks)
    except Problem as problem:
        yield failed(f"{problem.title}. {problem.detail}", speaks)
    finally:
        if posted and not settled:
            with suppress(Problem):
                messages.withdraw(access, request_id)


def _has_host(access: Access, response: Response, tick: int) -> bool:
    """Tell whether a host listens, as far as that is due to be asked."""
    if tick % _HOST_ASKED_EVERY != _HOST_ASKED_AT or (tick == _HOST_ASKED_AT and response.listening):
        return True
    return bool(sessions.read(access).listening)


def failed(message: str, speaks: str) -> JsonText:
    """Return a result that tells a model what went wrong."""
    return mcp.called(speaks, mcp.text(message), is_error=True)


def result_of(response: Response, speaks: str) -> JsonText:
    """Return the result in a host's answer: a `CallToolResult` as it is, anything else made into one. Raises Fault."""
    answer = response.answer or JsonText("null")
    if response.kind == "error":
        return _error_result(answer, speaks)
    if answer.startswith("{"):
        with suppress(InvalidRequest):
            members = jsontext.members(answer.encode())
            if _is_content(members.get("content")):
                is_error = members.get("isError") == "true"
                return mcp.called(speaks, members["content"], members.get("structuredContent"), is_error=is_error)
    if answer.startswith('"'):
        return mcp.called(speaks, mcp.text(answer))
    return mcp.called(speaks, mcp.text(str(answer)), answer)


def _error_result(answer: JsonText, speaks: str) -> JsonText:
    told = jsontext.shape(answer)
    message = told.get("message") if isinstance(told, dict) else told
    if isinstance(told, dict) and told.get("code") == "unknown_tool":
        raise Fault(INVALID_PARAMS, message if isinstance(message, str) else "The session has no such tool.")
    return failed(message if isinstance(message, str) else str(write(answer)), speaks)


def _is_content(text: JsonText | None) -> bool:
    """Tell whether a text is a list of content blocks: objects that have a type."""
    content = jsontext.shape(text) if text else None
    return isinstance(content, list) and all(
        isinstance(block, dict) and isinstance(block.get("type"), str) for block in content
    )
