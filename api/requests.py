"""/api/sessions/{code}/requests: a guest posts, the host reads. …/requests/{id}: the guest withdraws."""

import secrets
from functools import partial

from lib.jsontext import array, compose
from lib.session import messages
from lib.wait import long_poll, response_stream
from lib.web import fields, sse
from lib.web.call import Call
from lib.web.endpoint import Actions, Endpoint, Reply


def post(call: Call) -> Reply:
    """Post a request; with `wait`, answer with its response as soon as that is there.

    A caller that takes server-sent events gets the host's reports of progress before it.
    """
    access, given = call.access, call.fields("id", "payload")
    payload = fields.message(given, "payload")
    request_id = fields.request_id(given) if "id" in given else secrets.token_urlsafe(9)
    headers = {"Location": _location(access.code, request_id)} | call.wait.headers
    if call.takes_events:
        begin = partial(messages.post, access, request_id, payload)
        events = response_stream.run(access, request_id, call.connection, call.wait.seconds, begin)
        return Reply(200, headers=headers | sse.HEADERS, stream=events)
    with long_poll.response(access, request_id, call.connection, call.wait.seconds) as wait:
        posted = messages.post(access, request_id, payload, wait.channel)
        del payload  # a call that waits must not hold it
        response = wait.until_answered(posted)
    return Reply(202 if response.answer is None else 200, response.public(), headers)


def _location(code: str, request_id: str) -> str:
    if request_id in (".", ".."):  # which would mean a folder in a path
        return f"/api/responses?code={code}&id={request_id}"
    return f"/api/sessions/{code}/responses/{request_id}"


def read(call: Call) -> Reply:
    """Read the requests that wait for an answer; with `wait`, as soon as there is one.

    A host that waits, or names itself, takes the session over. HEAD does neither: it must not end the stream of the
    host that listens.
    """
    access, cursor, wait = call.host_access(), call.cursor, call.wait
    if call.method != "HEAD" and (wait.seconds or call.names_host):
        found = long_poll.requests(access, call.host, cursor, call.connection, wait.seconds).requests
    else:
        found = messages.unanswered(access, cursor).requests
    requests = [compose(**request.public(), cursor=request.cursor) for request in found]
    last = found[-1].cursor if found else cursor
    return Reply(200, compose(requests=array(requests), cursor=last), wait.headers)


def withdraw(call: Call) -> Reply:
    """Withdraw a request that is not answered yet; a second time, too."""
    messages.withdraw(call.access, call.target.id)
    return Reply(204)


class handler(Endpoint):
    """The requests of a session, and each request."""

    def actions(self, call: Call) -> Actions:
        """Return what one request answers if the call names one, else what all of them answer."""
        return {"DELETE": withdraw} if call.target.names_id else {"GET": read, "POST": post}
