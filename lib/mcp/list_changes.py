"""Streams that tell clients when a session's list of tools changes: `subscriptions/listen`, and GET before it.

Source: https://modelcontextprotocol.io/specification
"""

from collections.abc import Generator

from lib import jsontext
from lib.jsontext import JsonText, compose
from lib.mcp import jsonrpc
from lib.mcp.jsonrpc import INVALID_PARAMS, Fault
from lib.mcp.protocol import Request
from lib.mcp.results import META
from lib.problems import InvalidRequest, SessionEnded, SessionNotFound
from lib.wait.tool_list import Event
from lib.web import sse

_CHANGED = "notifications/tools/list_changed"

type Watch = Generator[Event]


def legacy(watch: Watch) -> Generator[bytes]:
    """Yield the events of a stream that a client of a legacy version opens with GET."""
    for event in watch:
        if event is Event.CHANGED:
            yield sse.encode("message", jsonrpc.notification(_CHANGED))
        elif event is not Event.OVER:
            yield sse.KEEP_ALIVE


def modern(request: Request, watch: Watch | None) -> Generator[bytes]:
    """Yield the answer to `subscriptions/listen`, without a watch if the server's list never changes.

    If there is nothing to wait for, the subscription is acknowledged and completed at once, because clients that are
    refused try again and again. Raises Fault, and what `tool_list.watch` does.
    """
    subscription = compose(**{f"{META}subscriptionId": request.id})
    wanted = watch if _wants_tools(request) else None
    honoured = {"toolsListChanged": True} if wanted else {}
    acknowledged = compose(_meta=subscription, notifications=compose(**honoured))
    acknowledgement = jsonrpc.notification("notifications/subscriptions/acknowledged", acknowledged)
    result = jsonrpc.result(request.id, compose(resultType="complete", _meta=subscription))
    for event in _followed(wanted):
        if event is Event.WATCHING:
            yield sse.encode("message", acknowledgement)
        elif event is Event.CHANGED:
            yield sse.encode("message", jsonrpc.notification(_CHANGED, compose(_meta=subscription)))
        elif event is Event.QUIET:
            yield sse.KEEP_ALIVE
        else:
            yield sse.encode("message", result)


def _followed(watch: Watch | None) -> Generator[Event]:
    """Yield a watch's events; those of one that is over at once if there is nothing to watch, or no such session."""
    try:
        if watch:
            yield from watch
            return
    except (SessionNotFound, SessionEnded):
        pass
    yield Event.WATCHING
    yield Event.OVER


def _wants_tools(request: Request) -> bool:
    """Return whether a client wants to know of changed lists of tools. Raises Fault."""
    try:
        wanted = jsonrpc.members_of(request.params, "notifications")
    except InvalidRequest as problem:
        raise Fault(INVALID_PARAMS, problem.detail, 400) from None
    return jsontext.shape(wanted.get("toolsListChanged", JsonText(b"false"))) is True
