"""/api/sessions/{code}/progress: the host reports how far it is with a request."""

from lib.session import messages
from lib.web import fields
from lib.web.call import Call
from lib.web.endpoint import Actions, Endpoint, Reply


def report(call: Call) -> Reply:
    """Pass a report on to those who wait for the request."""
    access, given = call.host_access(), call.fields("id", "progress", "total", "message")
    messages.report(access, fields.request_id(given), fields.progress(given))
    return Reply(204)


class handler(Endpoint):
    """Progress of the requests of a session."""

    def actions(self, call: Call) -> Actions:
        """Return what it answers."""
        return {"POST": report}
