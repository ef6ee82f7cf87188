"""/api/sessions: create a session. /api/sessions/{code}: read it, renew it, end it."""

from lib import sessions, tokens
from lib.call import Call
from lib.endpoint import Actions, Endpoint, Reply


def create(call: Call) -> Reply:
    """Create a session. The answer is the only time that its host token is told."""
    call.require_no_fields()
    session = sessions.create(call.store, call.address)
    return Reply(
        201,
        session.public() | {"token": tokens.derive(session.code)},
        {"Location": f"/api/sessions/{session.code}"},
    )


def read(call: Call) -> Reply:
    """Read a session, ended ones included."""
    return Reply(200, sessions.read(call.store, call.code, call.guest).public())


def renew(call: Call) -> Reply:
    """Let a session live for another ten minutes."""
    call.require_host()
    call.require_no_fields()
    return Reply(200, sessions.renew(call.store, call.code).public())


def end(call: Call) -> Reply:
    """End a session; a second time, too."""
    call.require_host()
    sessions.end(call.store, call.code)
    return Reply(204)


class handler(Endpoint):
    """The collection of sessions, and each session."""

    def actions(self, call: Call) -> Actions:
        """Return what a session answers where the call names one, and what the collection does where not."""
        if call.names_session:
            return {"GET": read, "PATCH": renew, "DELETE": end}
        return {"POST": create}
