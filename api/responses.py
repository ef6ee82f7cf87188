"""/api/sessions/{code}/responses: the host answers a request. …/responses/{id}: the guest reads the answer."""

from functools import partial

from lib.jsontext import compose
from lib.problems import InvalidRequest
from lib.session import messages
from lib.wait import long_poll, response_stream
from lib.web import fields, sse
from lib.web.call import Call
from lib.web.endpoint import Actions, Endpoint, Reply


def answer(call: Call) -> Reply:
    """Answer a request with a `result` or an `error`."""
    access = call.host_access()
    given = call.fields("id", "cursor", "result", "error")
    request_id = fields.request_id(given)
    cursor = fields.cursor(given)
    if len(given.keys() & {"result", "error"}) != 1:
        raise InvalidRequest("Give either result or error.")
    kind = "result" if "result" in given else "error"
    new = messages.answer(access, request_id, cursor, kind, fields.message(given, kind))
    return Reply(201 if new else 200, compose(id=request_id, status="answered"))


def read(call: Call) -> Reply:
    """Read what became of a request; with `wait`, as soon as it is answered.

    A caller that takes server-sent events gets the host's reports of progress before that.
    """
    access, request_id = call.access, call.target.id
    if call.takes_events:
        begin = partial(messages.read, access, request_id)
        events = response_stream.run(access, request_id, call.connection, call.wait.seconds, begin)
        return Reply(200, headers=call.wait.headers | sse.HEADERS, stream=events)
    with long_poll.response(access, request_id, call.connection, call.wait.seconds) as wait:
        response = wait.until_answered(messages.read(access, request_id, wait.channel))
    return Reply(202 if response.answer is None else 200, response.public(), call.wait.headers)


class handler(Endpoint):
    """The responses of a session, and each response."""

    def actions(self, call: Call) -> Actions:
        """Return what one response answers if the call names one, else what all of them answer."""
        return {"GET": read} if call.target.names_id else {"POST": answer}
