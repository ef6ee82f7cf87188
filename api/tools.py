"""/api/sessions/{code}/tools: the host says which tools it offers, guests read them."""

from lib.jsontext import compose
from lib.problems import InvalidRequest
from lib.session import tools
from lib.web.call import Call
from lib.web.endpoint import Actions, Endpoint, Reply


def register(call: Call) -> Reply:
    """Take the tools that the host offers, in place of those before."""
    access, given = call.host_access(), call.fields("tools")
    if "tools" not in given:
        raise InvalidRequest("tools is missing: an array.")
    tools.register(access, given["tools"])
    return Reply(204)


def read(call: Call) -> Reply:
    """Read the tools as they were registered."""
    return Reply(200, compose(tools=tools.read(call.access)))


class handler(Endpoint):
    """The tools of a session."""

    def actions(self, call: Call) -> Actions:
        """Return what they answer."""
        return {"GET": read, "PUT": register}
