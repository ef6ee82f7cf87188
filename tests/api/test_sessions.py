"""api/sessions: what a host and a guest see, and what is in the store."""

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from lib.session import codes, tokens
from tests.support.deployments import Parley, refusal, running_parley

MINUTES = 600


def when(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def record(parley: Parley, code: str) -> dict[str, Any]:
    found = parley.store.db.get(f"{parley.store.prefix}session:{code}")
    assert found is not None
    held: dict[str, Any] = json.loads(found)
    return held


def ttl(parley: Parley, name: str) -> int:
    return parley.store.db.pttl(f"{parley.store.prefix}{name}")


def expires(parley: Parley, name: str) -> Any:
    """Return the instant at which a key expires."""
    return parley.store.db.execute(["PEXPIRETIME", f"{parley.store.prefix}{name}"])


def test_create(parley: Parley) -> None:
    answer = parley.http.post("/api/sessions")
    assert answer.status_code == 201
    session = answer.json()
    assert list(session) == ["code", "createdAt", "expiresAt", "active", "ttl", "token"]
    assert codes.parse(session["code"]) == session["code"]
    assert answer.headers["location"] == f"/api/sessions/{session['code']}"
    assert session["active"] is True
    assert session["ttl"] == MINUTES
    assert when(session["expiresAt"]) - when(session["createdAt"]) == timedelta(seconds=MINUTES)
    assert abs(when(session["createdAt"]) - datetime.now(UTC)) < timedelta(seconds=30)


def test_create_with_empty_object(parley: Parley) -> None:
    assert parley.http.post("/api/sessions", json={}).status_code == 201


@pytest.mark.parametrize("kind", ["Application/JSON", "application/json; charset=utf-8", "application/x.y-1+json"])
def test_create_with_json_of_another_kind(parley: Parley, kind: str) -> None:
    assert parley.http.post("/api/sessions", content=b"{}", headers={"Content-Type": kind}).status_code == 201


def test_create_without_a_body_of_any_kind(parley: Parley) -> None:
    assert parley.http.post("/api/sessions", headers={"Content-Type": "text/plain"}).status_code == 201


def test_record(parley: Parley) -> None:
    session = parley.create()
    assert record(parley, session["code"]) == {
        "code": session["code"],
        "createdAt": session["createdAt"],
        "expiresAt": session["expiresAt"],
        "ip": "127.0.0.1",
        "active": True,
    }
    assert 540_000 < ttl(parley, f"session:{session['code']}") <= 600_000


def test_address_of_ipv6(parley: Parley) -> None:
    """A session has its creator's; what is counted is its network's."""
    url = f"http://127.0.0.1:{parley.platform.function('sessions').port}/api/sessions"
    session = httpx.post(url, headers={"x-real-ip": "2001:db8::1"}).json()
    assert record(parley, session["code"])["ip"] == "2001:db8::1"
    assert parley.store.names("rate:sessions:*") == ["rate:sessions:2001:db8::/64"]


def test_every_key_expires(parley: Parley) -> None:
    session = parley.create()
    url = f"/api/sessions/{session['code']}"
    parley.http.get(url)
    parley.http.get("/api/sessions/00000000")
    parley.http.patch(url, headers=session["host"])
    parley.http.get("/api/health?deep=1")
    names = parley.store.names()
    assert {name.split(":")[0] for name in names} == {"session", "rate"}
    assert all(0 < ttl(parley, name) <= 600_000 for name in names)


def test_read(parley: Parley) -> None:
    session = parley.create()
    answer = parley.http.get(f"/api/sessions/{session['code']}")
    assert answer.status_code == 200
    assert 540 < answer.json()["ttl"] <= 600
    assert list(answer.json()) == ["code", "createdAt", "expiresAt", "active", "ttl", "listening"]
    assert answer.json()["listening"] is False
    assert all(answer.json()[name] == session[name] for name in ("code", "createdAt", "expiresAt", "active"))


@pytest.mark.parametrize("written", ["{0}", "{0:.4}-{1}", "{2}", "%20{0:.4}%20{1}%20"])
def test_read_as_typed(parley: Parley, written: str) -> None:
    code = parley.create()["code"]
    typed = written.format(code, code[4:], code.lower().replace("0", "o").replace("1", "l"))
    assert parley.http.get(f"/api/sessions/{typed}").json()["code"] == code
    assert parley.http.get(f"/api/sessions?code={typed}").json()["code"] == code


def test_path_counts_before_query(parley: Parley) -> None:
    first, second = parley.create()["code"], parley.create()["code"]
    assert parley.http.get(f"/api/sessions/{first}?code={second}").json()["code"] == first


@pytest.mark.parametrize(
    "code", ["ABC", "ABC123456", "ABCDEFGU", "\u0410BC12345", "x&c=1", "..%2f..", "%00", "a" * 5000]
)
def test_read_what_is_no_code(parley: Parley, code: str) -> None:
    assert refusal(parley.http.get(f"/api/sessions/{code}")) == (400, "invalid_code")
    assert parley.store.faults.calls == 0


def test_read_unknown(parley: Parley) -> None:
    assert refusal(parley.http.get("/api/sessions/00000000")) == (404, "session_not_found")


def test_read_expired(parley: Parley) -> None:
    code = parley.create()["code"]
    parley.store.db.pexpire(f"{parley.store.prefix}session:{code}", 1)
    assert refusal(parley.http.get(f"/api/sessions/{code}")) == (404, "session_not_found")


def test_ttl_is_what_is_left(parley: Parley) -> None:
    code = parley.create()["code"]
    parley.store.db.pexpire(f"{parley.store.prefix}session:{code}", 90_000)
    assert 60 < parley.http.get(f"/api/sessions/{code}").json()["ttl"] <= 90


def test_read_foreign_record(parley: Parley) -> None:
    """A record written by another program, with spaces and another order, is a record."""
    code = "ABC12345"
    held = {
        "active": True,
        "code": code,
        "ip": "::1",
        "createdAt": "2026-01-31T00:00:00.000Z",
        "expiresAt": "2026-01-31T00:10:00.000Z",
    }
    parley.store.db.set(f"{parley.store.prefix}session:{code}", json.dumps(held, indent=1), ex=60)
    expected = {name: value for name, value in held.items() if name != "ip"} | {"listening": False}
    answer = parley.http.get(f"/api/sessions/{code}").json()
    assert 0 < answer.pop("ttl") <= 60
    assert answer == expected


@pytest.mark.parametrize("held", ["", "null", "[]", "{}", "not JSON"])
def test_read_broken_record(parley: Parley, held: str) -> None:
    parley.store.db.set(f"{parley.store.prefix}session:ABC12345", held, ex=60)
    assert refusal(parley.http.get("/api/sessions/ABC12345")) == (503, "store_unavailable")


def test_renew(parley: Parley) -> None:
    session = parley.create()
    code = session["code"]
    parley.http.post(f"/api/sessions/{code}/requests", json={"payload": 1})
    for name in ("session", "req", "res"):
        parley.store.db.pexpire(f"{parley.store.prefix}{name}:{code}", 60_000)
    assert refusal(parley.http.patch(f"/api/sessions/{code}", json={"ttl": 1}, headers=session["host"])) == (
        400,
        "invalid_request",
    )
    answer = parley.http.patch(f"/api/sessions/{code}", headers=session["host"])
    assert answer.status_code == 200
    renewed = answer.json()
    assert renewed["ttl"] == MINUTES
    assert renewed["createdAt"] == session["createdAt"]
    assert when(session["expiresAt"]) <= when(renewed["expiresAt"]) < when(session["expiresAt"]) + timedelta(seconds=30)
    assert record(parley, code) == {**record(parley, code), "expiresAt": renewed["expiresAt"], "active": True}
    assert ttl(parley, f"session:{code}") > 540_000
    assert len({expires(parley, f"{name}:{code}") for name in ("session", "req", "res")}) == 1


def aged(parley: Parley, code: str, hours: float) -> dict[str, str]:
    """Let a session be this old, with one minute to live. Returns its host's headers."""
    created = datetime.now(UTC) - timedelta(hours=hours)
    created_at = created.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    held = record(parley, code) | {"createdAt": created_at}
    parley.store.db.set(f"{parley.store.prefix}session:{code}", json.dumps(held), ex=60)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in parley.store.variables().items():
            patch.setenv(name, value)
        return {"Authorization": f"Bearer {tokens.derive(code, created_at)}"}


def test_renew_at_the_end_of_the_longest_life(parley: Parley) -> None:
    session = parley.create()
    host = aged(parley, session["code"], hours=4 - 5 / 60)
    renewed = parley.http.patch(f"/api/sessions/{session['code']}", headers=host).json()
    assert 240 < renewed["ttl"] <= 300
    assert when(renewed["expiresAt"]) - when(renewed["createdAt"]) == timedelta(hours=4)


def test_renew_never_shortens(parley: Parley) -> None:
    session = parley.create()
    host = aged(parley, session["code"], hours=5)
    before = expires(parley, f"session:{session['code']}")
    answer = parley.http.patch(f"/api/sessions/{session['code']}", headers=host)
    assert answer.status_code == 200
    assert abs(expires(parley, f"session:{session['code']}") - before) <= 1  # the milliseconds are rounded once more


def test_token_of_an_earlier_session(parley: Parley) -> None:
    """One that is kept from an expired session opens no later session with the same code, whatever it asks for."""
    session = parley.create()
    code, url = session["code"], f"/api/sessions/{session['code']}"
    later = aged(parley, code, hours=1)
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/requests"),
        ("GET", "/requests?wait=1"),
        ("GET", "/stream"),
        ("HEAD", "/stream"),
        ("GET", "/responses/q"),
    ):
        answer = parley.http.request(method, f"{url}{path}", headers=session["host"])
        assert answer.status_code == 403, (method, path)
    answer = parley.http.post(f"{url}/responses", json={"id": "q", "result": 1}, headers=session["host"])
    assert refusal(answer) == (403, "host_token_wrong")
    assert parley.http.patch(url, headers=later).status_code == 200


