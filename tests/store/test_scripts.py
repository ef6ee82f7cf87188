"""lib/store/scripts: each script's replies, on an embedded and a real Redis; running one twice is running it once."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from upstash_redis.errors import UpstashError

from lib.problems import REFUSED_BY_SCRIPTS
from lib.store import script as loader
from lib.store.script import Script
from lib.wait import notifications
from tests.support.stores import Store
from tests.support.tools import PATIENCE_SECONDS, PROJECT

CODE = "ABC12345"
RECORD = (
    '{"code":"ABC12345","createdAt":"2026-01-01T00:00:00.000Z",'
    '"expiresAt":"2026-01-01T00:10:00.000Z","ip":"192.0.2.1","active":true}'
)
ENDED = RECORD.replace("true", "false")


def run(store: Store, name: str, keys: list[str], args: list[Any]) -> Any:
    return store.db.eval(Script(name).text, [store.prefix + key for key in keys], [str(arg) for arg in args])


def put(store: Store, before: "Held") -> None:
    """Write what is in the store before a script runs: strings, hashes, sorted sets, and streams of requests."""
    pipeline = store.db.pipeline()
    for key, value in before.items():
        name = store.prefix + key
        if isinstance(value, str):
            pipeline.set(name, value)
        elif isinstance(value, list):
            for cursor, request_id, payload in value:
                pipeline.execute(["XADD", name, cursor, "id", request_id, "payload", payload])
        elif key.startswith("rate:known:"):
            pipeline.execute(["ZADD", name, *(word for code, score in value.items() for word in (score, code))])
        else:
            pipeline.hset(name, values={field: str(text) for field, text in value.items()})
        pipeline.expire(name, 60)
    if before:
        pipeline.exec()


READS = {
    "string": lambda key: ["GET", key],
    "hash": lambda key: ["HGETALL", key],
    "stream": lambda key: ["XRANGE", key, "-", "+"],
    "zset": lambda key: ["ZRANGE", key, "0", "-1", "WITHSCORES"],
}


def held(store: Store) -> dict[str, tuple[str, int]]:
    """Return what is in the store: name -> value, and whether it expires."""
    if not (names := store.names()):
        return {}
    keys = [store.prefix + name for name in names]
    kinds = store.db.pipeline()
    for key in keys:
        kinds.type(key)
    contents = store.db.pipeline()
    for key, kind in zip(keys, kinds.exec(), strict=True):
        contents.execute(READS[str(kind)](key))
        contents.ttl(key)
    found: list[Any] = contents.exec()
    return {name: (str(found[2 * at]), min(1, found[2 * at + 1])) for at, name in enumerate(names)}


CREATE = ["session:ABC12345", "rate:sessions:a", "rate:call:1"], [CODE, '"a"', 600, 2]
KEYS = [
    *("session:ABC12345", "rate:misses:a", "rate:known:a"),
    *("req:ABC12345", "res:ABC12345", "tools:ABC12345"),
]
POST_KEYS = [*KEYS, "rate:requests:a", "rate:bytes:a", "rate:read:a"]
SEND_KEYS = [*KEYS, "rate:bytes:a"]
READ_KEYS = [*KEYS, "rate:read:a"]
CREATED = "2026-01-01T00:00:00.000Z"
GUEST, HOST, STALE = ["", 2], [CREATED, 2], ["2025-01-01T00:00:00.000Z", 2]
LIVE = 600  # seconds that messages live
OVERHEAD = 400  # bytes that a message counts beside its text


def post_args(
    access: list[Any] = GUEST,
    request_id: str = "q",
    payload: str = "[1]",
    digest: str = "digest",
    channel: str = "",
    network: str = "a",
    pending: int = 2,
    share: int = 2,
    bytes_held: int = 1000,
    sent: int = 1000,
    call: str = "",
) -> list[Any]:
    """Return the arguments of `post_request`, with limits of three requests and of 1000 bytes read."""
    limits = [3, pending, share, bytes_held, sent, 1000, LIVE]
    return [*access, request_id, payload, digest, channel, network, *limits, call]


def answer_args(
    access: list[Any] = HOST,
    request_id: str = "q",
    cursor: str = "",
    kind: str = "result",
    text: str = "1",
    bytes_held: int = 1000,
    sent: int = 1000,
) -> list[Any]:
    """Return the arguments of `answer_request`."""
    return [*access, request_id, cursor, kind, text, bytes_held, sent, LIVE]


def read_args(
    access: list[Any] = HOST, cursor: str = "0-0", host: str = "", channel: str = "", page: int = 1000
) -> list[Any]:
    """Return the arguments of `read_requests`."""
    return [*access, cursor, host, channel, page, 1000, LIVE]


def take_over_args(access: list[Any] = HOST, host: str = "h/1", predecessor: str = "*", page: int = 1000) -> list[Any]:
    """Return the arguments of `take_over`."""
    return [*access, "0-0", host, "a channel", predecessor, page, 1000, LIVE]


def response_args(access: list[Any] = GUEST, request_id: str = "q", channel: str = "") -> list[Any]:
    """Return the arguments of `read_response`."""
    return [*access, request_id, channel, 1000, LIVE]


POST, ANSWER, READ_REQUESTS, TAKE_OVER, READ_RESPONSE = (
    *(post_args(), answer_args(), read_args(), take_over_args(), response_args()),
)
LOOK = read_args(host="h/1", channel="a channel")
RENEW: list[Any] = [*HOST, 600, 999_999_999, 1000, LIVE]
READ_TOOLS: list[Any] = [*GUEST, 1000, ""]
REPORT: list[Any] = [*HOST, "q", "{}", 1000]
CHECK_KEYS = ["session:ABC12345", "req:ABC12345", "res:ABC12345"]
CHECK: list[Any] = ["a channel", "echo 1", LIVE, "guest", "q", "", ""]
SCRIPTS_FOLDER = PROJECT / "lib" / "store" / "scripts"
COMMON = "\n".join((SCRIPTS_FOLDER / "common" / f"{name}.lua").read_text("utf-8") for name in loader._COMMON)

type Held = dict[str, str | dict[str, str] | dict[str, float] | list[tuple[str, str, str]]]

MISSING: Held = {}
FOUND: Held = {"session:ABC12345": RECORD}
OVER: Held = {"session:ABC12345": ENDED}
FOREIGN: Held = {"session:ABC12345": RECORD.replace("true", "1")}
MANY: Held = {"rate:misses:a": "2"}
KNOWN: Held = {"rate:known:a": {CODE: 4e12}}
CURSOR = "1800000000000-1"
TOOLS: Held = {"tools:ABC12345": "[1]"}
BACKLOG: Held = {"req:ABC12345": [(CURSOR, "q", "[1]")], "res:ABC12345": {"q": f"pending {CURSOR} 3 digest a"}}
PENDING = f"pending {CURSOR} 3 digest a"
ANSWERED = "answered 1800000000000 digest result 1"


def responses(**held: str) -> Held:
    """Return what is in the store of a session whose hash of responses has these fields."""
    return {**FOUND, "res:ABC12345": {"~bytes": "3", **held}}


CALLED = {**BACKLOG, **FOUND, "res:ABC12345": {"q": f"{PENDING} c", "~call:c": "q", "~bytes": "403"}}


def shared(counted: int) -> Held:
    """Return what is in the store of a session with one pending request, of which a network is said to have so many."""
    return {**BACKLOG, "res:ABC12345": {"q": PENDING, "~pending:a": str(counted), "~bytes": "403"}}


REPLIES: list[tuple[str, list[str], list[Any], Held, str]] = [
    ("create_session", *CREATE, MISSING, "created"),
    ("create_session", *CREATE, FOUND, "code_taken"),
    ("create_session", *CREATE, {"rate:sessions:a": "1"}, "created"),
    ("create_session", *CREATE, {"rate:sessions:a": "2"}, "rate_limited"),
    ("read_session", KEYS, GUEST, FOUND, "found"),
    ("read_session", KEYS, GUEST, OVER, "found"),
    ("read_session", KEYS, HOST, OVER, "found"),
    ("read_session", KEYS, GUEST, MISSING, "session_not_found"),
    ("read_session", KEYS, GUEST, FOUND | {"rate:misses:a": "1"}, "found"),
    ("read_session", KEYS, GUEST, FOUND | MANY, "rate_limited"),
    ("read_session", KEYS, GUEST, FOUND | MANY | KNOWN, "found"),
    ("read_session", KEYS, GUEST, MANY | KNOWN, "session_not_found"),
    ("read_session", KEYS, GUEST, MANY, "rate_limited"),
    ("read_session", KEYS, HOST, FOUND | MANY, "found"),
    ("read_session", KEYS, HOST, MANY, "rate_limited"),
    ("read_session", KEYS, HOST, MISSING, "session_not_found"),
    ("read_session", KEYS, STALE, FOUND, "host_token_wrong"),
    ("renew_session", SEND_KEYS, RENEW, MISSING, "session_not_found"),
    ("renew_session", SEND_KEYS, RENEW, OVER, "session_ended"),
    ("renew_session", SEND_KEYS, RENEW, FOUND, "found"),
    ("renew_session", SEND_KEYS, RENEW, FOREIGN, "unreadable"),
    ("renew_session", SEND_KEYS, [*STALE, *RENEW[2:]], FOUND, "host_token_wrong"),
    ("renew_session", SEND_KEYS, RENEW, MANY, "rate_limited"),
    ("renew_session", SEND_KEYS, RENEW, FOUND | TOOLS | {"rate:bytes:a": "597"}, "found"),
    ("renew_session", SEND_KEYS, RENEW, FOUND | TOOLS | {"rate:bytes:a": "598"}, "rate_limited"),
    ("end_session", KEYS, HOST, MISSING, "session_not_found"),
    ("end_session", KEYS, HOST, FOUND, "ended"),
    ("end_session", KEYS, HOST, OVER, "ended"),
    ("end_session", KEYS, HOST, FOREIGN, "unreadable"),
    ("end_session", KEYS, STALE, FOUND, "host_token_wrong"),
    ("end_session", KEYS, HOST, MANY, "rate_limited"),
    ("probe", ["rate:probe:x", "rate:probe:y"], ["v", 60, "a channel"], MISSING, "probed"),
    ("post_request", POST_KEYS, POST, MISSING, "session_not_found"),
    ("post_request", POST_KEYS, POST, OVER, "session_ended"),
    ("post_request", POST_KEYS, POST, FOREIGN, "unreadable"),
    ("post_request", POST_KEYS, POST, FOUND, "pending"),
    ("post_request", POST_KEYS, post_args(HOST), FOUND, "pending"),
    ("post_request", POST_KEYS, post_args(STALE), FOUND, "host_token_wrong"),
    ("post_request", POST_KEYS, POST, FOUND | {"rate:requests:a": "2"}, "pending"),
    ("post_request", POST_KEYS, POST, FOUND | {"rate:requests:a": "3"}, "rate_limited"),
    ("post_request", POST_KEYS, POST, FOUND | {"rate:bytes:a": "598"}, "rate_limited"),
    ("post_request", POST_KEYS, POST, FOUND | {"rate:bytes:a": "597"}, "pending"),
    ("post_request", POST_KEYS, POST, FOUND | MANY, "rate_limited"),
    ("post_request", POST_KEYS, POST, FOUND | MANY | KNOWN, "pending"),
    ("post_request", POST_KEYS, post_args(pending=0), FOUND, "too_many_pending"),
    ("post_request", POST_KEYS, post_args(request_id="r", share=1), FOUND | shared(1), "too_many_pending"),
    ("post_request", POST_KEYS, post_args(request_id="r", share=1, network="b"), FOUND | shared(1), "pending"),
    ("post_request", POST_KEYS, post_args(request_id="r", share=2), FOUND | shared(1), "pending"),
    ("post_request", POST_KEYS, post_args(request_id="r", share=2), FOUND | shared(99), "pending"),
    ("post_request", POST_KEYS, post_args(bytes_held=402), FOUND, "session_full"),
    ("post_request", POST_KEYS, post_args(bytes_held=403), FOUND, "pending"),
    ("post_request", POST_KEYS, POST, responses(q=ANSWERED), "answered"),
    ("post_request", POST_KEYS, POST, responses(q=ANSWERED) | {"rate:read:a": "999"}, "answered"),
    ("post_request", POST_KEYS, POST, responses(q=ANSWERED) | {"rate:read:a": "1000"}, "rate_limited"),
    ("post_request", POST_KEYS, POST, responses(q=ANSWERED.replace("digest", "other")), "id_conflict"),
    ("post_request", POST_KEYS, POST, responses(q=PENDING.replace("digest", "other")), "id_conflict"),
    ("post_request", POST_KEYS, POST, responses(q="foreign"), "unreadable"),
    ("read_response", READ_KEYS, READ_RESPONSE, MISSING, "session_not_found"),
    ("read_response", READ_KEYS, READ_RESPONSE, OVER, "session_ended"),
    ("read_response", READ_KEYS, READ_RESPONSE, FOUND, "request_not_found"),
    ("read_response", READ_KEYS, READ_RESPONSE, FOUND | MANY, "rate_limited"),
    ("read_response", READ_KEYS, READ_RESPONSE, responses(q=PENDING) | MANY | KNOWN, "pending"),
    ("read_response", READ_KEYS, READ_RESPONSE, responses(q=ANSWERED), "answered"),
    ("read_response", READ_KEYS, READ_RESPONSE, responses(q=PENDING), "pending"),
    ("read_response", READ_KEYS, READ_RESPONSE, responses(q="foreign"), "unreadable"),
    ("read_response", READ_KEYS, response_args(STALE), responses(q=PENDING), "host_token_wrong"),
    ("read_response", READ_KEYS, READ_RESPONSE, responses(q=ANSWERED) | {"rate:read:a": "999"}, "answered"),
    ("read_response", READ_KEYS, READ_RESPONSE, responses(q=ANSWERED) | {"rate:read:a": "1000"}, "rate_limited"),
    ("read_requests", READ_KEYS, READ_REQUESTS, MISSING, "session_not_found"),
    ("read_requests", READ_KEYS, READ_REQUESTS, OVER, "session_ended"),
    ("read_requests", READ_KEYS, READ_REQUESTS, FOUND, "found"),
    ("read_requests", READ_KEYS, READ_REQUESTS, FOREIGN, "unreadable"),
    ("read_requests", READ_KEYS, READ_REQUESTS, MANY, "rate_limited"),
    ("read_requests", READ_KEYS, read_args(STALE), FOUND, "host_token_wrong"),
    ("read_requests", READ_KEYS, READ_REQUESTS, FOUND | BACKLOG | {"rate:read:a": "997"}, "found"),
    ("read_requests", READ_KEYS, READ_REQUESTS, FOUND | BACKLOG | {"rate:read:a": "998"}, "rate_limited"),
    ("read_requests", READ_KEYS, LOOK, FOUND, "found"),
    ("read_requests", READ_KEYS, LOOK, responses(**{"~hosts": "h/1 g/7"}), "found"),
    ("read_requests", READ_KEYS, LOOK, responses(**{"~hosts": "h/2"}), "replaced"),
    ("read_requests", READ_KEYS, LOOK, responses(**{"~hosts": "g/1 h/1"}), "replaced"),
    ("take_over", READ_KEYS, TAKE_OVER, MISSING, "session_not_found"),
    ("take_over", READ_KEYS, TAKE_OVER, OVER, "session_ended"),
    ("take_over", READ_KEYS, TAKE_OVER, FOUND, "found"),
    ("take_over", READ_KEYS, TAKE_OVER, FOREIGN, "unreadable"),
    ("take_over", READ_KEYS, TAKE_OVER, MANY, "rate_limited"),
    ("take_over", READ_KEYS, take_over_args(STALE), FOUND, "host_token_wrong"),
    ("take_over", READ_KEYS, TAKE_OVER, FOUND | BACKLOG | {"rate:read:a": "997"}, "found"),
    ("take_over", READ_KEYS, TAKE_OVER, FOUND | BACKLOG | {"rate:read:a": "998"}, "rate_limited"),
    ("take_over", READ_KEYS, TAKE_OVER, responses(**{"~hosts": "g/9"}), "found"),
    ("take_over", READ_KEYS, TAKE_OVER, responses(**{"~hosts": "h/0 g/9"}), "found"),
    ("take_over", READ_KEYS, TAKE_OVER, responses(**{"~hosts": "h/2"}), "replaced"),
    ("take_over", READ_KEYS, TAKE_OVER, responses(**{"~hosts": "g/9 h/0"}), "replaced"),
    ("take_over", READ_KEYS, take_over_args(predecessor=""), FOUND, "found"),
    ("take_over", READ_KEYS, take_over_args(predecessor=""), responses(**{"~hosts": "g/9"}), "conflict"),
    ("take_over", READ_KEYS, take_over_args(predecessor="g/9"), responses(**{"~hosts": "g/9"}), "found"),
    ("answer_request", SEND_KEYS, ANSWER, MISSING, "session_not_found"),
    ("answer_request", SEND_KEYS, ANSWER, OVER, "session_ended"),
    ("answer_request", SEND_KEYS, ANSWER, FOREIGN, "unreadable"),
    ("answer_request", SEND_KEYS, ANSWER, FOUND, "request_not_found"),
    ("answer_request", SEND_KEYS, ANSWER, responses(q=PENDING), "answered"),
    ("answer_request", SEND_KEYS, ANSWER, responses(q=ANSWERED), "repeated"),
    ("answer_request", SEND_KEYS, ANSWER, responses(q=ANSWERED.replace("result", "error")), "already_answered"),
    ("answer_request", SEND_KEYS, answer_args(cursor=CURSOR), responses(q=PENDING), "answered"),
    ("answer_request", SEND_KEYS, answer_args(cursor="1-1"), responses(q=PENDING), "request_not_found"),
    ("answer_request", SEND_KEYS, answer_args(bytes_held=3, text="123"), responses(q=PENDING), "answered"),
    ("answer_request", SEND_KEYS, answer_args(bytes_held=3, text="1234"), responses(q=PENDING), "session_full"),
    ("answer_request", SEND_KEYS, ANSWER, responses(q=PENDING) | {"rate:bytes:a": "599"}, "answered"),
    ("answer_request", SEND_KEYS, ANSWER, responses(q=PENDING) | {"rate:bytes:a": "600"}, "rate_limited"),
    ("answer_request", SEND_KEYS, ANSWER, MANY, "rate_limited"),
    ("answer_request", SEND_KEYS, ANSWER, responses(q="foreign"), "unreadable"),
    ("answer_request", SEND_KEYS, answer_args(STALE), responses(q=PENDING), "host_token_wrong"),
    ("withdraw_request", KEYS, [*GUEST, "q"], MISSING, "session_not_found"),
    ("withdraw_request", KEYS, [*GUEST, "q"], OVER, "session_ended"),
    ("withdraw_request", KEYS, [*GUEST, "q"], FOREIGN, "unreadable"),
    ("withdraw_request", KEYS, [*GUEST, "q"], FOUND | MANY, "rate_limited"),
    ("withdraw_request", KEYS, [*STALE, "q"], FOUND, "host_token_wrong"),
    ("withdraw_request", KEYS, [*GUEST, "q"], FOUND, "withdrawn"),
    ("withdraw_request", KEYS, [*GUEST, "q"], responses(q=PENDING), "withdrawn"),
    ("withdraw_request", KEYS, [*GUEST, "q"], responses(q=ANSWERED), "already_answered"),
    ("withdraw_request", KEYS, [*GUEST, "q"], responses(q="foreign"), "unreadable"),
    ("cancel_call", KEYS, [*GUEST, "c"], MISSING, "session_not_found"),
    ("cancel_call", KEYS, [*GUEST, "c"], OVER, "session_ended"),
    ("cancel_call", KEYS, [*GUEST, "c"], FOREIGN, "unreadable"),
    ("cancel_call", KEYS, [*GUEST, "c"], FOUND | MANY, "rate_limited"),
    ("cancel_call", KEYS, [*STALE, "c"], FOUND, "host_token_wrong"),
    ("cancel_call", KEYS, [*GUEST, "c"], FOUND, "withdrawn"),
    ("cancel_call", KEYS, [*GUEST, "c"], CALLED, "withdrawn"),
    ("report_progress", SEND_KEYS, REPORT, MISSING, "session_not_found"),
    ("report_progress", SEND_KEYS, REPORT, OVER, "session_ended"),
    ("report_progress", SEND_KEYS, REPORT, FOREIGN, "unreadable"),
    ("report_progress", SEND_KEYS, REPORT, MANY, "rate_limited"),
    ("report_progress", SEND_KEYS, [*STALE, *REPORT[2:]], FOUND, "host_token_wrong"),
    ("report_progress", SEND_KEYS, REPORT, FOUND, "request_not_found"),
    ("report_progress", SEND_KEYS, REPORT, responses(q=ANSWERED), "request_not_found"),
    ("report_progress", SEND_KEYS, REPORT, responses(q=PENDING) | {"rate:bytes:a": "999"}, "rate_limited"),
    ("report_progress", SEND_KEYS, REPORT, responses(q=PENDING) | {"rate:bytes:a": "998"}, "reported"),
    ("leave_session", KEYS, [*HOST, "h/1"], MISSING, "session_not_found"),
    ("leave_session", KEYS, [*HOST, "h/1"], OVER, "session_ended"),
    ("leave_session", KEYS, [*HOST, "h/1"], FOREIGN, "unreadable"),
    ("leave_session", KEYS, [*HOST, "h/1"], MANY, "rate_limited"),
    ("leave_session", KEYS, [*STALE, "h/1"], FOUND, "host_token_wrong"),
    ("leave_session", KEYS, [*HOST, "h/1"], FOUND, "left"),
    ("leave_session", KEYS, [*HOST, "h/1"], responses(**{"~hosts": "h/1"}), "left"),
    ("watch_tools", KEYS, [*GUEST, "a channel"], MISSING, "session_not_found"),
    ("watch_tools", KEYS, [*GUEST, "a channel"], OVER, "session_ended"),
    ("watch_tools", KEYS, [*GUEST, "a channel"], FOREIGN, "unreadable"),
    ("watch_tools", KEYS, [*GUEST, "a channel"], FOUND | MANY, "rate_limited"),
    ("watch_tools", KEYS, [*STALE, "a channel"], FOUND, "host_token_wrong"),
    ("watch_tools", KEYS, [*GUEST, "a channel"], FOUND, "watching"),
    ("write_tools", SEND_KEYS, [*HOST, "[]", 1000], MISSING, "session_not_found"),
    ("write_tools", SEND_KEYS, [*HOST, "[]", 1000], OVER, "session_ended"),
    ("write_tools", SEND_KEYS, [*HOST, "[]", 1000], FOREIGN, "unreadable"),
    ("write_tools", SEND_KEYS, [*HOST, "[]", 1000], MANY, "rate_limited"),
    ("write_tools", SEND_KEYS, [*HOST, "[]", 1000], FOUND | {"rate:bytes:a": "998"}, "written"),
    ("write_tools", SEND_KEYS, [*HOST, "[]", 1000], FOUND | {"rate:bytes:a": "999"}, "rate_limited"),
    ("write_tools", SEND_KEYS, [*STALE, "[]", 1000], FOUND, "host_token_wrong"),
    ("read_tools", READ_KEYS, READ_TOOLS, MISSING, "session_not_found"),
    ("read_tools", READ_KEYS, READ_TOOLS, OVER, "session_ended"),
    ("read_tools", READ_KEYS, READ_TOOLS, FOREIGN, "unreadable"),
    ("read_tools", READ_KEYS, READ_TOOLS, FOUND | MANY, "rate_limited"),
    ("read_tools", READ_KEYS, [*STALE, 1000, ""], FOUND, "host_token_wrong"),
    ("read_tools", READ_KEYS, READ_TOOLS, FOUND, "found"),
    ("read_tools", READ_KEYS, READ_TOOLS, FOUND | TOOLS | {"rate:read:a": "997"}, "found"),
    ("read_tools", READ_KEYS, READ_TOOLS, FOUND | TOOLS | {"rate:read:a": "998"}, "rate_limited"),
    ("check_waiting", CHECK_KEYS, CHECK, responses(q=PENDING), "checked"),
]


@pytest.mark.parametrize(("name", "keys", "args", "before", "outcome"), REPLIES)
def test_reply(store: Store, name: str, keys: list[str], args: list[Any], before: Held, outcome: str) -> None:
    """A script says what it did, and says and does the same when it runs again."""
    put(store, before)
    reply = run(store, name, keys, args)
    assert reply[0] == outcome
    assert all(expires == 1 for _, expires in held(store).values())
    put_back(store, name, before)
    after = held(store)
    again = run(store, name, keys, args)
    put_back(store, name, before)
    assert again[0] == {"answer_request answered": "repeated"}.get(f"{name} {outcome}", outcome)
    if outcome == "session_not_found" and "rate:misses:a" in after:  # each miss counts
        return
    if name not in ("renew_session", "report_progress"):  # which count each time
        assert listeners_aside(held(store)) == listeners_aside(after)
        if outcome in ("pending", "rate_limited"):  # where the time to live has gone on
            assert 0 <= again[1] <= reply[1]
        else:
            assert again[1:2] == reply[1:2]


def put_back(store: Store, name: str, before: Held) -> None:
    """Set the counters back that count each time: of what is read, and of what a renewal keeps."""
    for counter in ("rate:read:a", *(["rate:bytes:a"] if name in ("renew_session", "report_progress") else [])):
        store.db.delete(store.prefix + counter)
        put(store, {key: value for key, value in before.items() if key == counter})


def listeners_aside(found: dict[str, tuple[str, int]]) -> dict[str, tuple[str, int]]:
    """Leave out the times at which listeners were renewed."""
    return {name: (re.sub(r"\d{13} (?=host|guest)", "", text), expires) for name, (text, expires) in found.items()}


COUNTERS = sorted({
    (name, key)
    for name, keys, *_ in REPLIES
    for key in keys
    if key.startswith("rate:") and key not in KEYS and key.split(":")[1] not in ("call", "probe")
})  # fmt: skip


@pytest.mark.parametrize(("name", "counter"), COUNTERS)
def test_a_counter_counts_to_its_limit(store: Store, name: str, counter: str) -> None:
    """Each has a row at its limit, and one below it, in which it counts."""
    rows = {row[-1]: row for row in REPLIES if row[0] == name and counter in row[3]}
    assert "rate_limited" in rows, f"{name}: no row of REPLIES has {counter} at its limit"
    del rows["rate_limited"]
    assert rows, f"{name}: no row of REPLIES has {counter} below its limit"
    for _, keys, args, before, _ in rows.values():
        put(store, before)
        run(store, name, keys, args)
        assert int(store.db.get(store.prefix + counter) or 0) > int(str(before[counter]))


def test_a_miss_counts(store: Store) -> None:
    """Also that of a host whose session is over."""
    replies = [run(store, "read_session", KEYS, access)[0] for access in (GUEST, HOST, GUEST, HOST)]
    assert replies == ["session_not_found", "session_not_found", "rate_limited", "rate_limited"]
    assert 0 < store.db.ttl(f"{store.prefix}rate:misses:a") <= 60


def test_rate_limited_says_how_long(store: Store) -> None:
    store.db.set(f"{store.prefix}rate:sessions:a", "2", ex=600)
    outcome, seconds, *rest = run(store, "create_session", *CREATE)
    assert (outcome, *rest) == ("rate_limited", f"{store.prefix}rate:sessions:a", 0)
    assert 540 < seconds <= 600


def test_the_minute_begins_with_the_first_use(store: Store) -> None:
    """However often a counter is used in it, it ends."""
    store.db.set(f"{store.prefix}rate:sessions:a", "1", ex=17)
    assert run(store, "create_session", *CREATE)[0] == "created"
    assert 0 < store.db.ttl(f"{store.prefix}rate:sessions:a") <= 17


@pytest.mark.parametrize(
    ("name", "keys", "args", "before", "expected"),
    [
        ("post_request", POST_KEYS, POST, FOUND, "host: ABC12345 request CURSOR 0-0 WHEN q 3 [1]"),
        ("post_request", POST_KEYS, post_args(payload="[\n]"), FOUND, "host: ABC12345 request CURSOR"),
        (
            *("post_request", POST_KEYS, post_args(payload="1" * 8192, bytes_held=99_999, sent=99_999), FOUND),
            f"host: ABC12345 request CURSOR 0-0 WHEN q 8192 {'1' * 8192}",
        ),
        (
            *("post_request", POST_KEYS, post_args(payload="1" * 8193, bytes_held=99_999, sent=99_999), FOUND),
            "host: ABC12345 request CURSOR",
        ),
        (
            "post_request",
            POST_KEYS,
            POST,
            responses(**{"~last": "7-8"}),
            "host: ABC12345 request CURSOR 7-8 WHEN q 3 [1]",
        ),
        ("answer_request", SEND_KEYS, ANSWER, responses(q=PENDING), "guest: ABC12345 response q WHEN result 1 1"),
        (
            "answer_request",
            SEND_KEYS,
            answer_args(text="[\r]"),
            responses(q=PENDING),
            "guest: ABC12345 response q",
        ),
        ("take_over", READ_KEYS, TAKE_OVER, responses(**{"~hosts": "g/9"}), "host: ABC12345 host h/1"),
        ("renew_session", SEND_KEYS, RENEW, FOUND, "host: ABC12345 renewed WHEN 600000"),
        ("end_session", KEYS, HOST, FOUND, "host: ABC12345 ended; guest: ABC12345 ended"),
        (
            *("withdraw_request", KEYS, [*GUEST, "q"], responses(q=PENDING)),
            "host: ABC12345 withdrawn q; guest: ABC12345 withdrawn q",
        ),
        (
            *("cancel_call", KEYS, [*GUEST, "c"], CALLED),
            "host: ABC12345 withdrawn q; guest: ABC12345 cancelled q; guest: ABC12345 withdrawn q",
        ),
        ("cancel_call", KEYS, [*GUEST, "other"], CALLED, ""),
        (
            *("report_progress", SEND_KEYS, [*HOST, "q", '{"progress":1}', 1000], responses(q=PENDING)),
            'guest: ABC12345 progress q 14 {"progress":1}',
        ),
        ("leave_session", KEYS, [*HOST, "h/1"], responses(**{"~hosts": "h/1 g/1"}), "guest: ABC12345 left"),
        ("leave_session", KEYS, [*HOST, "h/1"], responses(**{"~hosts": "h/2 h/1"}), ""),
        ("write_tools", SEND_KEYS, [*HOST, "[]", 1000], FOUND, "guest: ABC12345 tools 1"),
        ("write_tools", SEND_KEYS, [*HOST, "[1]", 1000], FOUND | TOOLS, ""),
        ("read_tools", READ_KEYS, [*GUEST, 1000, '{"name":"é"}'], FOUND, 'host: ABC12345 guest 13 {"name":"é"}'),
        ("read_tools", READ_KEYS, READ_TOOLS, FOUND, ""),
    ],
)
def test_bell(store: Store, name: str, keys: list[str], args: list[Any], before: Held, expected: str) -> None:
    """A script that changes something tells those whom it concerns, each once, and not those who are gone."""
    put(store, before)
    now = int(store.db.time()[0]) * 1000
    channels = {role: f"{store.prefix}bell:{role}" for role in ("host", "guest", "gone")}
    lines = f"{now} host {channels['host']}\n{now} guest {channels['guest']}\n{now - 70_000} host {channels['gone']}\n"
    store.db.hset(f"{store.prefix}res:{CODE}", "~listeners", lines)
    with ExitStack() as open_now:
        heard = {role: open_now.enter_context(messages(store, channel)) for role, channel in channels.items()}
        run(store, name, keys, args)
        told = []
        for role, channel in channels.items():
            store.db.publish(channel, "last")
            told += [f"{role}: {text}" for text in iter(partial(next, heard[role]), "last")]
    found = re.sub(r"(?<= )\d+-\d+(?= [^0-9]|$| 0-0| 7-8)", "CURSOR", "; ".join(told), count=1)
    assert re.sub(r"20\d\d-[^ ]*Z", "WHEN", found) == expected
    for text in told:
        assert notifications.parse(text.partition(": ")[2]), "it is one of the messages that listeners know"


def test_an_instance_is_told_once(store: Store) -> None:
    """Also if a host and a guest wait in it."""
    put(store, FOUND)
    channel, now = f"{store.prefix}bell:both", int(store.db.time()[0]) * 1000
    store.db.hset(f"{store.prefix}res:{CODE}", "~listeners", f"{now} host {channel}\n{now} guest {channel}\n")
    with messages(store, channel) as heard:
        run(store, "end_session", KEYS, HOST)
        store.db.publish(channel, "last")
        assert list(iter(partial(next, heard), "last")) == ["ABC12345 ended"]


@contextmanager
def messages(store: Store, channel: str) -> Iterator[Iterator[str]]:
    """Give the messages on a channel, from now on."""
    headers = {"Authorization": f"Bearer {store.token}"}
    with httpx.stream(
        "POST", f"{store.url}/subscribe/{quote(channel, safe='')}", headers=headers, timeout=PATIENCE_SECONDS
    ) as answer:
        lines = (line for line in answer.iter_lines() if line)
        assert next(lines).startswith("data: subscribe,")
        yield (line.removeprefix(f"data: message,{channel},") for line in lines)


MOMENTS = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2000, 2, 29, 23, 59, 59, 999_000, tzinfo=UTC),
    datetime(2026, 11, 22, 18, 16, 28, 7_000, tzinfo=UTC),
    datetime(2100, 2, 28, 23, 59, 59, tzinfo=UTC),
    datetime(2100, 3, 1, tzinfo=UTC),
    *(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day, milliseconds=86_399_999) for day in range(0, 1500, 7)),
]


def test_clock(store: Store) -> None:
    """The scripts' calendar is the standard library's."""
    clock = COMMON + "\nlocal out = {} for i, v in ipairs(ARGV) do out[i] = iso(tonumber(v)) end return out"
    back = COMMON + (
        "\nlocal out = {} for i, v in ipairs(ARGV) do out[i] = string.format('%.0f', epoch(v)) end return out"
    )
    numbers = [str(round(moment.timestamp() * 1000)) for moment in MOMENTS]
    texts = [moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") for moment in MOMENTS]
    assert store.db.eval(clock, args=numbers) == texts
    assert store.db.eval(back, args=texts) == numbers
    now = store.db.eval(COMMON + "\nreturn iso(now())")
    assert abs(datetime.fromisoformat(str(now)) - datetime.now(UTC)) < timedelta(seconds=30)


def test_a_record_keeps_what_it_has(store: Store) -> None:
    """Ending and renewing touch one field; spacing, order and foreign fields stay."""
    written = json.dumps({"x": [1.10], **json.loads(RECORD)}, indent=2)
    store.db.set(f"{store.prefix}session:{CODE}", written, ex=60)
    run(store, "end_session", KEYS, HOST)
    assert store.db.get(f"{store.prefix}session:{CODE}") == written.replace("true", "false")


SCRIPTS = sorted(path.stem for path in SCRIPTS_FOLDER.glob("*.lua"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_header(name: str) -> None:
    """The header lists the keys, the arguments and every reply; arguments have names; no key is put together inside."""
    text = (PROJECT / "lib" / "store" / "scripts" / f"{name}.lua").read_text("utf-8")
    lines = text.splitlines()
    header = "\n".join(line for line in lines if line.startswith("--"))
    code = Script(name).text.removeprefix(_code(COMMON))
    for kind in ("KEYS", "ARGV"):
        listed = header.partition(f"-- {kind}")[2].partition("\n-- reply")[0].partition("\n-- ARGV")[0]
        used = sorted({int(number) for number in re.findall(rf"{kind}\[(\d+)\]", code)})
        numbers = [int(number) for number in re.findall(r"(?:^|  )(\d+) ", listed, re.MULTILINE)]
        assert numbers == list(range(1, len(numbers) + 1))
        # Scripts on a session get all its keys, whether they need its messages and tools or not.
        assert set(numbers) - set(used) <= ({4, 5, 6} if kind == "KEYS" else set())
        assert set(used) <= set(numbers)
        named = [line for line in code.splitlines() if f"{kind}[" in line]
        assert all(line.startswith("local ") for line in named)
    assert not re.search(r"redis\.call\([^)]*\.\.", code)
    replies = set(re.findall(r"\{'(\w+)'", header.partition("-- reply ")[2]))
    assert replies == _outcomes(code)
    assert replies == {outcome for script, *_, outcome in REPLIES if script == name}, "each is tested"
    assert replies <= REFUSED_BY_SCRIPTS.keys() | {
        *("created", "code_taken", "found", "ended", "pending", "answered", "repeated", "conflict"),
        *("checked", "probed", "reported", "left", "watching", "withdrawn", "written", "unreadable"),
    }


def _code(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("--"))


def _outcomes(code: str) -> set[str]:
    """Return the first words of the replies that a script can give, those of the functions that it calls included."""
    found: set[str] = set()
    for table in re.findall(r"(?:return|local reply =) \{(.*)\}", code):
        found |= set(re.findall(r"(?<!== )'([a-z_]+)'", table))
    for function, body in re.findall(r"local function (\w+)\([^)]*\)\n(.*?)\nend\n", COMMON, re.DOTALL):
        if f"{function}(" in code:
            found |= _outcomes(body)
    if "~= 'session_ended' then return refusal" in code:
        found.discard("session_ended")
    return found


def answer(store: Store, request_id: str = "q", kind: str = "result", text: str = "1", limit: int = 9999) -> Any:
    """Answer a request, with a limit of what the session may hold."""
    args = answer_args(request_id=request_id, kind=kind, text=text, bytes_held=limit, sent=99_999)
    return run(store, "answer_request", SEND_KEYS, args)


def post(store: Store, request_id: str = "q", payload: str = "[1]", limit: int = 9999) -> Any:
    """Post a request, with a limit of what the session may hold."""
    args = post_args(request_id=request_id, payload=payload, digest=payload, pending=99, share=99, bytes_held=limit)
    args[7], args[11] = 99, 99_999  # requests a minute, bytes sent
    return run(store, "post_request", POST_KEYS, args)


def backlog(store: Store, cursor: str = "0-0") -> list[str]:
    return [request[0] for request in run(store, "read_requests", READ_KEYS, read_args(cursor=cursor))[3]]


def size(store: Store) -> str | None:
    return store.db.hget(f"{store.prefix}res:{CODE}", "~bytes")


def test_answer_once(store: Store) -> None:
    """The first answer stands, the same one again is known, and the request is gone from the stream."""
    put(store, FOUND)
    post(store)
    replies = [
        answer(store, "q", kind, text)[0]
        for kind, text in (("result", "1"), ("result", "1"), ("result", "1.0"), ("error", "1"))
    ]
    assert replies == ["answered", "repeated", "already_answered", "already_answered"]
    assert store.db.xlen(f"{store.prefix}req:{CODE}") == 0
    assert run(store, "read_response", READ_KEYS, READ_RESPONSE)[2:] == ["result", "1"]
    assert post(store)[2:] == ["result", "1"]
    assert post(store, payload="[2]") == ["id_conflict"]


def take_over(store: Store, host: str, predecessor: str = "*") -> Any:
    return run(store, "take_over", READ_KEYS, take_over_args(host=host, predecessor=predecessor))


def look(store: Store, host: str) -> Any:
    return run(store, "read_requests", READ_KEYS, read_args(host=host))[0]


def test_the_last_host_wins(store: Store) -> None:
    """An attempt that is repeated, because its answer was lost, changes nothing; a host that was replaced stays so."""
    put(store, FOUND)
    replies = [take_over(store, host)[0] for host in ("a/1", "a/1", "a/10", "a/9", "b/1", "a/10", "a/11", "b/1")]
    assert replies == ["found", "found", "found", "replaced", "found", "replaced", "replaced", "found"]
    assert [look(store, host) for host in ("b/1", "a/10", "b/0")] == ["found", "replaced", "replaced"]
    for number in range(100):
        assert take_over(store, f"c{number}/0")[0] == "found"
    assert len((store.db.hget(f"{store.prefix}res:{CODE}", "~hosts") or "").split()) == 8


def test_a_host_without_a_name_replaces_the_one_that_it_knows(store: Store) -> None:
    """An opening that was held up does not know the host that came in the meantime."""
    put(store, FOUND)
    for host, predecessor, reply in (("a/0", "", "found"), ("b/0", "a/0", "found"), ("late/0", "a/0", "conflict")):
        assert take_over(store, host, predecessor)[0] == reply
    assert take_over(store, "late/0", "") == ["conflict", "b/0"]
    assert look(store, "b/0") == "found"
    assert take_over(store, "late/0", "b/0")[0] == "found"


def test_evicted_responses_replace_nobody(store: Store) -> None:
    """With them the store has forgotten the host, which goes on."""
    put(store, FOUND)
    take_over(store, "a/1")
    store.db.delete(f"{store.prefix}res:{CODE}")
    assert look(store, "a/1") == "found"
    assert store.db.hget(f"{store.prefix}res:{CODE}", "~hosts") == "a/1"
    assert store.db.pttl(f"{store.prefix}res:{CODE}") > 0
    assert take_over(store, "b/1")[0] == "found"
    assert look(store, "a/1") == "replaced"


def test_requests_that_nobody_can_answer_go(store: Store) -> None:
    """A script that was cut in the middle leaves a request without its marker, or one that was answered already."""
    put(store, FOUND)
    post(store, "whole")
    store.db.execute(["XADD", f"{store.prefix}req:{CODE}", "*", "id", "cut", "payload", "1"])
    post(store, "answered")
    store.db.hset(f"{store.prefix}res:{CODE}", "answered", ANSWERED)
    assert backlog(store) == ["whole"]
    assert store.db.xlen(f"{store.prefix}req:{CODE}") == 1
    assert post(store, "cut")[0] == "pending"
    assert backlog(store) == ["whole", "cut"]


def test_withdrawn_is_as_if_it_had_never_been(store: Store) -> None:
    put(store, FOUND)
    post(store, "q")
    for _ in range(2):
        assert run(store, "withdraw_request", KEYS, [*GUEST, "q"]) == ["withdrawn"]
    assert (backlog(store), size(store)) == ([], "0")
    assert answer(store, "q") == ["request_not_found"]
    assert post(store, "q", "[2]")[0] == "pending"
    assert backlog(store) == ["q"]


def test_tools_live_as_long_as_their_session(store: Store) -> None:
    put(store, {})
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, px=54_321)
    run(store, "write_tools", SEND_KEYS, [*HOST, "[1]", 1000])
    run(store, "write_tools", SEND_KEYS, [*HOST, "[1]", 4])
    assert run(store, "read_tools", READ_KEYS, READ_TOOLS) == ["found", "[1]"]
    assert store.db.get(f"{store.prefix}rate:bytes:a") == "3", "the same list again is free"
    assert 0 < store.db.pttl(f"{store.prefix}tools:{CODE}") <= 54_321
    run(store, "renew_session", SEND_KEYS, RENEW)
    assert store.db.pttl(f"{store.prefix}tools:{CODE}") > 500_000
    run(store, "end_session", KEYS, HOST)
    assert store.names("tools:*") == []


def test_bytes_are_counted(store: Store) -> None:
    """What a session holds, with what Redis needs beside it; and what a network has sent."""
    put(store, FOUND)
    post(store)
    assert size(store) == str(3 + OVERHEAD)
    assert answer(store, text="12345", limit=4 + OVERHEAD) == ["session_full", 4 + OVERHEAD]
    assert size(store) == str(3 + OVERHEAD)
    for _ in range(2):
        answer(store, text="12345", limit=5 + OVERHEAD)
    assert size(store) == str(5 + OVERHEAD)
    assert post(store, "r", limit=7 + 2 * OVERHEAD) == ["session_full", 7 + 2 * OVERHEAD]
    assert store.db.get(f"{store.prefix}rate:bytes:a") == str(8 + 2 * OVERHEAD)
    assert 0 < store.db.ttl(f"{store.prefix}rate:bytes:a") <= 600


@pytest.mark.long
def test_overhead_covers_what_redis_needs(store: Store) -> None:
    """Tiny answers take no more of the store than is counted for them."""
    put(store, FOUND)
    for number in range(300):
        post(store, f"q{number}", limit=999_999)
        answer(store, f"q{number}", limit=999_999)
        store.db.delete(f"{store.prefix}rate:requests:a", f"{store.prefix}rate:bytes:a")
    try:
        used = store.db.execute(["MEMORY", "USAGE", f"{store.prefix}res:{CODE}", "SAMPLES", "0"])
    except UpstashError:
        pytest.skip("the embedded store does not know MEMORY; a real Redis does")
    assert int(str(used)) <= int(size(store) or 0)


def test_old_answers_make_room(store: Store) -> None:
    """The oldest first, as many as are needed, and none that is younger than two minutes."""
    put(store, FOUND)
    for name in ("a", "b", "c"):
        post(store, name)
        answer(store, name, text="1234")
    age(store, 121, "a", "b")
    age(store, 105, "c")
    assert size(store) == str(12 + 3 * OVERHEAD)
    assert post(store, "d", limit=12 + 3 * OVERHEAD)[0] == "pending"
    assert size(store) == str(11 + 3 * OVERHEAD)
    kept = [run(store, "read_response", READ_KEYS, response_args(request_id=name))[0] for name in ("a", "b", "c", "d")]
    assert kept == ["request_not_found", "answered", "answered", "pending"]
    limit = 9 + 2 * OVERHEAD
    assert post(store, "e", limit=limit) == ["session_full", limit]
    assert run(store, "read_response", READ_KEYS, response_args(request_id="c"))[0] == "answered"
    assert size(store) == str(7 + 2 * OVERHEAD)
    assert answer(store, "d", text="12345678", limit=12 + 2 * OVERHEAD)[0] == "answered"
    assert size(store) == str(12 + 2 * OVERHEAD)
    assert post(store, "a")[0] == "pending", "what is gone is as if it had never been"


def test_messages_expire_before_a_session_that_is_renewed(store: Store) -> None:
    """A request that is not answered by then is withdrawn, an answer is gone, and both leave nothing behind."""
    put(store, FOUND)
    old, fresh = (int(store.db.time()[0]) - LIVE - 1) * 1000, "4000000000000-1"
    put(store, {"req:ABC12345": [(f"{old}-1", "old", "[1]"), (fresh, "fresh", "[1]")]})
    fields = {"old": f"pending {old}-1 3 digest a", "fresh": f"pending {fresh} 3 digest a", "~pending:a": "2"}
    fields |= {"done": f"answered {old} digest result 1", "~answer:1": "done", "~answers": "1"}
    store.db.hset(f"{store.prefix}res:{CODE}", values=fields | {"~bytes": str(7 + 3 * OVERHEAD)})
    store.db.expire(f"{store.prefix}res:{CODE}", 60)
    now = int(store.db.time()[0]) * 1000
    store.db.hset(f"{store.prefix}res:{CODE}", "~listeners", f"{now} guest {store.prefix}bell:guest\n")
    with messages(store, f"{store.prefix}bell:guest") as heard:
        assert backlog(store) == ["fresh"]
        assert next(heard) == "ABC12345 withdrawn old"
    left = store.db.hgetall(f"{store.prefix}res:{CODE}")
    assert set(left) == {"fresh", "~pending:a", "~bytes", "~answers", "~first", "~listeners"}
    assert (left["~pending:a"], left["~bytes"]) == ("1", str(3 + OVERHEAD))


def test_page_of_requests(store: Store) -> None:
    """A page holds so many bytes at most, and at least one request; the next one begins after it."""
    put(store, FOUND)
    for name, size_of in (("a", 40), ("b", 60), ("c", 1), ("d", 500)):
        post(store, name, "x" * size_of)
    pages, cursor, more = [], "0-0", 1
    while more:
        *_, page, more = run(store, "read_requests", READ_KEYS, read_args(cursor=cursor, page=100))
        pages.append([request[0] for request in page])
        cursor = page[-1][3]
    assert pages == [["a", "b"], ["c"], ["d"]]


def test_share_is_given_back(store: Store) -> None:
    """When a request is answered or withdrawn, its network may post another."""
    put(store, FOUND)
    post(store, "a")
    post(store, "b")
    assert store.db.hget(f"{store.prefix}res:{CODE}", "~pending:a") == "2"
    answer(store, "a")
    run(store, "withdraw_request", KEYS, [*GUEST, "b"])
    assert store.db.hget(f"{store.prefix}res:{CODE}", "~pending:a") is None


def test_refusal_names_the_codes_that_go_on(store: Store) -> None:
    """Up to a thousand; with more, nobody can know which calls are certain to be refused."""
    codes = {f"CODE{number:04}": 4e12 for number in range(1000)} | {"GONE0000": 1.0}
    put(store, MANY | {"rate:known:a": codes})
    *_, counter, room, exempt = run(store, "read_session", KEYS, GUEST)
    assert (counter, room) == (f"{store.prefix}rate:misses:a", 0)
    assert set(exempt) == codes.keys() - {"GONE0000"}
    put(store, {"rate:known:a": {"CODE1000": 4e12}})
    assert run(store, "read_session", KEYS, GUEST)[:1] + run(store, "read_session", KEYS, GUEST)[2:] == ["rate_limited"]


def age(store: Store, seconds: int, *ids: str) -> None:
    """Let answers be so old."""
    then = (int(store.db.time()[0]) - seconds) * 1000
    for name in ids:
        held_now = store.db.hget(f"{store.prefix}res:{CODE}", name) or ""
        store.db.hset(f"{store.prefix}res:{CODE}", name, re.sub(r"^answered \d+", f"answered {then}", held_now))


def test_room_is_made_in_steps(store: Store) -> None:
    """However many answers there are, one call lets 2,000 of them go at most."""
    put(store, FOUND)
    then = (int(store.db.time()[0]) - 200) * 1000
    fields = {f"q{number}": re.sub("18[0-9]+", str(then), ANSWERED) for number in range(1, 2501)}
    fields |= {f"~answer:{number}": f"q{number}" for number in range(1, 2501)}
    one = 1 + OVERHEAD
    store.db.hset(f"{store.prefix}res:{CODE}", values={**fields, "~bytes": str(2500 * one), "~answers": "2500"})
    store.db.expire(f"{store.prefix}res:{CODE}", 60)
    limit = 2500 * one
    args = post_args(request_id="big", payload="x" * (2400 * one - OVERHEAD), bytes_held=limit, sent=9_999_999)
    assert run(store, "post_request", POST_KEYS, args) == ["session_full", limit]
    assert size(store) == str(500 * one)
    limit = 1000 * one
    args = post_args(request_id="big", payload="x" * (900 * one - OVERHEAD), bytes_held=limit, sent=9_999_999)
    assert run(store, "post_request", POST_KEYS, args)[0] == "pending"
    assert size(store) == str(limit)


def test_check_of_waiting_calls(store: Store) -> None:
    """Each is told whether it has missed something; those that have not are renewed as listeners."""
    put(store, FOUND)
    take_over(store, "h/1")
    post(store, "first")
    cursor = run(store, "read_requests", READ_KEYS, READ_REQUESTS)[3][0][3]
    expires = "2026-01-01T00:10:00.000Z"
    calls = [
        ("guest", "first", "", "", 0),
        ("guest", "other", "", "", 1),
        ("host", "h/1", cursor, expires, 0),
        ("host", "h/1", "0-0", expires, 1),
        ("host", "g/1", cursor, expires, 1),
        ("host", "h/1", cursor, "2026-01-01T00:00:00.000Z", 1),
        ("watcher", "0", "", "", 0),
        ("watcher", "1", "", "", 1),
    ]
    with messages(store, f"{store.prefix}bell:me") as heard:
        words = [word for *four, _ in calls for word in four]
        reply = run(store, "check_waiting", CHECK_KEYS * len(calls), [f"{store.prefix}bell:me", "echo 1", LIVE, *words])
        assert reply == ["checked", *(missed for *_, missed in calls)]
        assert next(heard) == "echo 1"
    lines = store.db.hget(f"{store.prefix}res:{CODE}", "~listeners") or ""
    assert sorted(re.findall(r"\d{13} (\w+) \S+\n", lines)) == ["guest", "host"]
    run(store, "end_session", KEYS, HOST)
    assert run(store, "check_waiting", CHECK_KEYS, ["c", "echo 1", LIVE, "host", "h/1", cursor, expires]) == [
        "checked",
        1,
    ]
    assert store.db.exists(f"{store.prefix}res:{CODE}") == 0


def test_check_of_a_session_whose_end_was_cut_short(store: Store) -> None:
    put(store, OVER | {"res:ABC12345": {"q": PENDING}})
    assert run(store, "check_waiting", CHECK_KEYS, CHECK) == ["checked", 1]


def test_listening(store: Store) -> None:
    """A guest who waits is no host that listens, and a host that was not renewed for 45 seconds is gone."""
    put(store, FOUND)
    run(store, "post_request", POST_KEYS, post_args(channel="a channel"))
    assert run(store, "read_session", KEYS, GUEST)[3] == 0
    run(store, "take_over", READ_KEYS, TAKE_OVER)
    assert 40_000 < run(store, "read_session", KEYS, GUEST)[3] <= 45_000
    lines = store.db.hget(f"{store.prefix}res:{CODE}", "~listeners") or ""
    at = int(lines[:13])
    for seconds, left in ((30, 15_000), (46, 0)):
        ago = f"{at - seconds * 1000} host a channel\n"
        store.db.hset(f"{store.prefix}res:{CODE}", "~listeners", ago)
        assert max(left - 5000, 0) <= run(store, "read_session", KEYS, GUEST)[3] <= left


def test_host_that_has_left(store: Store) -> None:
    """It no longer listens, and neither does any host before it; one that came later stays, and so do guests."""
    put(store, FOUND)
    run(store, "post_request", POST_KEYS, post_args(channel="a channel"))
    run(store, "take_over", READ_KEYS, TAKE_OVER)
    run(store, "take_over", READ_KEYS, take_over_args(host="h/2"))
    run(store, "leave_session", KEYS, [*HOST, "h/1"])
    assert run(store, "read_session", KEYS, GUEST)[3] > 0
    run(store, "leave_session", KEYS, [*HOST, "h/2"])
    assert run(store, "read_session", KEYS, GUEST)[3] == 0
    assert re.fullmatch(r"\d{13} guest a channel\n", store.db.hget(f"{store.prefix}res:{CODE}", "~listeners") or "")


def test_name_of_a_call_goes_with_its_request(store: Store) -> None:
    """However the request ends; what an earlier deployment has written has no such name."""
    put(store, FOUND)
    for script, keys, args in (
        ("answer_request", SEND_KEYS, ANSWER),
        ("withdraw_request", KEYS, [*GUEST, "q"]),
        ("cancel_call", KEYS, [*GUEST, "c"]),
    ):
        run(store, "post_request", POST_KEYS, post_args(call="c", sent=99_999))
        assert store.db.hget(f"{store.prefix}res:{CODE}", "~call:c") == "q"
        run(store, script, keys, args)
        assert store.db.hget(f"{store.prefix}res:{CODE}", "~call:c") is None
        store.db.hdel(f"{store.prefix}res:{CODE}", "q")
    post(store, "r")
    marker = store.db.hget(f"{store.prefix}res:{CODE}", "r") or ""
    store.db.hset(f"{store.prefix}res:{CODE}", "r", marker.rstrip())
    assert answer(store, "r") == ["answered"]


def test_watched_list_of_a_session_without_messages(store: Store) -> None:
    """What is entered for it expires with the session, also when a check enters it again."""
    put(store, {})
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, px=54_321)
    for script, args in (
        ("watch_tools", [*GUEST, "a channel"]),
        ("check_waiting", ["a channel", "echo 1", LIVE, "watcher", "0", "", ""]),
    ):
        run(store, script, KEYS if script == "watch_tools" else CHECK_KEYS, args)
        assert 0 < store.db.pttl(f"{store.prefix}res:{CODE}") <= 54_321
        store.db.delete(f"{store.prefix}res:{CODE}")


@pytest.mark.parametrize(
    ("name", "keys", "args", "before", "role"),
    [
        ("post_request", POST_KEYS, post_args(channel="a channel"), FOUND, "guest"),
        ("post_request", POST_KEYS, post_args(channel="a channel"), responses(q=PENDING), "guest"),
        ("read_response", READ_KEYS, response_args(channel="a channel"), responses(q=PENDING), "guest"),
        ("read_requests", READ_KEYS, LOOK, FOUND, "host"),
        ("take_over", READ_KEYS, TAKE_OVER, FOUND, "host"),
    ],
)
def test_who_waits_listens(store: Store, name: str, keys: list[str], args: list[Any], before: Held, role: str) -> None:
    put(store, before)
    run(store, name, keys, args)
    lines = store.db.hget(f"{store.prefix}res:{CODE}", "~listeners") or ""
    assert re.fullmatch(rf"\d{{13}} {role} a channel\n", lines)


def test_listeners_of_a_session_are_few(store: Store) -> None:
    """However many instances its calls have waited in, those that came last are told."""
    put(store, FOUND)
    post(store)
    for number in range(40):
        run(store, "read_response", READ_KEYS, response_args(channel=f"channel {number}"))
    lines = store.db.hget(f"{store.prefix}res:{CODE}", "~listeners") or ""
    assert re.findall(r"guest channel (\d+)\n", lines) == [str(number) for number in range(39, 7, -1)]


def test_a_network_knows_a_session_as_long_as_it_lives(store: Store) -> None:
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, px=543_210)
    run(store, "read_session", KEYS, GUEST)
    expires = float(store.db.zscore(f"{store.prefix}rate:known:a", CODE) or 0) / 1000
    assert 500 < expires - int(store.db.time()[0]) <= 545
    assert 500_000 < store.db.pttl(f"{store.prefix}rate:known:a") <= 543_210
    run(store, "renew_session", SEND_KEYS, RENEW)
    run(store, "read_session", KEYS, GUEST)
    assert float(store.db.zscore(f"{store.prefix}rate:known:a", CODE) or 0) / 1000 == expires, "written once a minute"


def test_messages_vanish_with_their_session(store: Store) -> None:
    put(store, {})
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, px=54_321)
    run(store, "take_over", READ_KEYS, TAKE_OVER)
    post(store)

    def lives() -> set[Any]:
        return {store.db.execute(["PEXPIRETIME", f"{store.prefix}{kind}:{CODE}"]) for kind in ("session", "req", "res")}

    assert len(lives()) == 1
    run(store, "renew_session", SEND_KEYS, RENEW)
    assert len(lives()) == 1
