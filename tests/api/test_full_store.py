"""A real Redis at `maxmemory`, which refuses whatever would take memory: what was accepted can be used and ended."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dev.events import events_of
from dev.local import environment
from tests.support.agents import Agent
from tests.support.deployments import Pair, Parley, refusal, running_parley
from tests.support.stores import redis_server, running_store

FULL = (503, "store_quota_exceeded")


@pytest.fixture
def parley() -> Iterator[Parley]:
    with (
        redis_server() as url,
        running_store(url) as store,
        running_parley(store, **environment.UNLIMITED) as running,
    ):
        yield running


def set_room(parley: Parley, share: str) -> None:
    """Let the store have as much memory as it uses (`full`), or as much as it wants (`free`)."""
    used = parley.store.db.execute(["INFO", "memory"])
    lines = dict(line.split(":", 1) for line in str(used).splitlines() if ":" in line)
    limit = str(int(lines["used_memory"]) // 2) if share == "full" else "0"
    parley.store.db.execute(["CONFIG", "SET", "maxmemory", limit])


def test_full_store(parley: Parley) -> None:
    """Sessions are read, answered requests too, and what frees memory works; writing is refused, by its name."""
    pair, other = Pair(parley), Pair(parley)
    assert pair.offer('[{"name":"a"}]').status_code == 204
    for number in range(5):
        assert pair.post(f'"{"x" * 10_000}"', f"q{number}").status_code == 202
    assert pair.answer("q0", '"kept"').status_code == 201
    with parley.http.stream("GET", f"{pair.url}/stream", headers=pair.host) as stream:
        events = events_of(stream.iter_bytes())
        assert [next(events).name for _ in range(5)] == ["open", *["request"] * 4]
        set_room(parley, "full")

        refused = (
            parley.http.post("/api/sessions"),
            pair.post("1", "q9"),
            pair.answer("q1", "1"),
            pair.offer('[{"name":"b"}]'),
            parley.http.patch(pair.url, headers=pair.host),
        )
        assert [refusal(answer) for answer in refused] == [FULL] * len(refused)
        told = Agent(f"{parley.url}/mcp/{pair.code}", Accept="application/json").failed("a")
        assert "quota is used up" in told

        assert parley.http.get(pair.url).json()["listening"] is True
        assert pair.read("q0").json()["result"] == "kept"
        assert pair.read("q1", "?wait=1").json()["status"] == "pending"
        assert pair.tools().json()["tools"][0]["name"] == "a"
        assert [request["id"] for request in pair.unanswered().json()["requests"]] == ["q1", "q2", "q3", "q4"]
        body = {"id": "q1", "progress": 1}
        assert parley.http.post(f"{pair.url}/progress", json=body, headers=pair.host).status_code == 204
        assert pair.withdraw("q4").status_code == 204
        assert (event := next(events)).name == "withdrawn"
        assert event.data == {"id": "q4"}
        assert parley.http.delete(other.url, headers=other.host).status_code == 204

        set_room(parley, "free")
        assert [request["id"] for request in pair.unanswered().json()["requests"]] == ["q1", "q2", "q3"]
        assert pair.answer("q1", '"later"').status_code == 201
        assert pair.read("q1").json()["result"] == "later"
        set_room(parley, "full")
        assert parley.http.delete(pair.url, headers=pair.host).status_code == 204
        last: Any = [event for event in events if event.name == "ended"]
        assert json.loads(last[0].text) == {"reason": "ended"}
    assert parley.store.names("req:*") == parley.store.names("res:*") == parley.store.names("tools:*") == []