def test_end(parley: Parley) -> None:
    session = parley.create()
    code, url = session["code"], f"/api/sessions/{session['code']}"
    parley.http.post(f"{url}/requests", json={"payload": 1})
    parley.store.db.pexpire(f"{parley.store.prefix}session:{code}", 90_000)
    for _ in range(2):
        answer = parley.http.delete(url, headers=session["host"])
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-length" not in answer.headers
        assert parley.store.names(f"*e[qs]*:{code}") == [f"session:{code}"]
        assert record(parley, code)["active"] is False
        assert 30_000 < ttl(parley, f"session:{code}") <= 90_000
    assert parley.http.get(url).json()["active"] is False
    assert refusal(parley.http.patch(url, headers=session["host"])) == (410, "session_ended")


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_host_calls_need_the_token(parley: Parley, method: str) -> None:
    session, other = parley.create(), parley.create()
    url = f"/api/sessions/{session['code']}"
    parley.store.faults.heal()
    for header in (None, "Bearer", "Basic abc", session["token"]):
        answer = parley.http.request(method, url, headers={"Authorization": header} if header else {})
        assert refusal(answer) == (401, "host_token_required")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for token in (other["token"], session["token"][:-1], session["token"] + "0", "é"):
        header = f"Bearer {token}".encode("latin-1")
        answer = parley.http.request(method, url, headers={b"Authorization": header})
        assert refusal(answer) == (403, "host_token_wrong")
    assert parley.store.faults.calls == 0
    answer = parley.http.request(method, url, headers={"authorization": f"bearer  {session['token']}"})
    assert answer.is_success


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_host_calls_to_an_expired_session(parley: Parley, method: str) -> None:
    session = parley.create()
    parley.store.clear()
    answer = parley.http.request(method, f"/api/sessions/{session['code']}", headers=session["host"])
    assert refusal(answer) == (404, "session_not_found")


