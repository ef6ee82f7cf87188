"""api/requests, api/responses: what was sent arrives, once, in order, to the digit."""

import json
import threading
from collections.abc import Callable
from itertools import islice
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.events import events_of
from lib import jsontext
from tests.support.deployments import SENT_AS_JSON, Api, Pair, Parley, refusal
from tests.support.tools import wait_until
from tests.support.values import JSON

LIMIT = 1024 * 1024


@pytest.fixture
def pair(parley: Parley) -> Pair:
    return Pair(parley)


def test_round_trip(pair: Pair) -> None:
    posted = pair.post('{"q":1.10}', "q1")
    assert (posted.status_code, posted.text) == (202, '{"id":"q1","status":"pending"}')
    assert posted.headers["location"] == f"{pair.url}/responses/q1"
    assert (pair.read("q1").status_code, pair.read("q1").text) == (202, '{"id":"q1","status":"pending"}')
    found = pair.unanswered().json()
    (request,) = found["requests"]
    assert list(request) == ["id", "payload", "createdAt", "cursor"]
    assert found["cursor"] == request["cursor"]
    answered = pair.answer("q1", '{"n":-0.0}')
    assert (answered.status_code, answered.text) == (201, '{"id":"q1","status":"answered"}')
    read = pair.read("q1")
    assert read.status_code == 200
    assert read.text.startswith('{"id":"q1","status":"answered","result":{"n":-0.0},"answeredAt":"20')
    assert pair.unanswered().json() == {"requests": [], "cursor": "0-0"}
    assert pair.unanswered(f"?after={request['cursor']}").json() == {"requests": [], "cursor": request["cursor"]}


def test_error_is_an_answer(pair: Pair) -> None:
    pair.post(request_id="q")
    assert pair.answer("q", '"no"', "error").status_code == 201
    assert pair.read("q").json().keys() == {"id", "status", "error", "answeredAt"}


def test_relay_draws_an_id(pair: Pair) -> None:
    ids = [pair.post().json()["id"] for _ in range(3)]
    assert len(set(ids)) == 3
    assert [request["id"] for request in pair.unanswered().json()["requests"]] == ids


def test_own_paths(pair: Pair) -> None:
    http, code = pair.parley.http, pair.code
    assert http.post(f"/api/requests?code={code}", json={"id": "q", "payload": 1}).status_code == 202
    assert http.get(f"/api/requests?code={code}", headers=pair.host).json()["requests"][0]["id"] == "q"
    answered = http.post(f"/api/responses?code={code}", json={"id": "q", "result": None}, headers=pair.host)
    assert answered.status_code == 201
    assert http.get(f"/api/responses?code={code}&id=q").json()["result"] is None


def test_same_request_again(pair: Pair) -> None:
    """It is the first one, before it is answered and after; the host sees it once."""
    for _ in range(3):
        assert pair.post("[1]", "q").status_code == 202
    assert len(pair.unanswered().json()["requests"]) == 1
    pair.answer("q", "2")
    again = pair.post("[1]", "q")
    assert (again.status_code, again.json()["result"]) == (200, 2)
    assert pair.unanswered().json()["requests"] == []
    for payload in ("[2]", "[1.0]", "[ 1]"):
        assert refusal(pair.post(payload, "q")) == (409, "id_conflict")


def test_first_answer_wins(pair: Pair) -> None:
    pair.post(request_id="q")
    assert pair.answer("q", "1").status_code == 201
    assert pair.answer("q", "1").status_code == 200
    for text, kind in (("2", "result"), ("1.0", "result"), ("1", "error")):
        assert refusal(pair.answer("q", text, kind)) == (409, "already_answered")
    assert pair.read("q").json()["result"] == 1


def test_order_and_cursor(pair: Pair) -> None:
    for number in range(5):
        pair.post(str(number), f"q{number}")
    found = pair.unanswered().json()["requests"]
    assert [request["payload"] for request in found] == [0, 1, 2, 3, 4]
    pair.answer("q1")
    pair.answer("q3")
    assert [request["id"] for request in pair.unanswered().json()["requests"]] == ["q0", "q2", "q4"]
    after = pair.unanswered(f"?after={found[1]['cursor']}").json()
    assert [request["id"] for request in after["requests"]] == ["q2", "q4"]
    assert after["cursor"] == found[4]["cursor"]


