"""lib/scripts: each script's replies, on an embedded and a real Redis; running one twice is running it once."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from lib import bell
from lib.script import REFUSALS, Script
from tests.support.stores import Store
from tests.support.tools import PROJECT

CODE = "ABC12345"
RECORD = (
    '{"code":"ABC12345","createdAt":"2026-01-01T00:00:00.000Z",'
    '"expiresAt":"2026-01-01T00:10:00.000Z","ip":"192.0.2.1","active":true}'
)
ENDED = RECORD.replace("true", "false")


def run(store: Store, name: str, keys: list[str], args: list[Any]) -> Any:
    return store.db.eval(Script(name).text, [store.prefix + key for key in keys], [str(arg) for arg in args])


def put(store: Store, before: "Held") -> None:
    """Write what is in the store before a script runs: strings and hashes."""
    for key, value in before.items():
        if isinstance(value, str):
            store.db.set(store.prefix + key, value, ex=60)
        else:
            store.db.hset(store.prefix + key, values=value)
            store.db.expire(store.prefix + key, 60)


def held(store: Store) -> dict[str, tuple[str, int]]:
    """Return what is in the store: name -> value, and whether it expires."""
    return {
        name: (
            content(store, store.prefix + name),
            min(1, store.db.ttl(store.prefix + name)),
        )
        for name in store.names()
    }


def content(store: Store, key: str) -> str:
    reads = {"string": ["GET"], "hash": ["HGETALL"], "stream": ["XRANGE"]}
    kind = str(store.db.type(key))
    return str(store.db.execute([*reads[kind], key, *(["-", "+"] if kind == "stream" else [])]))


CREATE = ["session:ABC12345", "rate:sessions:a", "rate:call:1"], [CODE, '"a"', 600, 2]
READ = ["session:ABC12345", "rate:misses:a"]
WHOLE = ["session:ABC12345", "req:ABC12345", "res:ABC12345"]
POST_KEYS = [*WHOLE, "rate:requests:a", "rate:misses:a"]
POST = ["q", "[1]", "digest", "bell", 3, 2, 2, 100]
RESPONSE_KEYS = ["session:ABC12345", "res:ABC12345", "rate:misses:a"]
COMMON = (PROJECT / "lib" / "scripts" / "common.lua").read_text("utf-8")

type Held = dict[str, str | dict[str, str]]

MISSING: Held = {}
FOUND: Held = {"session:ABC12345": RECORD}
OVER: Held = {"session:ABC12345": ENDED}
FOREIGN: Held = {"session:ABC12345": "{}"}


ANSWER: list[Any] = ["q", "result", "1", "bell", 100]


def responses(**held: str) -> Held:
    return {**FOUND, "res:ABC12345": {"~bytes": "3", **held}}


REPLIES: list[tuple[str, list[str], list[Any], Held, str]] = [
    ("create_session", *CREATE, MISSING, "created"),
    ("create_session", *CREATE, FOUND, "code_taken"),
    ("create_session", *CREATE, {"rate:sessions:a": "1"}, "created"),
    ("create_session", *CREATE, {"rate:sessions:a": "2"}, "rate_limited"),
    ("read_session", READ, [2], FOUND, "found"),
    ("read_session", READ, [2], OVER, "found"),
    ("read_session", READ, [2], FOUND | {"rate:misses:a": "1"}, "found"),
    ("read_session", READ, [2], FOUND | {"rate:misses:a": "2"}, "rate_limited"),
    ("read_session", READ, [2], {"rate:misses:a": "9"}, "rate_limited"),
    ("read_session", READ, [0], FOUND | {"rate:misses:a": "9"}, "found"),
    ("read_session", READ, [0], MISSING, "session_not_found"),
    ("renew_session", WHOLE, [600, 999_999_999, "bell"], MISSING, "session_not_found"),
    ("renew_session", WHOLE, [600, 999_999_999, "bell"], OVER, "session_ended"),
    ("renew_session", WHOLE, [600, 999_999_999, "bell"], FOUND, "found"),
    ("end_session", WHOLE, ["bell"], MISSING, "session_not_found"),
    ("end_session", WHOLE, ["bell"], FOUND, "ended"),
    ("end_session", WHOLE, ["bell"], OVER, "ended"),
    ("probe", ["rate:probe:x"], ["v", 60], MISSING, "probed"),
    ("post_request", POST_KEYS, POST, MISSING, "session_not_found"),
    ("post_request", POST_KEYS, POST, OVER, "session_ended"),
    ("post_request", POST_KEYS, POST, FOUND, "pending"),
    ("post_request", POST_KEYS, POST, FOUND | {"rate:requests:a": "9"}, "rate_limited"),
    ("post_request", POST_KEYS, POST, FOUND | {"rate:misses:a": "9"}, "rate_limited"),
    ("post_request", POST_KEYS, [*POST[:6], 0, 100], FOUND, "too_many_pending"),
    ("post_request", POST_KEYS, [*POST[:7], 2], FOUND, "session_full"),
    ("post_request", POST_KEYS, [*POST[:7], 3], FOUND, "pending"),
    ("read_response", RESPONSE_KEYS, ["q", 2], MISSING, "session_not_found"),
    ("read_response", RESPONSE_KEYS, ["q", 2], OVER, "session_ended"),
    ("read_response", RESPONSE_KEYS, ["q", 2], FOUND, "request_not_found"),
    ("read_response", RESPONSE_KEYS, ["q", 2], FOUND | {"rate:misses:a": "2"}, "rate_limited"),
    ("read_requests", WHOLE, ["0-0", ""], MISSING, "session_not_found"),
    ("read_requests", WHOLE, ["0-0", ""], OVER, "session_ended"),
    ("read_requests", WHOLE, ["0-0", ""], FOUND, "found"),
    ("read_requests", WHOLE, ["0-0", "s"], FOUND, "replaced"),
    ("open_stream", WHOLE, ["0-0", "s", "", "bell"], MISSING, "session_not_found"),
    ("open_stream", WHOLE, ["0-0", "s", "", "bell"], OVER, "session_ended"),
    ("open_stream", WHOLE, ["0-0", "s", "", "bell"], FOUND, "found"),
    ("open_stream", WHOLE, ["0-0", "s", "r", "bell"], FOUND, "conflict"),
    ("answer_request", WHOLE, ANSWER, MISSING, "session_not_found"),
    ("answer_request", WHOLE, ANSWER, OVER, "session_ended"),
    ("answer_request", WHOLE, ANSWER, FOUND, "request_not_found"),
    ("renew_session", WHOLE, [600, 999_999_999, "bell"], FOREIGN, "unreadable"),
    ("end_session", WHOLE, ["bell"], FOREIGN, "unreadable"),
    ("post_request", POST_KEYS, POST, responses(q="answered 1800000000000 digest result 1"), "answered"),
    ("post_request", POST_KEYS, POST, responses(q="answered 1800000000000 other result 1"), "id_conflict"),
    ("post_request", POST_KEYS, POST, responses(q="pending 1-1 3 other"), "id_conflict"),
    ("post_request", POST_KEYS, POST, responses(q="foreign"), "unreadable"),
    ("read_response", RESPONSE_KEYS, ["q", 2], responses(q="answered 1800000000000 digest result 1"), "answered"),
    ("read_response", RESPONSE_KEYS, ["q", 2], responses(q="pending 1-1 3 digest"), "pending"),
    ("read_response", RESPONSE_KEYS, ["q", 2], responses(q="foreign"), "unreadable"),
    ("read_requests", WHOLE, ["0-0", ""], FOREIGN, "unreadable"),
    ("open_stream", WHOLE, ["0-0", "s", "", "bell"], responses(**{"~stream": "t s "}), "replaced"),
    ("open_stream", WHOLE, ["0-0", "s", "", "bell"], FOREIGN, "unreadable"),
    ("answer_request", WHOLE, ANSWER, responses(q="pending 1-1 3 digest"), "answered"),
    ("answer_request", WHOLE, ANSWER, responses(q="answered 1800000000000 digest result 1"), "repeated"),
    ("answer_request", WHOLE, ANSWER, responses(q="answered 1800000000000 digest error 1"), "already_answered"),
    ("answer_request", WHOLE, [*ANSWER[:4], 0], responses(q="pending 1-1 0 digest"), "session_full"),
    ("answer_request", WHOLE, ANSWER, responses(q="foreign"), "unreadable"),
]


@pytest.mark.parametrize(("name", "keys", "args", "before", "outcome"), REPLIES)
def test_reply(store: Store, name: str, keys: list[str], args: list[Any], before: Held, outcome: str) -> None:
    """A script says what it did, and says and does the same when it runs again."""
    put(store, before)
    reply = run(store, name, keys, args)
    assert reply[0] == outcome
    after = held(store)
    assert all(expires == 1 for _, expires in after.values())
    again = run(store, name, keys, args)
    assert again[0] == {"answer_request answered": "repeated"}.get(f"{name} {outcome}", outcome)
    if outcome == "session_not_found" and "rate:misses:a" in after:  # each miss counts
        return
    if name != "renew_session":  # which counts from now each time
        assert held(store) == after
        if outcome != "pending":  # where the time to live has gone on
            assert again[1:2] == reply[1:2]


def test_a_miss_counts(store: Store) -> None:
    replies = [run(store, "read_session", READ, [2])[0] for _ in range(4)]
    assert replies == ["session_not_found", "session_not_found", "rate_limited", "rate_limited"]
    assert 0 < store.db.ttl(f"{store.prefix}rate:misses:a") <= 60


def test_limited_says_how_long(store: Store) -> None:
    store.db.set(f"{store.prefix}rate:sessions:a", "2", ex=17)
    assert run(store, "create_session", *CREATE) == ["rate_limited", 17]


@pytest.mark.parametrize(
    ("name", "keys", "args", "before", "message"),
    [
        ("post_request", POST_KEYS, POST, FOUND, bell.REQUEST),
        ("answer_request", WHOLE, ANSWER, responses(q="pending 1-1 3 digest"), f"{bell.RESPONSE}q"),
        ("open_stream", WHOLE, ["0-0", "s", "", "bell"], FOUND, f"{bell.STREAM}s"),
        ("renew_session", WHOLE, [600, 999_999_999, "bell"], FOUND, bell.RENEWED),
        ("end_session", WHOLE, ["bell"], FOUND, bell.ENDED),
    ],
)
def test_bell(store: Store, name: str, keys: list[str], args: list[Any], before: Held, message: str) -> None:
    """A script that changes something rings the bell once, with one message and no data."""
    put(store, before)
    headers = {"Authorization": f"Bearer {store.token}"}
    channel = f"{store.prefix}bell"
    with httpx.stream("POST", f"{store.url}/subscribe/{channel}", headers=headers, timeout=5) as listening:
        lines = (line for line in listening.iter_lines() if line)
        next(lines)
        run(store, name, keys, [channel if argument == "bell" else argument for argument in args])
        assert next(lines) == f"data: message,{channel},{message}"
        store.db.publish(channel, "last")
        assert next(lines).endswith(",last")


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
    run(store, "end_session", WHOLE, ["bell"])
    assert store.db.get(f"{store.prefix}session:{CODE}") == written.replace("true", "false")


SCRIPTS = sorted(path.stem for path in (PROJECT / "lib" / "scripts").glob("*.lua") if path.stem != "common")


@pytest.mark.parametrize("name", SCRIPTS)
def test_header(name: str) -> None:
    """The header lists the keys, the arguments and every reply; arguments have names; no key is put together inside."""
    text = (PROJECT / "lib" / "scripts" / f"{name}.lua").read_text("utf-8")
    lines = text.splitlines()
    header = "\n".join(line for line in lines if line.startswith("--"))
    code = Script(name).text.removeprefix(_code(COMMON))
    for kind in ("KEYS", "ARGV"):
        listed = header.partition(f"-- {kind}")[2].partition("\n-- reply")[0].partition("\n-- ARGV")[0]
        used = sorted({int(number) for number in re.findall(rf"{kind}\[(\d)\]", code)})
        assert [int(number) for number in re.findall(r"(?:^|  )(\d) ", listed, re.MULTILINE)] == used
        named = [line for line in code.splitlines() if f"{kind}[" in line]
        assert all(line.startswith("local ") for line in named)
    assert not re.search(r"redis\.call\([^)]*\.\.", code)
    replies = set(re.findall(r"\{'(\w+)'", header.partition("-- reply ")[2]))
    assert replies == _outcomes(code)
    assert replies == {outcome for script, *_, outcome in REPLIES if script == name}, "each is tested"
    assert replies <= REFUSALS.keys() | {
        *("created", "code_taken", "found", "ended", "pending", "answered", "repeated", "replaced", "conflict"),
        *("probed", "unreadable"),
    }


def _code(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("--"))


def _outcomes(code: str) -> set[str]:
    """Return the first words of the replies that a script can give, those of the functions that it calls included."""
    found: set[str] = set()
    for table in re.findall(r"return \{(.*)\}", code):
        found |= set(re.findall(r"(?<!== )'([a-z_]+)'", table))
    for function, body in re.findall(r"local function (\w+)\([^)]*\)\n(.*?)\nend\n", COMMON, re.DOTALL):
        if f"{function}(" in code:
            found |= _outcomes(body)
    if "check_active(session, nil, '0')" in code:  # a host's call, which no limit refuses
        found.discard("rate_limited")
    if "~= 'session_ended' then return refusal" in code:
        found.discard("session_ended")
    return found


def test_answer_once(store: Store) -> None:
    """The first answer stands, the same one again is known, and the request is gone from the stream."""
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, ex=60)
    run(store, "post_request", POST_KEYS, POST)
    replies = [
        run(store, "answer_request", WHOLE, ["q", kind, text, "bell", 100])[0]
        for kind, text in (("result", "1"), ("result", "1"), ("result", "1.0"), ("error", "1"))
    ]
    assert replies == ["answered", "repeated", "already_answered", "already_answered"]
    assert store.db.xlen(f"{store.prefix}req:{CODE}") == 0
    assert run(store, "read_response", RESPONSE_KEYS, ["q", 2])[2:] == ["result", "1"]
    assert run(store, "post_request", POST_KEYS, POST)[2:] == ["result", "1"]
    assert run(store, "post_request", POST_KEYS, ["q", "[1]", "other", *POST[3:]]) == ["id_conflict"]


def test_a_stream_that_opens_again_is_not_newer(store: Store) -> None:
    """An opening whose answer was lost is sent again; the stream that opened in between stays the session's."""
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, ex=60)
    opened = [
        run(store, "open_stream", WHOLE, ["0-0", name, before, "bell"])[0]
        for name, before in (("a1", ""), ("a1", ""), ("b2", "a1"), ("a1", ""))
    ]
    assert opened == ["found", "found", "found", "replaced"]
    assert run(store, "read_requests", WHOLE, ["0-0", "b2"])[0] == "found"
    assert run(store, "read_requests", WHOLE, ["0-0", "a1"]) == ["replaced"]
    assert run(store, "read_requests", WHOLE, ["0-0", ""])[0] == "found"
    for number in range(100):
        before = f"c{number - 1}" if number else "b2"
        assert run(store, "open_stream", WHOLE, ["0-0", f"c{number}", before, "bell"])[0] == "found"
    assert len(store.db.hget(f"{store.prefix}res:{CODE}", "~stream") or "") <= 200


