"""dev/local/upstash.py: the local Upstash answers the vendor's client, and plain HTTP, as the cloud does."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from upstash_redis import Redis
from upstash_redis.errors import UpstashError

from tests.support.stores import Store
from tests.support.tools import wait_until


@pytest.fixture(params=["base64", None])
def db(store: Store, request: pytest.FixtureRequest) -> Iterator[Redis]:
    """Give the vendor's client as its users have it, with and without encoded responses."""
    with Redis(store.url, store.token, rest_encoding=request.param, rest_retries=0) as client:
        yield client


@pytest.fixture
def http(store: Store) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=store.url, headers={"Authorization": f"Bearer {store.token}"}) as client:
        yield client


@pytest.fixture
def key(store: Store) -> str:
    """Give a name that the store clears away."""
    return f"{store.prefix}key"


def test_strings(db: Redis, key: str) -> None:
    assert db.set(key, "Grüße, 世界 𝄞\n\0", ex=600) is True
    assert db.get(key) == "Grüße, 世界 𝄞\n\0"
    assert db.ttl(key) in (599, 600)
    assert db.set(key, "x", nx=True) is False
    assert db.set(key, "OK") is True
    assert db.get(key) == "OK"
    assert db.get(key + "2") is None
    assert db.incrby(key + "2", 5) == 5
    assert db.incrbyfloat(key + "2", 0.5) == 5.5
    assert db.append(key + "2", "!") == 4
    assert db.mget(key, key + "3") == ["OK", None]
    assert db.delete(key, key + "2") == 2


def test_hashes(db: Redis, key: str) -> None:
    assert db.hset(key, values={"a": "1", "b": "2"}) == 2
    assert db.hsetnx(key, "a", "3") is False
    assert db.hgetall(key) == {"a": "1", "b": "2"}
    assert db.hmget(key, "b", "c") == ["2", None]
    assert db.hincrby(key, "a", 41) == 42


def test_lists_and_sets(db: Redis, key: str) -> None:
    assert db.rpush(key, "a", "b", "c") == 3
    assert db.lrange(key, 0, -1) == ["a", "b", "c"]
    assert db.lpop(key) == "a"
    assert db.sadd(key + "2", "x", "y") == 2
    assert sorted(db.smembers(key + "2")) == ["x", "y"]
    assert db.zadd(key + "3", {"one": 1, "half": 0.5}) == 2
    assert db.zrange(key + "3", 0, -1, withscores=True) == [("half", 0.5), ("one", 1.0)]


def test_streams(db: Redis, key: str) -> None:
    first = db.xadd(key, "*", {"a": "1"})
    second = db.xadd(key, "*", {"b": "2"})
    assert db.xlen(key) == 2
    assert db.xrange(key, "-", "+") == [[first, ["a", "1"]], [second, ["b", "2"]]]
    assert db.xread({key: first}) == [[key, [[second, ["b", "2"]]]]]
    assert db.xdel(key, first) == 1


def test_scripts(db: Redis, key: str) -> None:
    script = "redis.call('SET', KEYS[1], ARGV[1]) return {redis.call('GET', KEYS[1]), 7, false}"
    assert db.eval(script, [key], ["value"]) == ["value", 7, None]
    digest = db.script_load("return ARGV[1]")
    assert db.evalsha(digest, [], ["again"]) == "again"
    with pytest.raises(UpstashError, match="NOSCRIPT"):
        db.evalsha("f" * 40)


def test_pipeline_and_transaction(db: Redis, key: str) -> None:
    for batch in (db.pipeline(), db.multi()):
        batch.set(key, "1")
        batch.incr(key)
        batch.hset(key + "2", "a", "b")
        batch.hgetall(key + "2")
        results = batch.exec()
        assert results[:2] == [True, 2]
        assert results[3] == {"a": "b"}


def test_errors(db: Redis, key: str) -> None:
    db.set(key, "text")
    for call, text in (
        (lambda: db.incr(key), "ERR value is not an integer"),
        (lambda: db.lpush(key, "x"), "WRONGTYPE Operation against a key"),
        (lambda: db.execute(["NOSUCH", "x"]), "ERR unknown command"),
        (lambda: db.execute(["GET"]), "ERR wrong number of arguments"),
        (lambda: db.eval("return redis.error_reply('MINE own')"), "MINE own"),
    ):
        with pytest.raises(UpstashError, match=text):
            call()


