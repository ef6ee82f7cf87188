"""The host's stream: requests as they come, as server-sent events."""

import secrets
import socket
from collections.abc import Generator

from lib import bell, events, messages, settings
from lib.bell import Waiter, Wakeup
from lib.jsontext import compose
from lib.kv import Store
from lib.messages import Backlog
from lib.problems import SessionEnded, SessionNotFound, StoreProblem

_KEEP_ALIVE_SECONDS = 15
# The events. `ended` says one of these reasons.
_OPEN, _REQUEST, _RENEWED, _RECONNECT, _ENDED = EVENTS = ("open", "request", "renewed", "reconnect", "ended")
REASONS = {SessionEnded: "ended", SessionNotFound: "expired", messages.Replaced: "replaced"}


def run(store: Store, code: str, cursor: str, client: socket.socket) -> Generator[bytes]:
    """Yield the events of a session from a cursor on, until it ends, another stream takes over, or the time is up.

    Before the first event it raises SessionNotFound, SessionEnded or a StoreProblem. If the store fails later, the
    stream just ends, which tells its client to connect again. Raises ClientGone.
    """
    stream = secrets.token_hex(8)
    expires_at = ""

    def wakes_on(message: str) -> bool:
        return not message.startswith(bell.RESPONSE) and message != bell.STREAM + stream

    with Waiter(store, code, client, settings.stream_seconds(), wakes_on, _KEEP_ALIVE_SECONDS) as waiter:
        for wakeup in waiter:
            if wakeup is Wakeup.KEEPALIVE:
                yield events.KEEP_ALIVE
                continue
            try:
                if expires_at:
                    backlog = messages.unanswered(store, code, cursor, stream)
                else:
                    backlog = _open(store, code, cursor, stream, waiter)
            except (SessionNotFound, SessionEnded, messages.Replaced, StoreProblem) as problem:
                if not expires_at and not isinstance(problem, messages.Replaced):
                    raise
                if reason := REASONS.get(type(problem)):
                    yield events.encode(_ENDED, compose(reason=reason), cursor)
                return
            waiter.wake_at_expiry(backlog.ttl_ms)
            session = backlog.session
            if not expires_at:
                yield events.encode(_OPEN, compose(code=code, expiresAt=session.expires_at), cursor)
            elif session.expires_at != expires_at:
                yield events.encode(_RENEWED, compose(expiresAt=session.expires_at), cursor)
            expires_at = session.expires_at
            for request in backlog.requests:
                cursor = request.cursor
                yield events.encode(_REQUEST, compose(**request.public()), cursor)
    yield events.encode(_RECONNECT, "{}", cursor)


def _open(store: Store, code: str, cursor: str, stream: str, waiter: Waiter) -> Backlog:
    """Make the stream the session's in place of the one before, as long as the client is there.

    Openings may reach the store in another order than clients asked in: an opening that was held up, and whose client
    has connected again long since, must not end the stream that its client now has. Raises what `messages.open_stream`
    does, and ClientGone.
    """
    predecessor = ""
    while True:
        try:
            return messages.open_stream(store, code, cursor, stream, predecessor)
        except messages.StreamConflict as conflict:
            waiter.require_client()
            predecessor = conflict.newest
