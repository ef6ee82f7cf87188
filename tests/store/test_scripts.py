"""lib/scripts: each script's replies, on an embedded and a real Redis; running one twice is running it once."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from lib import kv
from tests.support.stores import Store
from tests.support.tools import PROJECT

CODE = "ABC12345"
RECORD = (
    '{"code":"ABC12345","createdAt":"2026-01-01T00:00:00.000Z",'
    '"expiresAt":"2026-01-01T00:10:00.000Z","ip":"192.0.2.1","active":true}'
)
ENDED = RECORD.replace("true", "false")


def run(store: Store, name: str, keys: list[str], args: list[Any]) -> Any:
    return store.db.eval(kv.script(name), [store.prefix + key for key in keys], [str(arg) for arg in args])


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
MISSING: dict[str, str] = {}
FOUND = {"session:ABC12345": RECORD}
OVER = {"session:ABC12345": ENDED}


@pytest.mark.parametrize(
    ("name", "keys", "args", "before", "outcome"),
    [
        ("create_session", *CREATE, MISSING, "created"),
        ("create_session", *CREATE, FOUND, "taken"),
        ("create_session", *CREATE, {"rate:sessions:a": "1"}, "created"),
        ("create_session", *CREATE, {"rate:sessions:a": "2"}, "limited"),
        ("read_session", READ, [2], FOUND, "found"),
        ("read_session", READ, [2], OVER, "found"),
        ("read_session", READ, [2], FOUND | {"rate:misses:a": "1"}, "found"),
        ("read_session", READ, [2], FOUND | {"rate:misses:a": "2"}, "limited"),
        ("read_session", READ, [2], {"rate:misses:a": "9"}, "limited"),
        ("read_session", READ, [0], FOUND | {"rate:misses:a": "9"}, "found"),
        ("read_session", READ, [0], MISSING, "missing"),
        ("renew_session", WHOLE, [600, 999_999_999, "bell"], MISSING, "missing"),
        ("renew_session", WHOLE, [600, 999_999_999, "bell"], OVER, "ended"),
        ("renew_session", WHOLE, [600, 999_999_999, "bell"], FOUND, "found"),
        ("end_session", WHOLE, ["bell"], MISSING, "missing"),
        ("end_session", WHOLE, ["bell"], FOUND, "ended"),
        ("end_session", WHOLE, ["bell"], OVER, "ended"),
        ("probe", ["rate:probe:x"], ["v", 60], MISSING, "probed"),
        ("post_request", POST_KEYS, POST, MISSING, "missing"),
        ("post_request", POST_KEYS, POST, OVER, "ended"),
        ("post_request", POST_KEYS, POST, FOUND, "pending"),
        ("post_request", POST_KEYS, POST, FOUND | {"rate:requests:a": "9"}, "limited"),
        ("post_request", POST_KEYS, POST, FOUND | {"rate:misses:a": "9"}, "limited"),
        ("post_request", POST_KEYS, [*POST[:6], 0, 100], FOUND, "crowded"),
        ("post_request", POST_KEYS, [*POST[:7], 2], FOUND, "full"),
        ("post_request", POST_KEYS, [*POST[:7], 3], FOUND, "pending"),
        ("read_response", RESPONSE_KEYS, ["q", 2], MISSING, "missing"),
        ("read_response", RESPONSE_KEYS, ["q", 2], OVER, "ended"),
        ("read_response", RESPONSE_KEYS, ["q", 2], FOUND, "unknown"),
        ("read_response", RESPONSE_KEYS, ["q", 2], FOUND | {"rate:misses:a": "2"}, "limited"),
        ("read_requests", WHOLE, ["(0-0", "", "", "bell", ""], MISSING, "missing"),
        ("read_requests", WHOLE, ["(0-0", "", "", "bell", ""], OVER, "ended"),
        ("read_requests", WHOLE, ["(0-0", "", "", "bell", ""], FOUND, "found"),
        ("read_requests", WHOLE, ["(0-0", "s", "open", "bell", ""], FOUND, "found"),
        ("read_requests", WHOLE, ["(0-0", "s", "", "bell", ""], FOUND, "replaced"),
        ("answer_request", WHOLE, ["q", "result", "1", "bell", 100], MISSING, "missing"),
        ("answer_request", WHOLE, ["q", "result", "1", "bell", 100], OVER, "ended"),
        ("answer_request", WHOLE, ["q", "result", "1", "bell", 100], FOUND, "unknown"),
    ],
)
def test_reply(store: Store, name: str, keys: list[str], args: list[Any], before: dict[str, str], outcome: str) -> None:
    """A script says what it did, and says and does the same when it runs again."""
    for key, value in before.items():
        store.db.set(store.prefix + key, value, ex=60)
    reply = run(store, name, keys, args)
    assert reply[0] == outcome
    after = held(store)
    assert all(expires == 1 for _, expires in after.values())
    again = run(store, name, keys, args)
    assert again[0] == outcome
    if outcome == "missing" and "rate:misses:a" in after:  # each miss counts
        return
    if name != "renew_session":  # which counts from now each time
        assert held(store) == after
        if outcome != "pending":  # where the time to live has gone on
            assert again[1:2] == reply[1:2]


def test_a_miss_counts(store: Store) -> None:
    replies = [run(store, "read_session", READ, [2])[0] for _ in range(4)]
    assert replies == ["missing", "missing", "limited", "limited"]
    assert 0 < store.db.ttl(f"{store.prefix}rate:misses:a") <= 60


def test_limited_says_how_long(store: Store) -> None:
    store.db.set(f"{store.prefix}rate:sessions:a", "2", ex=17)
    assert run(store, "create_session", *CREATE) == ["limited", 17]


@pytest.mark.parametrize(
    ("name", "keys", "args", "word"),
    [("renew_session", WHOLE, [600, 999_999_999], "renewed"), ("end_session", WHOLE, [], "ended")],
)
def test_bell(store: Store, name: str, keys: list[str], args: list[Any], word: str) -> None:
    """What changes a session rings its bell, once, and tells nothing but that."""
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, ex=60)
    headers = {"Authorization": f"Bearer {store.token}"}
    with httpx.stream("POST", f"{store.url}/subscribe/{store.prefix}bell", headers=headers, timeout=5) as listening:
        lines = (line for line in listening.iter_lines() if line)
        next(lines)
        run(store, name, keys, [*args, f"{store.prefix}bell"])
        assert next(lines) == f"data: message,{store.prefix}bell,{word}"
        store.db.publish(f"{store.prefix}bell", "last")
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
    clock = (
        kv.script("common") + "\nlocal out = {} for i, v in ipairs(ARGV) do out[i] = iso(tonumber(v)) end return out"
    )
    back = kv.script("common") + (
        "\nlocal out = {} for i, v in ipairs(ARGV) do out[i] = string.format('%.0f', epoch(v)) end return out"
    )
    numbers = [str(round(moment.timestamp() * 1000)) for moment in MOMENTS]
    texts = [moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") for moment in MOMENTS]
    assert store.db.eval(clock, args=numbers) == texts
    assert store.db.eval(back, args=texts) == numbers
    now = store.db.eval(kv.script("common") + "\nreturn iso(now())")
    assert abs(datetime.fromisoformat(str(now)) - datetime.now(UTC)) < timedelta(seconds=30)


def test_a_record_keeps_what_it_has(store: Store) -> None:
    """Ending and renewing touch one field; spacing, order and foreign fields stay."""
    written = json.dumps({"x": [1.10], **json.loads(RECORD)}, indent=2)
    store.db.set(f"{store.prefix}session:{CODE}", written, ex=60)
    run(store, "end_session", WHOLE, ["bell"])
    assert store.db.get(f"{store.prefix}session:{CODE}") == written.replace("true", "false")


def test_every_script_has_its_header() -> None:
    """KEYS, ARGV and reply are told, every key comes in KEYS, and none is put together inside."""
    for path in (PROJECT / "lib" / "scripts").glob("*.lua"):
        text = path.read_text("utf-8")
        if path.stem == "common":
            continue
        header = text.split("\n\n")[0]
        assert all(part in header for part in ("-- KEYS  1", "-- ARGV  1", "-- reply {'")), path.name
        used = max(int(number) for number in re.findall(r"KEYS\[(\d)\]", text))
        assert f"  {used} " in header.split("ARGV")[0], path.name
        assert not re.search(r"redis\.call\([^)]*\.\.", text), path.name


def test_answer_once(store: Store) -> None:
    """The first answer stands, the same one again is known, and the request is gone from the stream."""
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, ex=60)
    run(store, "post_request", POST_KEYS, POST)
    replies = [
        run(store, "answer_request", WHOLE, ["q", kind, text, "bell", 100])[0]
        for kind, text in (("result", "1"), ("result", "1"), ("result", "1.0"), ("error", "1"))
    ]
    assert replies == ["answered", "again", "taken", "taken"]
    assert store.db.xlen(f"{store.prefix}req:{CODE}") == 0
    assert run(store, "read_response", RESPONSE_KEYS, ["q", 2])[2:] == ["result", "1"]
    assert run(store, "post_request", POST_KEYS, POST)[2:] == ["result", "1"]
    assert run(store, "post_request", POST_KEYS, ["q", "[1]", "other", *POST[3:]]) == ["conflict"]


def test_a_stream_that_opens_again_is_not_newer(store: Store) -> None:
    """An opening whose answer was lost is sent again; the stream that opened in between stays the session's."""
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, ex=60)
    opened = [
        run(store, "read_requests", WHOLE, ["(0-0", name, "open", "bell", before])[0]
        for name, before in (("a1", ""), ("a1", ""), ("b2", "a1"), ("a1", ""))
    ]
    assert opened == ["found", "found", "found", "replaced"]
    assert run(store, "read_requests", WHOLE, ["(0-0", "b2", "", "bell", ""])[0] == "found"
    assert run(store, "read_requests", WHOLE, ["(0-0", "a1", "", "bell", ""]) == ["replaced"]
    assert run(store, "read_requests", WHOLE, ["(0-0", "", "", "bell", ""])[0] == "found"
    for number in range(100):
        before = f"c{number - 1}" if number else "b2"
        assert run(store, "read_requests", WHOLE, ["(0-0", f"c{number}", "open", "bell", before])[0] == "found"
    assert len(store.db.hget(f"{store.prefix}res:{CODE}", "~stream") or "") <= 200