def test_wrong_token(store: Store) -> None:
    with Redis(store.url, "wrong", rest_retries=0) as client, pytest.raises(UpstashError, match="Unauthorized"):
        client.ping()


BATCH = b'[["SET", "{k}", "a"], ["INCR", "{k}"], ["GET", "{k}"]]'
REPLIES: list[Any] = [{"result": "OK"}, {"error": "ERR value is not an integer"}, {"result": "a"}]


@pytest.mark.parametrize(
    ("path", "body", "status", "expected"),
    [
        ("/", b'["SET", "{k}", "a"]', 200, {"result": "OK"}),
        ("/", b'["INCRBY", "{k}", 9007199254740993]', 200, {"result": 9007199254740993}),
        ("/", b'["SET", "{k}", 1.10]', 200, {"result": "OK"}),
        ("/pipeline", BATCH, 200, REPLIES),
        ("/multi-exec", BATCH, 200, REPLIES),
        ("/multi-exec", b'[["SET", "{k}", "a"], ["NOSUCH"]]', 400, {"error": "EXECABORT"}),
        ("/", b"not JSON", 400, {"error": "ERR failed to parse command"}),
        ("/", b"[]", 400, {"error": "ERR failed to parse command"}),
        ("/", b'["SET", "{k}", null]', 400, {"error": "ERR failed to parse command"}),
        ("/", b'["SET", "{k}", ["x"]]', 400, {"error": "ERR failed to parse command"}),
        ("/", b"[" * 10_000, 400, {"error": "ERR failed to parse command"}),
        ("/pipeline", b"{}", 400, {"error": "ERR empty pipeline request"}),
        ("/get/{k}", b"", 404, {"error": "ERR the local Upstash has no such path"}),
    ],
)
def test_http(http: httpx.Client, key: str, path: str, body: bytes, status: int, expected: Any) -> None:
    """An error may say more than is expected."""
    answer = http.post(path.replace("{k}", key), content=body.replace(b"{k}", key.encode()))
    assert answer.status_code == status
    found, wanted = ([one] if isinstance(one, dict) else one for one in (answer.json(), expected))
    for reply, part in zip(found, wanted, strict=True):
        assert reply.keys() == part.keys()
        assert str(reply.get("error", "")).startswith(part.get("error", ""))
        assert reply.get("result") == part.get("result")


def test_replies_that_are_encoded(http: httpx.Client, key: str) -> None:
    """`OK` and numbers are not encoded, and text is, however deep in a reply."""
    script = "return {ARGV[1], 7, {redis.status_reply('OK'), 'OK2'}}"
    command = ["EVAL", script, "0", "ä"]
    plain = http.post("/", json=command).json()
    assert plain == {"result": ["ä", 7, ["OK", "OK2"]]}
    encoded = http.post("/", json=command, headers={"Upstash-Encoding": "base64"}).json()
    assert encoded == {"result": ["w6Q=", 7, ["OK", "T0sy"]]}


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Bearer \xe9", "Basic {token}"])
def test_token_that_is_refused(store: Store, authorization: str) -> None:
    headers = {b"Authorization": authorization.replace("{token}", store.token).encode("latin-1")}
    for path in ("/", "/pipeline", "/subscribe/x"):
        refused = httpx.post(f"{store.url}{path}", json=["PING"], headers=headers)
        assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})


def test_publish_and_subscribe(store: Store, http: httpx.Client, key: str) -> None:
    """Messages come one by one, from every way to publish, and a listener that leaves is forgotten."""
    with http.stream("POST", f"/subscribe/{key}", headers={"Accept": "text/event-stream"}, timeout=5) as listening:
        assert listening.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in listening.iter_lines() if line)
        assert next(lines) == f"data: subscribe,{key},1"
        assert http.post("/", json=["PUBLISH", key, "hello there"]).json() == {"result": 1}
        assert next(lines) == f"data: message,{key},hello there"
        assert store.db.publish(key, "a, b") == 1
        assert next(lines) == f"data: message,{key},a, b"
        store.db.eval("return redis.call('PUBLISH', ARGV[1], 'from a script')", args=[key])
        assert next(lines) == f"data: message,{key},from a script"
    wait_until(lambda: store.db.publish(key, "anyone?") == 0)


def test_many_at_once(store: Store, key: str) -> None:
    def work() -> None:
        with Redis(store.url, store.token) as client:
            for _ in range(20):
                client.incr(key)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(store.db.get(key) or "0") == 400
