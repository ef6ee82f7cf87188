"""The API's refusals, one class each, rendered as problem details (RFC 9457) in one place.

`docs/architecture.md` says how a refusal is added.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar


class Problem(Exception):
    """A refusal. Its `detail` says what the caller can do about it; its `headers` are added to the answer.

    Both may have places (`{0}`) for the values that the exception is raised with; the text gives their units.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    detail = "{0}"
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, *values: object) -> None:
        self.detail = self.detail.format(*values)
        self.headers = {name: value.format(*values) for name, value in self.headers.items()}
        super().__init__(self.detail)

    def body(self) -> dict[str, object]:
        """Return the members of the problem document."""
        return {
            "type": f"/problems.html#{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }


class InvalidJson(Problem):
    """The body is not one JSON value in UTF-8."""

    status, code, title = 400, "invalid_json", "The body is not valid JSON"


class InvalidRequest(Problem):
    """A field, parameter or header is wrong; the detail names it."""

    status, code, title = 400, "invalid_request", "The request is not valid"


class InvalidCode(Problem):
    """The text in the place of a session code is not a code."""

    status, code, title = 400, "invalid_code", "Not a session code"


class HostTokenRequired(Problem):
    """A host call without a token."""

    status, code, title = 401, "host_token_required", "Only the session's host may do this"
    detail = "Send the token that creating the session returned, as: Authorization: Bearer TOKEN."
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="parley"'}


class HostTokenWrong(Problem):
    """A host call with a token that is not of this session, or not a token at all."""

    status, code, title = 403, "host_token_wrong", "The token is not this session's"
    detail = "Send the token that was returned when this very session was created."


class SessionNotFound(Problem):
    """No session has this code: it never had one, or its time is over."""

    status, code, title = 404, "session_not_found", "No such session"
    detail = "Check the code, or ask the host for a new one: the session may have expired."


class RequestNotFound(Problem):
    """The session has no request with this id."""

    status, code, title = 404, "request_not_found", "No such request"
    detail = "Check the id: it is the one that posting the request returned."


class MethodNotAllowed(Problem):
    """The resource does not know the method; `Allow` lists those it knows."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"
    detail = "{0} is not possible here. Use one of: {1}."
    headers: Mapping[str, str] = {"Allow": "{1}"}


class IdConflict(Problem):
    """The id is taken by a request with another payload."""

    status, code, title = 409, "id_conflict", "The id belongs to another request"
    detail = "Give the request another id, or none: then the relay draws a random id."


class AlreadyAnswered(Problem):
    """The request has an answer already. The first answer counts; a second answer or a withdrawal comes too late."""

    status, code, title = 409, "already_answered", "The request has been answered"
    detail = "The first answer counts. As the host, drop yours; as the guest, read the response."


class Replaced(Problem):
    """Another host, or a newer attempt of the same host, has taken the session over."""

    status, code, title = 409, "replaced", "Another host has taken the session over"
    detail = "The session goes on with the host that came last. Stop here, or create a session of your own."


class SessionEnded(Problem):
    """The host has ended the session."""

    status, code, title = 410, "session_ended", "The session has ended"
    detail = "The host ended this session. Ask for the code of a new one."


class PayloadTooLarge(Problem):
    """A message over the limit, or a list of tools: the limit and the size are in bytes."""

    status, code, title = 413, "payload_too_large", "The message is too large"
    detail = "{1} bytes are too many: send at most {0} bytes in one message."

    def __init__(self, limit: int, size: int) -> None:
        super().__init__(limit, size)
        self.size = size


class SessionFull(Problem):
    """The messages of a session take up all the room it has."""

    status, code, title = 413, "session_full", "The session holds too much"
    detail = "A session holds {0} bytes of requests and responses. Create a new one."


class UnsupportedMediaType(Problem):
    """A body that does not say it is JSON."""

    status, code, title = 415, "unsupported_media_type", "The body is not declared as JSON"
    detail = "Send JSON and say so: Content-Type: application/json."
    headers: Mapping[str, str] = {"Accept": "application/json"}


class RateLimited(Problem):
    """A budget of the caller's network is used up for some seconds.

    A script names the `counter` that is used up, the `room` that is left in it, and the codes of sessions for which it
    does not count (`exempt`). Without a counter nobody can know which other calls would be refused.
    """

    status, code, title = 429, "rate_limited", "Too many calls"
    detail = "Wait {0} s, then try again."
    headers: Mapping[str, str] = {"Retry-After": "{0}"}

    def __init__(self, seconds: int, counter: str = "", room: int = 0, exempt: Sequence[str] | None = None) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.counter = counter
        self.room = room
        self.exempt = exempt or ()


class TooManyPending(Problem):
    """The session already holds the maximum number of unanswered requests."""

    status, code, title = 429, "too_many_pending", "Too many requests wait for an answer"
    detail = "{0} requests wait already: let the host answer some first."
    headers: Mapping[str, str] = {"Retry-After": "5"}


class Busy(Problem):
    """All places for waiting calls are taken, or those that the caller's network may take."""

    status, code, title = 503, "busy", "Too many calls wait"
    detail = "Try again in a moment, or without wait: calls that do not wait always get through."
    headers: Mapping[str, str] = {"Retry-After": "1"}


class StoreProblem(Problem):
    """The store did not do its part. `cause` is for the log; callers read it only if the store is not configured."""

    status = 503

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class StoreUnavailable(StoreProblem):
    """The store is out of reach, too slow, or answers with something that is not an answer."""

    code, title = "store_unavailable", "The store does not answer"
    detail = "Try again in a few seconds."
    headers: Mapping[str, str] = {"Retry-After": "2"}


class StoreNotConfigured(StoreProblem):
    """The deployment has no usable credentials for a store."""

    code, title = "store_not_configured", "The deployment has no store"


class StoreQuotaExceeded(StoreProblem):
    """The database's plan is used up."""

    code, title = "store_quota_exceeded", "The store's quota is used up"
    detail = "The operator has to raise the database's limit in the Upstash console."


class StoreUnauthorized(StoreProblem):
    """The store refuses the token, or the token may not write."""

    code, title = "store_unauthorized", "The store refuses the deployment's token"
    detail = "The operator has to set the database's current token, not the read-only one, and deploy again."


class InternalError(Problem):
    """A defect of the service, which no caller should ever see."""

    status, code, title = 500, "internal_error", "Something went wrong on our side"
    detail = "Try again. If it happens again, report the time of this call to the operator."


# The refusals of scripts. A script replies with the problem's code, and after it the values of the problem's detail.
REFUSED_BY_SCRIPTS: Mapping[str, type[Problem]] = {
    problem.code: problem
    for problem in (
        AlreadyAnswered,
        HostTokenWrong,
        IdConflict,
        RateLimited,
        Replaced,
        RequestNotFound,
        SessionEnded,
        SessionFull,
        SessionNotFound,
        TooManyPending,
    )
}
