"""A tool call: a request to the host that is waited for, and its outcome in the words of MCP.

What a model can mend, or tell its user, is a result that says so; a JSON-RPC error is for what the client does wrong.
"""

import secrets
import socket
from collections.abc import Generator
from contextlib import suppress
from functools import partial

from lib import jsontext, settings
from lib.jsontext import JsonText, compose, write
from lib.mcp import protocol
from lib.mcp.jsonrpc import INVALID_PARAMS, Fault
from lib.problems import InvalidJson, InvalidRequest, PayloadTooLarge, Problem, StoreProblem
from lib.session import messages, sessions
from lib.session.access import Access
from lib.session.messages import Response
from lib.wait.long_poll import ResponseWait

# A result, and before it None at each tick.
type Results = Generator[JsonText | None]

TICK_SECONDS = 5
# Counted in these: how long a call waits, 280 seconds, and when it is asked whether a host listens at all: after ten
# seconds, and then every minute.
_TICKS = 56
_HOST_ASKED_AT, _HOST_ASKED_EVERY = 2, 12

_NO_HOST = (
    "No host listens: the page or program that showed this code is closed or offline. Ask for it to be opened again, "
    "then repeat the call."
)
_NO_ANSWER = (
    "The host did not answer in time. It may still be at work; ask the person there before you repeat the call."
)

# The content blocks of MCP, each with its members that must be strings; a `resource` has them one level deeper.
_BLOCKS = {
    "text": ("text",),
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
    "resource_link": ("uri", "name"),
}


def tool_payload(name: str, arguments: JsonText) -> JsonText:
    """Return the request that calls a tool."""
    return compose(method="tools/call", params=compose(name=name, arguments=arguments))


def run(access: Access, payload: JsonText, speaks: str, client: socket.socket) -> Results:
    """Send a request, and yield its result as soon as it is there, and None every five seconds until then.

    A caller who is gone, or stops asking, withdraws the request. Raises Fault for an unknown tool, ClientGone, and the
    Problem that ends the call.
    """
    if len(payload.encode()) > settings.max_payload():
        raise PayloadTooLarge(settings.max_payload())
    request_id = secrets.token_urlsafe(9)
    at_work = True  # as far as is known, the host has the request, or will have it
    try:
        with ResponseWait(access, request_id, client) as wait:
            response = wait.first(partial(messages.post, access, request_id, payload))
            for tick in range(_TICKS):
                response = wait.next(response, TICK_SECONDS)
                if response.answer is not None:
                    at_work = False
                    yield result_of(response, speaks)
                    return
                if not _has_host(access, response, tick + 1):
                    yield protocol.failed(speaks, _NO_HOST)
                    return
                yield None
        yield protocol.failed(speaks, _NO_ANSWER)
    except Problem as problem:
        at_work = isinstance(problem, StoreProblem)  # else it was refused, or the session is over
        raise
    finally:
        if at_work:
            with suppress(Problem):
                messages.withdraw(access, request_id)


def _has_host(access: Access, response: Response, tick: int) -> bool:
    """Tell whether a host listens, as far as that is due to be asked."""
    if tick % _HOST_ASKED_EVERY != _HOST_ASKED_AT or (tick == _HOST_ASKED_AT and response.listening):
        return True
    return bool(sessions.read(access).listening)


def result_of(response: Response, speaks: str) -> JsonText:
    """Return the result in a host's answer: a `CallToolResult` as it is, anything else made into one. Raises Fault."""
    answer = response.answer or JsonText("null")
    if response.kind == "error":
        return _error_result(answer, speaks)
    if answer.startswith("{"):
        with suppress(InvalidRequest, InvalidJson):
            members = jsontext.members(answer.encode())
            if _is_content(members.get("content")):
                return protocol.called(
                    speaks,
                    members["content"],
                    members.get("structuredContent"),
                    is_error=members.get("isError") == "true",
                    meta=members.get("_meta"),
                )
    if answer.startswith('"'):
        return protocol.called(speaks, protocol.text(answer))
    return protocol.called(speaks, protocol.text(str(answer)), answer)


def _error_result(answer: JsonText, speaks: str) -> JsonText:
    told = jsontext.shape(answer)
    message = told.get("message") if isinstance(told, dict) else told
    if isinstance(told, dict) and told.get("code") == "unknown_tool":
        raise Fault(INVALID_PARAMS, message if isinstance(message, str) else "The session has no such tool.")
    return protocol.failed(speaks, message if isinstance(message, str) else str(write(answer)))


def _is_content(text: JsonText | None) -> bool:
    """Tell whether a text is a list of content blocks, as far as a client needs them to be."""
    content = jsontext.shape(text) if text else None
    return isinstance(content, list) and all(_is_block(block) for block in content)


def _is_block(block: object) -> bool:
    match block:
        case {"type": "resource", "resource": {"uri": str(), "text": str()} | {"uri": str(), "blob": str()}}:
            return True
        case {"type": str(kind), **members} if kind in _BLOCKS:
            return all(isinstance(members.get(name), str) for name in _BLOCKS[kind])
    return False