def test_a_stream_that_opens_late_is_not_newer(store: Store) -> None:
    """It does not know the stream that opened while it was held up, which stays the session's."""
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, ex=60)
    for name, before, reply in (("a1", "", "found"), ("b2", "a1", "found"), ("late", "a1", "conflict")):
        assert run(store, "open_stream", WHOLE, ["0-0", name, before, "bell"])[0] == reply
    assert run(store, "open_stream", WHOLE, ["0-0", "late", "", "bell"]) == ["conflict", "b2"]
    assert run(store, "read_requests", WHOLE, ["0-0", "b2"])[0] == "found"
    assert run(store, "open_stream", WHOLE, ["0-0", "late", "b2", "bell"])[0] == "found"


def test_bytes_are_counted(store: Store) -> None:
    """What a session holds: payloads until they are answered, and answers."""
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, ex=60)

    def size() -> str | None:
        return store.db.hget(f"{store.prefix}res:{CODE}", "~bytes")

    run(store, "post_request", POST_KEYS, POST)
    assert size() == "3"
    assert run(store, "answer_request", WHOLE, ["q", "result", "12345", "bell", 4]) == ["session_full", 4]
    assert size() == "3"
    run(store, "answer_request", WHOLE, ["q", "result", "12345", "bell", 5])
    run(store, "answer_request", WHOLE, ["q", "result", "12345", "bell", 5])
    assert size() == "5"
    assert run(store, "post_request", POST_KEYS, ["r", "[1]", "digest", "bell", 9, 9, 9, 7]) == ["session_full", 7]


def test_messages_vanish_with_their_session(store: Store) -> None:
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, px=54_321)
    run(store, "open_stream", WHOLE, ["0-0", "s", "", "bell"])
    run(store, "post_request", POST_KEYS, POST)
    lives = [store.db.execute(["PEXPIRETIME", f"{store.prefix}{kind}:{CODE}"]) for kind in ("session", "req", "res")]
    assert len(set(lives)) == 1
    run(store, "renew_session", WHOLE, [600, 999_999_999, "bell"])
    lives = [store.db.execute(["PEXPIRETIME", f"{store.prefix}{kind}:{CODE}"]) for kind in ("session", "req", "res")]
    assert len(set(lives)) == 1
