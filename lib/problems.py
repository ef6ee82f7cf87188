"""The contract's refusals, one class a row, rendered as problem details (RFC 9457) in one place."""

from collections.abc import Mapping
from typing import ClassVar


class Problem(Exception):
    """A refusal. `detail` tells the caller what to do about it; `headers` go out with it."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})

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
    """What should be a session code is none."""

    status, code, title = 400, "invalid_code", "Not a session code"


class HostTokenRequired(Problem):
    """A host call without a token."""

    status, code, title = 401, "host_token_required", "Only the session's host may do this"

    def __init__(self) -> None:
        super().__init__(
            "Send the token that creating the session returned, as: Authorization: Bearer TOKEN.",
            {"WWW-Authenticate": 'Bearer realm="parley"'},
        )


class HostTokenWrong(Problem):
    """A host call with a token of another session, or none of ours."""

    status, code, title = 403, "host_token_wrong", "The token is not this session's"

    def __init__(self) -> None:
        super().__init__("Send the token that was returned when this very session was created.")


class SessionNotFound(Problem):
    """No session has this code: it never had one, or its time is over."""

    status, code, title = 404, "session_not_found", "No such session"

    def __init__(self) -> None:
        super().__init__("Check the code, or ask the host for a new one: a session lives ten minutes.")


class RequestNotFound(Problem):
    """The session has no request with this id."""

    status, code, title = 404, "request_not_found", "No such request"

    def __init__(self) -> None:
        super().__init__("Check the id: it is the one that posting the request returned.")


class MethodNotAllowed(Problem):
    """The resource does not know the method; `Allow` lists those it knows."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"

    def __init__(self, method: str, allow: str) -> None:
        super().__init__(f"{method} is not possible here. Use one of: {allow}.", {"Allow": allow})


class IdConflict(Problem):
    """The id is taken by a request with another payload."""

    status, code, title = 409, "id_conflict", "The id belongs to another request"

    def __init__(self) -> None:
        super().__init__("Give the request an id of its own, or none: then the relay draws one.")


class AlreadyAnswered(Problem):
    """The request has another answer, and the first one counts."""

    status, code, title = 409, "already_answered", "The request has been answered"

    def __init__(self) -> None:
        super().__init__("The first answer stands; drop this one.")


class SessionEnded(Problem):
    """The host has ended the session."""

    status, code, title = 410, "session_ended", "The session has ended"

    def __init__(self) -> None:
        super().__init__("The host ended this session. Ask for the code of a new one.")


class PayloadTooLarge(Problem):
    """A message over the limit."""

    status, code, title = 413, "payload_too_large", "The message is too large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"Send at most {limit} bytes in one message.")


class SessionFull(Problem):
    """The messages of a session take up all the room it has."""

    status, code, title = 413, "session_full", "The session holds too much"

    def __init__(self, limit: int) -> None:
        super().__init__(f"A session holds {limit} bytes of requests and responses. Create a new one.")


class UnsupportedMediaType(Problem):
    """A body that does not say it is JSON."""

    status, code, title = 415, "unsupported_media_type", "The body is not declared as JSON"

    def __init__(self) -> None:
        super().__init__("Send JSON and say so: Content-Type: application/json.", {"Accept": "application/json"})


class RateLimited(Problem):
    """Too many calls in this minute."""

    status, code, title = 429, "rate_limited", "Too many calls"

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Wait {seconds} s, then try again.", {"Retry-After": str(seconds)})


class TooManyPending(Problem):
    """The host has not answered what there is."""

    status, code, title = 429, "too_many_pending", "Too many requests wait for an answer"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} requests wait already: let the host answer some first.", {"Retry-After": "5"})


class StoreProblem(Problem):
    """The store did not do its part. `cause` is for the log alone."""

    status = 503

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None, cause: str | None = None) -> None:
        super().__init__(detail, headers)
        self.cause = cause


class StoreUnavailable(StoreProblem):
    """The store is out of reach, too slow, or answers with something that is not an answer."""

    code, title = "store_unavailable", "The store does not answer"

    def __init__(self, cause: str) -> None:
        super().__init__("Try again in a few seconds.", {"Retry-After": "2"}, cause)


class StoreNotConfigured(StoreProblem):
    """The deployment has no usable credentials for a store."""

    code, title = "store_not_configured", "The deployment has no store"


class StoreQuotaExceeded(StoreProblem):
    """The database's plan is used up."""

    code, title = "store_quota_exceeded", "The store's quota is used up"

    def __init__(self, cause: str) -> None:
        super().__init__("The operator has to raise the database's limit in the Upstash console.", cause=cause)


class StoreUnauthorized(StoreProblem):
    """The store refuses the token, or the token may not write."""

    code, title = "store_unauthorized", "The store refuses the deployment's token"

    def __init__(self, cause: str) -> None:
        super().__init__(
            "The operator has to set the database's current token, not the read-only one, and deploy again.",
            cause=cause,
        )


class InternalError(Problem):
    """A defect of ours: the one refusal that the contract's table does not have, and no caller should see."""

    status, code, title = 500, "internal_error", "Something went wrong on our side"

    def __init__(self) -> None:
        super().__init__("Try again; if it stays, tell the operator the time of this call.")