def test_every_call_is_one_call_to_the_store(parley: Parley) -> None:
    session = parley.create()
    url = f"/api/sessions/{session['code']}"
    assert parley.store.faults.calls == 1
    for number, method in enumerate(["GET", "HEAD", "PATCH", "DELETE"], start=2):
        answer = parley.http.request(method, url, headers=session["host"])
        assert answer.is_success
        assert answer.headers["server-timing"].endswith('desc="1 calls"')
        assert parley.store.faults.calls == number


def test_rate_of_new_sessions(limited: Parley) -> None:
    parley = limited
    for _ in range(30):
        parley.create()
    answer = parley.http.post("/api/sessions")
    assert refusal(answer) == (429, "rate_limited")
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert answer.json()["detail"] == f"Wait {answer.headers['retry-after']} s, then try again."
    # The platform's word counts, not the caller's.
    forged = {"x-real-ip": "198.51.100.7", "x-forwarded-for": "198.51.100.7", "x-vercel-forwarded-for": "198.51.100.7"}
    assert parley.http.post("/api/sessions", headers=forged).status_code == 429
    with parley.caller("127.0.0.2") as neighbour:
        assert neighbour.post("/api/sessions").status_code == 201


def test_rate_of_unknown_codes(limited: Parley) -> None:
    parley = limited
    session = parley.create()
    url = f"/api/sessions/{session['code']}"
    for number in range(30):
        assert parley.http.get(url).status_code == 200
        assert parley.http.get(f"/api/sessions/0000{number:04}").status_code == 404
    answer = parley.http.get("/api/sessions/00009999")
    assert refusal(answer) == (429, "rate_limited")
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert parley.http.get(url).status_code == 200, "where it has succeeded before it may go on"
    other = parley.create()
    assert refusal(parley.http.get(f"/api/sessions/{other['code']}")) == (429, "rate_limited")
    assert parley.http.get(f"/api/sessions/{other['code']}", headers=other["host"]).status_code == 200


