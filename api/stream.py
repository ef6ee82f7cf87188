"""/api/sessions/{code}/stream: the host receives each request as it comes."""

from lib.session import messages
from lib.wait import host_stream
from lib.web import sse
from lib.web.call import Call
from lib.web.endpoint import Actions, Endpoint, Reply


def listen(call: Call) -> Reply:
    """Send the session's events from the caller's cursor on."""
    access = call.host_access(in_query=True)
    if call.method == "HEAD":  # which must not end the stream of the host that listens
        messages.unanswered(access, call.cursor)
        return Reply(200, headers=sse.HEADERS)
    predecessor = "*" if call.names_host else ""
    events = host_stream.run(access, call.host, predecessor, call.cursor, call.connection)
    return Reply(200, headers=sse.HEADERS, stream=events)


class handler(Endpoint):
    """The stream of a session."""

    def actions(self, call: Call) -> Actions:
        """Return what it answers."""
        return {"GET": listen}