def test_cost(api: Api) -> None:
    """Each call is one call to the store; a wait adds the subscription of an instance that has none."""
    pair = Pair(api)
    for call, cost in (
        (lambda: pair.post(request_id="q"), 1),
        (pair.unanswered, 1),
        (lambda: pair.unanswered("?wait=5"), 2),
        (lambda: pair.unanswered("?wait=5"), 1),
        (lambda: pair.read("q"), 1),
        (lambda: pair.answer("q"), 1),
        (lambda: pair.read("q", "?wait=5"), 1),
        (lambda: pair.post(request_id="q", query="?wait=5"), 1),
    ):
        before = api.store.faults.calls
        answer = call()  # type: ignore[no-untyped-call]
        assert answer.is_success
        assert api.store.faults.calls - before == cost
        assert answer.headers["server-timing"].endswith(f'"{cost} calls"')


def test_guest_waits(api: Api) -> None:
    """The answer comes when it is there, however the wait is asked for, and whoever waits."""
    pair, faults = Pair(api), api.store.faults
    answers: list[httpx.Response] = []

    def wait(headers: dict[str, str], query: str) -> None:
        body = '{"id":"q","payload":1}'
        answers.append(api.http.post(f"{pair.url}/requests{query}", content=body, headers=SENT_AS_JSON | headers))

    ways = [({}, "?wait=50"), ({"Prefer": "respond-async, wait=50"}, ""), ({"Prefer": 'Wait="50"'}, "")]
    waiting = [threading.Thread(target=wait, args=way) for way in ways]
    # The first one posts, subscribes, and looks again.
    for thread, cost in zip(waiting, (3, 1, 1), strict=True):
        expected = faults.calls + cost
        thread.start()
        wait_until(lambda expected=expected: faults.calls == expected)  # type: ignore[misc]
    pair.answer("q", '"yes"')
    for thread in waiting:
        thread.join()
    assert [answer.json()["result"] for answer in answers] == ["yes"] * 3
    assert sorted(answer.headers.get("preference-applied", "") for answer in answers) == ["", "wait=50", "wait=50"]
    assert faults.calls == expected + 1, "the answer itself, which the bell carries to all three"


def test_wait_runs_out(pair: Pair) -> None:
    assert pair.post(request_id="q", query="?wait=1").status_code == 202
    assert pair.read("q", "?wait=1").status_code == 202
    assert pair.unanswered("?after=999999999999999-0&wait=1").json()["requests"] == []


def test_long_wait_is_cut(pair: Pair) -> None:
    pair.post(request_id="q")
    pair.answer("q")
    assert pair.read("q", "?wait=9999").headers["preference-applied"] == "wait=55"
    prefer = {"Prefer": "wait=9999"}
    assert pair.parley.http.get(f"{pair.url}/responses/q", headers=prefer).headers["preference-applied"] == "wait=55"
    for seconds in (3, 55):
        assert "preference-applied" not in pair.read("q", f"?wait={seconds}").headers
    assert pair.read("q", "?wait=" + "9" * 5000).headers["preference-applied"] == "wait=55"
    for text, applied in (
        ('foo="a, wait=9, b"', None),
        ('foo="\\", wait=9"', None),
        ("foo=bar, wait=010; x=y, baz", "wait=10"),
        ("wait=99999999999", "wait=55"),
    ):
        headers = pair.parley.http.get(f"{pair.url}/responses/q", headers={"Prefer": text}).headers
        assert headers.get("preference-applied") == applied
    assert refusal(pair.read("q", "?wait=x")) == (400, "invalid_request")
    assert refusal(pair.read("q", "?wait=-1")) == (400, "invalid_request")
    ignored = {"Prefer": "wait=soon"}
    assert pair.parley.http.get(f"{pair.url}/responses/q", headers=ignored).status_code == 200


