"""/api/sessions: create a session. /api/sessions/{code}: read it, renew it, end it."""

from lib.session import sessions, tokens
from lib.web.call import Call
from lib.web.endpoint import Actions, Endpoint, Reply


def create(call: Call) -> Reply:
    """Create a session. Only this answer contains its host token."""
    call.fields()
    session = sessions.create(call.store, call.caller.address, call.caller.network)
    return Reply(
        201,
        session.public() | {"token": tokens.derive(session.code, session.created_at)},
        {"Location": f"/api/sessions/{session.code}"},
    )


def read(call: Call) -> Reply:
    """Read a session, ended ones included."""
    return Reply(200, sessions.read(call.access).public())


def renew(call: Call) -> Reply:
    """Let a session live for another ten minutes."""
    access = call.host_access()
    call.fields()
    return Reply(200, sessions.renew(access).public())


def end(call: Call) -> Reply:
    """End a session; a second time, too."""
    sessions.end(call.host_access())
    return Reply(204)


class handler(Endpoint):
    """The collection of sessions, and each session."""

    def actions(self, call: Call) -> Actions:
        """Return what one session answers if the call names one, else what the collection answers."""
        if call.target.names_session:
            return {"GET": read, "PATCH": renew, "DELETE": end}
        return {"POST": create}
