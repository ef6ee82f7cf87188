"""/api/sessions/{code}/requests: a guest posts a request, the host reads those that wait for an answer."""

import secrets

from lib import messages, waiting
from lib.call import Call
from lib.endpoint import Actions, Endpoint, Reply
from lib.jsontext import JsonText, compose


def post(call: Call) -> Reply:
    """Post a request; with `wait`, answer with its response as soon as that is there."""
    code = call.code
    fields = call.fields("id", "payload")
    payload = call.message(fields, "payload")
    request_id = call.given_id(fields) if "id" in fields else secrets.token_urlsafe(9)
    response = waiting.for_response(
        call.store,
        code,
        request_id,
        call.connection,
        call.wait,
        lambda: messages.post(call.store, code, call.address, request_id, payload),
    )
    headers = {"Location": _location(code, request_id)} | call.preference_applied()
    return Reply(202 if response.answer is None else 200, response.public(), headers)


def _location(code: str, request_id: str) -> str:
    if request_id in (".", ".."):  # which would mean a folder in a path
        return f"/api/responses?code={code}&id={request_id}"
    return f"/api/sessions/{code}/responses/{request_id}"


def read(call: Call) -> Reply:
    """Read the requests that wait for an answer; with `wait`, as soon as there is one."""
    call.require_host()
    cursor = call.cursor
    backlog = waiting.for_requests(call.store, call.code, cursor, call.connection, call.wait)
    requests = [
        compose(id=request.id, payload=request.payload, createdAt=request.created_at, cursor=request.cursor)
        for request in backlog.requests
    ]
    last = backlog.requests[-1].cursor if backlog.requests else cursor
    content = compose(requests=JsonText(f"[{','.join(requests)}]"), cursor=last)
    return Reply(200, content, call.preference_applied())


class handler(Endpoint):
    """The requests of a session."""

    def actions(self, call: Call) -> Actions:
        """Return what they answer."""
        return {"GET": read, "POST": post}