def test_wait_of_a_guest_whose_network_is_limited_meanwhile(limited: Parley) -> None:
    """Who has posted a request knows the code: guesses from the same network do not cost it the answer."""
    pair = Pair(limited)
    answers: list[httpx.Response] = []
    waiting = [
        threading.Thread(target=lambda: answers.append(pair.post(query="?wait=50"))),
        threading.Thread(target=lambda: answers.append(pair.read("q", "?wait=50"))),
    ]
    pair.post(request_id="q")
    for thread in waiting:
        thread.start()
    wait_until(lambda: pair.listeners() == ["guest", "guest"])  # one of each function
    for number in range(30):
        pair.parley.http.get(f"/api/sessions/0000{number:04}")
    assert refusal(Pair(pair.parley).read("q")) == (429, "rate_limited")
    for request in pair.unanswered().json()["requests"]:
        pair.answer(request["id"])
    for thread in waiting:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert pair.parley.http.get(f"{pair.url}/responses/q", headers=pair.host).status_code == 200


CALLS: dict[str, Callable[[Pair], httpx.Response]] = {
    "read": lambda pair: pair.read("q"),
    "post": lambda pair: pair.post(request_id="q"),
    "withdraw": lambda pair: pair.withdraw("q"),
    "unanswered": lambda pair: pair.unanswered(),
    "answer": lambda pair: pair.answer("q"),
    "end": lambda pair: pair.parley.http.delete(pair.url, headers=pair.host),
}
OF_GUESTS, OF_HOSTS = "read post withdraw", "unanswered answer end"


def write(pair: Pair, key: str, command: str, value: str) -> None:
    """Write into the place of a session's data what no script writes."""
    store = pair.parley.store
    name = f"{store.prefix}{key}:{pair.code}"
    store.db.delete(name)
    store.db.execute([command, name, *(["q"] if command == "HSET" else []), value])
    store.db.expire(name, 60)


@pytest.mark.parametrize(
    ("key", "command", "value", "calls"),
    [
        ("session", "SET", "garbage", OF_GUESTS),
        ("session", "SET", '{"code":1,"createdAt":2,"expiresAt":{"a":1},"active":"perhaps"}', OF_GUESTS),
        ("session", "SET", '{"code":"ABC12345","createdAt":"CREATED","active":1}', f"{OF_GUESTS} {OF_HOSTS}"),
        ("res", "HSET", "rubbish", f"{OF_GUESTS} answer"),
        ("res", "HSET", "pending x y z", f"{OF_GUESTS} answer"),
        ("res", "HSET", "answered 99999999999999999999 d result x", "read"),  # others compare the digest only
        ("res", "SET", "a string", f"{OF_GUESTS} answer"),
        ("req", "SET", "a string", "unanswered"),
    ],
)
def test_data_that_is_not_ours(pair: Pair, key: str, command: str, value: str, calls: str) -> None:
    """It is the store's problem: never a 500, never believed, and not logged."""
    written = value.replace("CREATED", pair.session["createdAt"])
    write(pair, key, command, written)
    for call in calls.split():
        answer = CALLS[call](pair)
        assert refusal(answer) == (503, "store_unavailable"), call
        assert written not in pair.parley.log(answer)["cause"]


def test_record_that_is_not_the_hosts(pair: Pair) -> None:
    write(pair, "session", "SET", "garbage")
    for call in OF_HOSTS.split():
        assert refusal(CALLS[call](pair)) == (403, "host_token_wrong"), call


@pytest.mark.parametrize("request_id", [".", "..", "...", ":", "-", "a.b_c:d-e"])
def test_location_leads_to_the_response(pair: Pair, request_id: str) -> None:
    location = pair.post(request_id=request_id).headers["location"]
    assert pair.parley.http.get(location).json() == {"id": request_id, "status": "pending"}
    if request_id.strip("."):
        assert pair.read(quote(request_id, safe="")).status_code == 202


