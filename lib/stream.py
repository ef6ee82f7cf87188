"""The host's stream: requests as they come, as server-sent events."""

import secrets
import socket
from collections.abc import Generator

from lib import events, messages, settings
from lib.bell import Moment, Watch
from lib.jsontext import compose
from lib.kv import Store
from lib.messages import Backlog
from lib.problems import SessionEnded, SessionNotFound, StoreProblem

_KEEP_ALIVE_SECONDS = 15


def run(store: Store, code: str, cursor: str, client: socket.socket) -> Generator[bytes]:
    """Yield the events of a session from a cursor on, until it ends, another stream takes over, or the time is up.

    Before the first one it raises SessionNotFound, SessionEnded or a StoreProblem. Where the store fails later the
    stream just ends, which tells its client to connect again. Raises ClientGone.
    """
    stream = secrets.token_hex(8)
    expires_at = ""

    def matters(word: str) -> bool:
        return not word.startswith("response") and word != f"stream {stream}"

    with Watch(store, code, client, settings.stream_seconds(), matters, _KEEP_ALIVE_SECONDS) as watch:
        for moment in watch:
            if moment is Moment.BEAT:
                yield events.KEEP_ALIVE
                continue
            try:
                if expires_at:
                    backlog = messages.unanswered(store, code, cursor, stream)
                else:
                    backlog = _opened(store, code, cursor, stream, watch)
            except (SessionNotFound, SessionEnded, messages.Replaced, StoreProblem) as reason:
                if not expires_at and not isinstance(reason, messages.Replaced):
                    raise
                if name := _END.get(type(reason)):
                    yield events.encode("ended", compose(reason=name), cursor)
                return
            watch.expect_end(backlog.ttl_ms)
            session = backlog.session
            if not expires_at:
                yield events.encode("open", compose(code=code, expiresAt=session.expires_at), cursor)
            elif session.expires_at != expires_at:
                yield events.encode("renewed", compose(expiresAt=session.expires_at), cursor)
            expires_at = session.expires_at
            for request in backlog.requests:
                cursor = request.cursor
                data = compose(id=request.id, payload=request.payload, createdAt=request.created_at)
                yield events.encode("request", data, cursor)
    yield events.encode("reconnect", "{}", cursor)


def _opened(store: Store, code: str, cursor: str, stream: str, watch: Watch) -> Backlog:
    """Take the session over from whatever stream has it, as long as the client is there.

    The order in which openings reach the store is not that in which clients asked: one that was held up, and whose
    client has long connected again, must not end the stream that its client now has. Raises what `messages.unanswered`
    does, and ClientGone.
    """
    predecessor = ""
    while True:
        try:
            return messages.unanswered(store, code, cursor, stream, predecessor)
        except messages.Overtaken as other:
            watch.require_client()
            predecessor = other.stream


_END: dict[type[Exception], str] = {
    SessionEnded: "ended",
    SessionNotFound: "expired",
    messages.Replaced: "replaced",
}