def test_a_stream_that_opens_late_is_not_newer(store: Store) -> None:
    """It does not know the stream that opened while it was held up, which stays the session's."""
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, ex=60)
    for name, before, reply in (("a1", "", "found"), ("b2", "a1", "found"), ("late", "a1", "overtaken")):
        assert run(store, "read_requests", WHOLE, ["(0-0", name, "open", "bell", before])[0] == reply
    assert run(store, "read_requests", WHOLE, ["(0-0", "late", "open", "bell", ""]) == ["overtaken", "b2"]
    assert run(store, "read_requests", WHOLE, ["(0-0", "b2", "", "bell", ""])[0] == "found"
    assert run(store, "read_requests", WHOLE, ["(0-0", "late", "open", "bell", "b2"])[0] == "found"


def test_bytes_are_counted(store: Store) -> None:
    """What a session holds: payloads until they are answered, and answers."""
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, ex=60)

    def size() -> str | None:
        return store.db.hget(f"{store.prefix}res:{CODE}", "~bytes")

    run(store, "post_request", POST_KEYS, POST)
    assert size() == "3"
    assert run(store, "answer_request", WHOLE, ["q", "result", "12345", "bell", 4]) == ["full"]
    assert size() == "3"
    run(store, "answer_request", WHOLE, ["q", "result", "12345", "bell", 5])
    run(store, "answer_request", WHOLE, ["q", "result", "12345", "bell", 5])
    assert size() == "5"
    assert run(store, "post_request", POST_KEYS, ["r", "[1]", "digest", "bell", 9, 9, 9, 7]) == ["full"]


def test_messages_vanish_with_their_session(store: Store) -> None:
    store.db.set(f"{store.prefix}session:{CODE}", RECORD, px=54_321)
    run(store, "read_requests", WHOLE, ["(0-0", "s", "open", "bell", ""])
    run(store, "post_request", POST_KEYS, POST)
    lives = [store.db.execute(["PEXPIRETIME", f"{store.prefix}{kind}:{CODE}"]) for kind in ("session", "req", "res")]
    assert len(set(lives)) == 1
    run(store, "renew_session", WHOLE, [600, 999_999_999, "bell"])
    lives = [store.db.execute(["PEXPIRETIME", f"{store.prefix}{kind}:{CODE}"]) for kind in ("session", "req", "res")]
    assert len(set(lives)) == 1