def test_hosts_of_no_session_count(limited: Parley) -> None:
    """A valid token for a code that no session has is a miss like any other."""
    parley = limited
    session = parley.create()
    parley.store.db.delete(f"{parley.store.prefix}session:{session['code']}")
    answers = [parley.http.get(f"/api/sessions/{session['code']}/requests", headers=session["host"]) for _ in range(31)]
    assert [answer.status_code for answer in answers] == [404] * 30 + [429]


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"[]", "application/json", (400, "invalid_request")),
        (b'{"ttl": 60}', "application/json", (400, "invalid_request")),
        (b"{", "application/json", (400, "invalid_json")),
        (b"\xff\xfe", "application/json", (400, "invalid_json")),
        (b"[" * 100_000, "application/json", (400, "invalid_json")),
        (b'{"a":' * 5000, "application/json", (400, "invalid_json")),
        (b"{}", "application/x-www-form-urlencoded", (415, "unsupported_media_type")),
        (b"{}", "text/plain; charset=utf-8", (415, "unsupported_media_type")),
        (b" " * 2_000_000, "application/json", (413, "payload_too_large")),
        (b"1" * 4_400_000, "application/json", (413, "payload_too_large")),
    ],
)
def test_create_with_another_body(parley: Parley, body: bytes, kind: str, expected: tuple[int, str]) -> None:
    answer = parley.http.post("/api/sessions", content=body, headers={"Content-Type": kind})
    assert refusal(answer) == expected
    assert answer.headers.get("accept") == ("application/json" if expected[0] == 415 else None)
    assert parley.store.names() == []


def test_many_at_once(parley: Parley) -> None:
    """Fifty threads create and read sessions: none is lost, none is shared."""
    created: list[str] = []
    wrong: list[str] = []

    def work() -> None:
        for _ in range(2):
            session = roomy.http.post("/api/sessions").json()
            created.append(session["code"])
            read = roomy.http.get(f"/api/sessions/{session['code']}").json()
            if read["createdAt"] != session["createdAt"]:
                wrong.append(session["code"])

    with running_parley(parley.store, RATE_LIMIT_SESSIONS="1000") as roomy:
        threads = [threading.Thread(target=work) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(created) == len(set(created)) == 100
    assert parley.store.names("session:*") == sorted(f"session:{code}" for code in created)


def test_preview_has_names_of_its_own(parley: Parley) -> None:
    preview = {"VERCEL_ENV": "preview", "VERCEL_GIT_COMMIT_REF": "feature/a b", "KV_KEY_PREFIX": ""}
    with running_parley(parley.store, **preview) as branch:
        session = branch.create()
        code = session["code"]
        assert branch.store.db.exists(f"preview:feature%2Fa%20b:session:{code}") == 1
        assert refusal(parley.http.get(f"/api/sessions/{code}")) == (404, "session_not_found")
        names = branch.store.db.keys("preview:feature%2Fa%20b:*")
        assert sorted({name.split(":")[2] for name in names}) == ["rate", "session"]
        branch.store.db.delete(*names)


def test_no_store() -> None:
    """Without a store the API says so, and names what is missing."""
    nowhere: Any = type("Nowhere", (), {"variables": lambda _: {}})()
    with running_parley(nowhere) as parley:
        for path in ("/api/sessions/ABC12345", "/api/health"):
            answer = parley.http.get(path)
            assert refusal(answer) == (503, "store_not_configured")
            assert "KV_REST_API_URL" in answer.json()["detail"]
        assert refusal(parley.http.post("/api/sessions")) == (503, "store_not_configured")
        host = {"Authorization": f"Bearer 20261124102326166.{'0' * 64}"}
        assert refusal(parley.http.delete("/api/sessions/ABC12345", headers=host)) == (503, "store_not_configured")