@pytest.mark.parametrize("end", ["ended", "expired"])
def test_session_ends_while_guest_and_host_wait(pair: Pair, end: str) -> None:
    pair.post(request_id="q")
    cursor = pair.unanswered().json()["cursor"]
    found: dict[str, httpx.Response] = {}

    def wait(who: str, path: str) -> None:
        found[who] = pair.parley.http.get(f"{pair.url}{path}", headers=pair.host)

    if end == "expired":
        pair.parley.store.db.pexpire(f"{pair.parley.store.prefix}session:{pair.code}", 1500)
    waiting = [
        threading.Thread(target=wait, args=["guest", "/responses/q?wait=50"]),
        threading.Thread(target=wait, args=["host", f"/requests?after={cursor}&wait=50"]),
    ]
    for thread in waiting:
        thread.start()
    if end == "ended":
        wait_until(lambda: set(pair.listeners()) == {"guest", "host"})
        pair.parley.http.delete(pair.url, headers=pair.host)
    for thread in waiting:
        thread.join()
    expected = {"ended": (410, "session_ended"), "expired": (404, "session_not_found")}[end]
    assert {who: refusal(answer) for who, answer in found.items()} == {"guest": expected, "host": expected}


def test_ended_session_takes_nothing(pair: Pair) -> None:
    pair.post(request_id="q")
    pair.parley.http.delete(pair.url, headers=pair.host)
    for answer in (pair.post(request_id="q"), pair.read("q"), pair.unanswered(), pair.answer("q")):
        assert refusal(answer) == (410, "session_ended")
    assert pair.parley.store.names(f"re[qs]:{pair.code}") == []


def test_unknown(pair: Pair) -> None:
    assert refusal(pair.read("q")) == (404, "request_not_found")
    assert refusal(pair.answer("q")) == (404, "request_not_found")
    pair.parley.store.clear()
    for answer in (pair.post(), pair.read("q"), pair.unanswered(), pair.answer("q"), pair.read("q", "?wait=9")):
        assert refusal(answer) == (404, "session_not_found")


def test_host_calls_need_the_token(pair: Pair) -> None:
    http = pair.parley.http
    pair.parley.store.faults.heal()
    wrong = {"Authorization": "Bearer " + "0" * 64}
    assert refusal(http.get(f"{pair.url}/requests")) == (401, "host_token_required")
    assert refusal(http.get(f"{pair.url}/requests?token={pair.session['token']}")) == (401, "host_token_required")
    assert refusal(http.get(f"{pair.url}/requests", headers=wrong)) == (403, "host_token_wrong")
    assert refusal(http.post(f"{pair.url}/responses", json={"id": "q", "result": 1})) == (401, "host_token_required")
    answer = http.post(f"{pair.url}/responses", json={"id": "q", "result": 1}, headers=wrong)
    assert refusal(answer) == (403, "host_token_wrong")
    assert pair.parley.store.faults.calls == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{}", "invalid_request"),
        ('{"payload":1,"payload":2}', "invalid_request"),
        ('{"payload":1,"extra":2}', "invalid_request"),
        ('{"payload":1,"id":null}', "invalid_request"),
        ('{"payload":1,"id":1}', "invalid_request"),
        (f'{{"payload":1,"id":{"9" * 5000}}}', "invalid_request"),
        ('{"payload":1,"id":""}', "invalid_request"),
        ('{"payload":1,"id":"~bytes"}', "invalid_request"),
        ('{"payload":1,"id":"a b"}', "invalid_request"),
        ('{"payload":1,"id":"é"}', "invalid_request"),
        ('{"payload":1,"id":"a\\n"}', "invalid_request"),
        ('{"payload":1,"id":"\\ud800"}', "invalid_request"),
        (f'{{"payload":1,"id":"{"a" * 65}"}}', "invalid_request"),
        ("[]", "invalid_request"),
        ("", "invalid_request"),
        ('{"payload":NaN}', "invalid_json"),
        ('{"payload":}', "invalid_json"),
        ('{"payload":"\x01"}', "invalid_json"),
    ],
)
def test_bad_requests(pair: Pair, body: str, code: str) -> None:
    pair.parley.store.faults.heal()
    url = f"{pair.url}/requests"
    assert refusal(pair.parley.http.post(url, content=body.encode(), headers=SENT_AS_JSON)) == (400, code)
    assert pair.parley.store.faults.calls == 0


