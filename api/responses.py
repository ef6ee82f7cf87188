"""/api/sessions/{code}/responses: the host answers a request. …/responses/{id}: the guest reads the answer."""

from lib import messages, waiting
from lib.call import Call
from lib.endpoint import Actions, Endpoint, Reply
from lib.jsontext import compose
from lib.problems import InvalidRequest


def answer(call: Call) -> Reply:
    """Answer a request with a `result` or an `error`."""
    call.require_host()
    fields = call.fields("id", "result", "error")
    request_id = call.given_id(fields)
    if len(fields.keys() & {"result", "error"}) != 1:
        raise InvalidRequest("Give either result or error.")
    kind = "result" if "result" in fields else "error"
    new = messages.answer(call.store, call.code, request_id, kind, call.message(fields, kind))
    return Reply(201 if new else 200, compose(id=request_id, status="answered"))


def read(call: Call) -> Reply:
    """Read what became of a request; with `wait`, as soon as it is answered."""
    code, request_id = call.code, call.id
    response = waiting.for_response(
        call.store,
        code,
        request_id,
        call.connection,
        call.wait,
        lambda: messages.read(call.store, code, call.guest, request_id),
    )
    return Reply(202 if response.answer is None else 200, response.public(), call.preference_applied())


class handler(Endpoint):
    """The responses of a session, and each response."""

    def actions(self, call: Call) -> Actions:
        """Return what a response answers where the call names one, and what all of them do where not."""
        return {"GET": read} if call.names_id else {"POST": answer}