@pytest.mark.parametrize(
    "body",
    [
        '{"id":"q"}',
        '{"id":"q","result":1,"error":2}',
        '{"result":1}',
        '{"id":"q","payload":1}',
        '{"id":"q q","result":1}',
    ],
)
def test_bad_answers(pair: Pair, body: str) -> None:
    answer = pair.parley.http.post(f"{pair.url}/responses", content=body, headers=SENT_AS_JSON | pair.host)
    assert refusal(answer) == (400, "invalid_request")


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1-1", "9999999999999999-0", "(1-1", "1-1 "])
def test_bad_cursor(pair: Pair, cursor: str) -> None:
    assert refusal(pair.unanswered(f"?after={cursor}")) == (400, "invalid_request")


def test_methods(pair: Pair) -> None:
    for path, allow in (
        ("/requests", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("/responses", {"POST", "OPTIONS"}),
        ("/responses/q", {"GET", "HEAD", "OPTIONS"}),
        ("/stream", {"GET", "HEAD", "OPTIONS"}),
    ):
        answer = pair.parley.http.put(pair.url + path)
        assert refusal(answer) == (405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == allow
        assert pair.parley.http.options(pair.url + path).status_code == 204


def test_too_many_pending(pair: Pair) -> None:
    """Half of the places are for one network, and what is refused now may be accepted in a moment."""
    for number in range(50):
        assert pair.post(request_id=f"q{number}").status_code == 202
    answer = pair.post(request_id="more")
    assert refusal(answer) == (429, "too_many_pending")
    assert int(answer.headers["retry-after"]) > 0
    assert pair.post(request_id="q49").status_code == 202, "it is the same request"
    with pair.parley.caller("127.0.0.2") as neighbour:
        for number in range(50):
            body = {"id": f"n{number}", "payload": number}
            assert neighbour.post(f"{pair.url}/requests", json=body).status_code == 202
        assert refusal(neighbour.post(f"{pair.url}/requests", json={"payload": 1})) == (429, "too_many_pending")
    pair.answer("q0")
    assert pair.post(request_id="more").status_code == 202


def test_rate_of_requests(pair: Pair) -> None:
    for number in range(60):
        assert pair.post(request_id=f"q{number}").status_code == 202
        assert pair.withdraw(f"q{number}").status_code == 204
    answer = pair.post()
    assert refusal(answer) == (429, "rate_limited")
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert Pair(pair.parley).post().status_code == 202


def test_unknown_codes_count(limited: Parley) -> None:
    pair = Pair(limited)
    http = limited.http
    for number in range(15):
        http.post(f"/api/sessions/0000{number:04}/requests", json={"payload": 1})
        http.get(f"/api/sessions/0000{number:04}/responses/q")
    assert refusal(http.post("/api/sessions/00009999/requests", json={"payload": 1})) == (429, "rate_limited")
    assert refusal(pair.post()) == (429, "rate_limited")
    assert pair.unanswered().status_code == 200


def test_what_a_network_may_go_on_with(limited: Parley) -> None:
    """Its neighbour's guesses from the same network stop it nowhere where it has begun."""
    pair = Pair(limited)
    pair.post("1", "q")
    for number in range(31):
        pair.parley.http.get(f"/api/sessions/0000{number:04}")
    assert pair.post("1", "q").status_code == 202
    assert pair.read("q").status_code == 202
    assert pair.post("2", "r").status_code == 202
    assert pair.read("r", "?wait=1").status_code == 202
    stranger = Pair(pair.parley)
    assert refusal(stranger.read("q")) == (429, "rate_limited")


def test_bytes_of_a_network(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count over all its sessions, requests, answers and tools alike; what is known already can be sent again."""
    monkeypatch.setenv("RATE_LIMIT_BYTES", "2240")
    one, other = Pair(api), Pair(api)
    text = '"' + "x" * 398 + '"'  # 800 bytes, with what Redis needs beside it
    assert one.post(text, "a").status_code == 202
    assert other.post(text, "b").status_code == 202
    answer = other.post(text, "c")
    assert refusal(answer) == (429, "rate_limited")
    assert 0 < int(answer.headers["retry-after"]) <= 600
    assert one.post(text, "a").status_code == 202
    assert other.answer("b", '"' + "y" * 198 + '"').status_code == 201
    assert refusal(one.answer("a", "1")) == (429, "rate_limited")
    assert other.answer("b", '"' + "y" * 198 + '"').status_code == 200
    assert refusal(Pair(api).offer('[{"name":"a"}]')) == (429, "rate_limited")
    assert refusal(api.http.patch(one.url, headers=one.host)) == (429, "rate_limited"), (
        "a renewal sends the tools again"
    )
    assert api.http.delete(one.url, headers=one.host).status_code == 204


def test_bytes_that_a_network_reads(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests, answers and tools count. Once the budget is used up all reading is refused, and posting is not."""
    monkeypatch.setenv("RATE_LIMIT_READ_BYTES", "1000")
    pair = Pair(api)
    pair.post('"' + "x" * 398 + '"', "q")
    assert pair.unanswered().status_code == 200
    pair.answer("q", '"' + "y" * 398 + '"')
    assert pair.read("q").status_code == 200
    pair.post('"' + "x" * 398 + '"', "r")
    answer = pair.unanswered()
    assert refusal(answer) == (429, "rate_limited")
    assert 0 < int(answer.headers["retry-after"]) <= 600
    assert refusal(pair.tools()) == (429, "rate_limited")
    assert pair.post("1", "s").status_code == 202


@pytest.mark.long
def test_refusals_cost_the_store_little(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand calls that are certain to be refused, of each kind."""
    monkeypatch.setenv("RATE_LIMIT_BYTES", "4000")
    monkeypatch.setenv("RATE_LIMIT_READ_BYTES", "100")
    monkeypatch.setenv("RATE_LIMIT_REQUESTS", "5")
    pair = Pair(api)
    pair.post('"' + "x" * 200 + '"', "q")
    gone = Pair(api)
    api.store.db.delete(f"{api.store.prefix}session:{gone.code}")
    codes = iter(f"{number:08}" for number in range(10_000_000, 10_100_000))
    calls: list[Callable[[], httpx.Response]] = [
        pair.unanswered,
        lambda: pair.post('"' + "x" * 9000 + '"'),
        lambda: pair.post("1", f"q{next(codes)}"),
        lambda: api.http.get(f"/api/sessions/{next(codes)}"),
        lambda: api.http.get(f"{gone.url}", headers=gone.host),
        lambda: api.http.post("/api/sessions"),
    ]
    for call in calls:
        for _ in range(40):
            answer = call()
        assert answer.status_code == 429, answer.text
        api.store.faults.heal()
        for _ in range(200):
            answer = call()
            assert refusal(answer) == (429, "rate_limited")
            assert int(answer.headers["retry-after"]) > 0
        assert api.store.faults.calls <= 4, "20 for a thousand"


def test_session_full(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSION_BYTES", "10000")
    pair = Pair(api)
    big = '"' + "x" * 1998 + '"'
    for number in range(4):
        assert pair.post(big, f"q{number}").status_code == 202
    assert refusal(pair.post("1", "more")) == (413, "session_full")
    assert pair.answer("q0").status_code == 201
    assert pair.post("1", "more").status_code == 202


def test_pages_of_requests(pair: Pair) -> None:
    """A read, and a stream that opens, bring page after page; a request that is larger than a page comes alone."""
    sizes = {"a": 200_000, "b": 100_000, "c": 10, "d": 600_000, "e": 10}
    for name, size in sizes.items():
        assert pair.post('"' + "x" * size + '"', name).status_code == 202
    pages, cursor = [], "0-0"
    while page := pair.unanswered(f"?after={cursor}").json():
        if not page["requests"]:
            break
        pages.append([request["id"] for request in page["requests"]])
        cursor = page["cursor"]
    assert pages == [["a"], ["b", "c"], ["d"], ["e"]]
    with pair.parley.http.stream("GET", f"{pair.url}/stream", headers=pair.host) as stream:
        events = islice(events_of(stream.iter_bytes()), 6)
        assert [event.data.get("id") for event in events] == [None, *sizes]


def test_answer_to_another_request_with_the_id(pair: Pair) -> None:
    """An answer that names its request's cursor does not reach the next request with its id."""
    pair.post("1", "q")
    old = pair.unanswered().json()["cursor"]
    pair.withdraw("q")
    pair.post("2", "q")
    new = pair.unanswered().json()["cursor"]
    body = {"id": "q", "result": 1}
    late = pair.parley.http.post(f"{pair.url}/responses", json=body | {"cursor": old}, headers=pair.host)
    assert refusal(late) == (404, "request_not_found")
    assert pair.read("q").status_code == 202
    for wrong in (1, "x", "1", None):
        answer = pair.parley.http.post(f"{pair.url}/responses", json=body | {"cursor": wrong}, headers=pair.host)
        assert refusal(answer) == (400, "invalid_request")
    assert (
        pair.parley.http.post(f"{pair.url}/responses", json=body | {"cursor": new}, headers=pair.host).status_code
        == 201
    )
    assert pair.read("q").json()["result"] == 1


PAYLOADS = [
    "[" * 100 + "]" * 100,
    "1" * 4000,
    "9" * 5000,
    "1e400",
    "1.10",
    "-0.0",
    "-0",
    "1E+2",
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"𝄞 \\ud834\\udd1e"',
    '"\\u2028\u2028\x7f"',
    '{"b":1,"a":2,"b":3,"":{}}',
    '"</script><!--"',
    '"\\/ \\n data: x"',
    "null",
    "[]",
    '{"~bytes":"answered 1 2 result 3"}',
    '"' + "x" * (LIMIT - 2) + '"',
    '"' + "ä" * ((LIMIT - 2) // 2) + '"',
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_passed_on_unchanged(pair: Pair, payload: str) -> None:
    assert pair.post(payload, "q").status_code == 202
    assert f'"payload":{payload},"createdAt"' in pair.unanswered().text
    for kind in ("result", "error"):
        pair.post("1", kind)
        assert pair.answer(kind, payload, kind).status_code == 201
        assert f'"{kind}":{payload},"answeredAt"' in pair.read(kind).text


@pytest.mark.parametrize(
    "payload", ['"' + "x" * (LIMIT - 1) + '"', '"' + "ä" * (LIMIT // 2) + '"', " " * (LIMIT + 20_000) + "1"]
)
def test_too_large(pair: Pair, payload: str) -> None:
    assert refusal(pair.post(payload, "q")) == (413, "payload_too_large")
    pair.post("1", "p")
    answer = pair.answer("p", payload)
    assert refusal(answer) == (413, "payload_too_large")
    assert f" {LIMIT} bytes" in answer.json()["detail"]


def test_any_json(pair: Pair) -> None:
    """Any value arrives as it was written."""
    numbers = iter(range(10_000))

    @given(JSON, st.sampled_from([None, 2]), st.booleans())
    def check(value: Any, indent: int | None, ascii_only: bool) -> None:
        pair.parley.store.db.delete(f"{pair.parley.store.prefix}rate:requests:{pair.code}:127.0.0.1")
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
        request_id = f"q{next(numbers)}"
        try:
            text.encode()
        except UnicodeEncodeError:
            return
        assert pair.post(text, request_id).status_code == 202
        assert pair.answer(request_id, text).status_code == 201
        found = jsontext.members(pair.read(request_id).content)
        assert found["result"] == text.encode()

    check()
