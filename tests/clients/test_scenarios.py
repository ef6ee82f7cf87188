"""public/relay.js and public/relay.py: one table of what happens to a host and a guest, for both.

The programs call through a gate, which makes calls fail; guests of the hosts, and hosts of the guests, call directly.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.clients.gate import Answer, Call, Fate, Gate, problem
from tests.clients.sides import Guested, Hosted, Program, Start, answers, polls, posts, streams, waits
from tests.soak.clients import Host
from tests.support.deployments import Parley, running_site
from tests.support.tools import long, wait_until

HTML = Answer(200, "<html>Log in</html>")
BARE_502, BARE_413 = Answer(502, "Bad gateway"), Answer(413, "Too large")
STORE_FAILS, BUSY = problem(503, "store_unavailable", 1), problem(503, "busy", 1)


# Hosts


def test_answers(hosted: Hosted) -> None:
    assert hosted.ask({"a": [1, None, "ü"]})["result"] == {"echo": {"a": [1, None, "ü"]}}
    error = hosted.ask({"raise": "no way"}, "q2")["error"]
    assert error["message"] == "no way"
    assert error["name"] in ("Error", "ValueError")
    assert hosted.ask({"large": 1_200_000}, "q3")["error"]["code"] == "payload_too_large"


def test_host_names_itself_and_numbers_its_attempts(hosted: Hosted) -> None:
    hosted.gate.cut()
    wait_until(lambda: len([call for call in hosted.gate.calls if streams(call)]) == 2)
    hosted.program.state("connected")
    queries = [call.target.partition("?")[2] for call in hosted.gate.calls if streams(call)]
    name = queries[0].removeprefix("host=").partition("&")[0]
    assert len(name) == 16
    assert queries == [f"host={name}&attempt={number}" for number in (1, 2)]


@pytest.mark.parametrize("moment", ["idle", "at work"])
def test_stream_is_cut(hosted: Hosted, moment: str) -> None:
    """The request that is under way goes on, and none is begun twice."""
    with ThreadPoolExecutor(1) as beside:
        if moment == "at work":
            asked = beside.submit(hosted.ask, {"hold": True}, "held")
            hosted.program.hear("ran")
        hosted.gate.cut()
        hosted.program.state("connected")
        assert hosted.ask(1)["result"] == {"echo": 1}
        if moment == "at work":
            hosted.program.say("release")
            assert asked.result()["result"] == {"echo": {"hold": True}}
    assert hosted.program.ran().count({"hold": True}) == (moment == "at work")


@pytest.mark.parametrize(
    "fate", ["lost", problem(429, "rate_limited", 1), long("cut"), long(BARE_502), long(STORE_FAILS), long(HTML)]
)
def test_answer_that_does_not_arrive(hosted: Hosted, fate: Fate) -> None:
    """It is sent until the relay has it."""
    hosted.gate.once(fate, answers, times=2)
    assert hosted.ask(1)["result"] == {"echo": 1}
    wait_until(lambda: len([call for call in hosted.gate.calls if answers(call)]) == 3)
    assert hosted.program.ran() == [1]


def test_answer_that_is_refused(hosted: Hosted) -> None:
    hosted.gate.once(BARE_413, answers)
    assert hosted.ask(1)["error"]["code"] == "payload_too_large"
    assert hosted.ask(2, "q2")["result"] == {"echo": 2}


@pytest.mark.parametrize("code", ["already_answered", "request_not_found"])
def test_answer_that_is_not_needed(hosted: Hosted, code: str) -> None:
    hosted.gate.once(problem(409 if code == "already_answered" else 404, code), answers)
    hosted.post(1)
    wait_until(lambda: any(map(answers, hosted.gate.calls)))
    assert hosted.ask(2, "q2")["result"] == {"echo": 2}
    assert len([call for call in hosted.gate.calls if answers(call)]) == 2


def test_store_fails_for_a_while(hosted: Hosted) -> None:
    hosted.site.store.faults.fail("html")
    hosted.gate.cut()
    hosted.program.state("disconnected")
    hosted.site.store.faults.heal()
    hosted.program.state("connected")
    assert hosted.ask(1)["result"] == {"echo": 1}


@pytest.mark.parametrize("name", ["stream", "responses"])
def test_process_of_a_function_is_killed(hosted: Hosted, name: str) -> None:
    os.kill(hosted.site.platform.function(name).pid, signal.SIGKILL)
    assert hosted.ask(1)["result"] == {"echo": 1}
    assert hosted.program.ran() == [1]


@pytest.mark.parametrize("fate", ["held", long("cut")])
def test_stream_is_swallowed(site: Parley, gate: Gate, start: Start, fate: str) -> None:
    """A proxy holds streams back, or does not let them through: the host polls."""
    gate.rule = lambda call: fate if streams(call) else ""
    hosted = Hosted(site, gate, start)
    hosted.program.state("polling", 30)
    assert hosted.ask(1)["result"] == {"echo": 1}
    assert hosted.ask(2, "q2")["result"] == {"echo": 2}
    wait_until(lambda: hosted.program.ran() == [1, 2])
    polled = [call.target for call in gate.calls if polls(call)]
    assert "wait=0&" in polled[0]
    assert "wait=25&" in polled[1]
    attempts = [int(call.target.rpartition("attempt=")[2]) for call in gate.calls if "attempt=" in call.target]
    assert attempts == list(range(1, len(attempts) + 1))


def test_relay_is_busy(site: Parley, gate: Gate, start: Start) -> None:
    """Calls that do not wait bring the requests, until there is a place for the stream."""
    gate.rule = lambda call: BUSY if streams(call) or "wait=25" in call.target else ""
    hosted = Hosted(site, gate, start)
    assert hosted.ask(1)["result"] == {"echo": 1}
    gate.rule = lambda _: ""
    hosted.program.state("connected", 40)
    assert hosted.ask(2, "q2")["result"] == {"echo": 2}


def end(hosted: Hosted, gate: Gate) -> None:
    hosted.program.say("end")


def end_elsewhere(hosted: Hosted, gate: Gate) -> None:
    gate.rule = lambda call: problem(410, "session_ended") if streams(call) else ""
    gate.cut()


def expire(hosted: Hosted, gate: Gate) -> None:
    gate.rule = lambda call: problem(404, "session_not_found") if streams(call) else ""
    gate.cut()


def replace(hosted: Hosted, gate: Gate) -> None:
    gate.rule = lambda call: problem(409, "replaced") if streams(call) else ""
    gate.cut()


def refuse(hosted: Hosted, gate: Gate) -> None:
    gate.rule = lambda call: problem(403, "host_token_wrong") if streams(call) else ""
    gate.cut()


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (end, "ended"),
        (end_elsewhere, "ended"),
        (expire, "expired"),
        (replace, "replaced"),
        (refuse, "host_token_wrong"),
    ],
)
def test_session_ends(hosted: Hosted, what: Callable[[Hosted, Gate], None], reason: str) -> None:
    """The host stops, and what is under way is told."""
    hosted.post({"hold": True})
    hosted.program.hear("ran")
    what(hosted, hosted.gate)
    assert hosted.program.hear("ended") == reason
    assert hosted.program.exit() == 0
    wait_until(lambda: {"cancelled": {"hold": True}} in all_told(hosted.program))
    if what is end:
        assert not hosted.site.http.get(f"/api/sessions/{hosted.code}").json()["active"]
        assert not any(answers(call) for call in hosted.gate.calls)


def all_told(program: Program) -> list[dict[str, Any]]:
    program.ran()
    return program.told


def test_another_host_takes_over(hosted: Hosted) -> None:
    """The relay says so in the stream. This host does not fight for the session."""
    token = hosted.gate.tokens[-1]
    other = Host(hosted.site.url, {"code": hosted.code, "token": token}, "other")
    assert hosted.program.hear("ended") == "replaced"
    assert hosted.program.exit() == 0
    assert hosted.ask(1)["result"] == {"echo": 1}
    assert other.seen == {"q1": 1}
    hosted.site.http.delete(f"/api/sessions/{hosted.code}", headers={"Authorization": f"Bearer {token}"})
    other.join()


@pytest.fixture(scope="module")
def short_site() -> Iterator[Parley]:
    """Give a deployment whose sessions live for 5 s, and for 12 s if they are renewed."""
    with running_site(SESSION_TTL_SECONDS="5", SESSION_MAX_SECONDS="12") as running:
        yield running


@pytest.mark.long
def test_renews_until_the_session_expires(short_site: Parley, start: Start) -> None:
    with Gate(short_site.url) as gate:
        hosted = Hosted(short_site, gate, start)
        hosted.program.state("connected")
        time.sleep(6)
        assert hosted.ask(1)["result"] == {"echo": 1}
        assert hosted.program.hear("ended") == "expired"
        assert hosted.program.exit() == 0
        renewals = len([call for call in gate.calls if call.method == "PATCH"])
        assert 3 <= renewals <= 6


@pytest.mark.parametrize("again", [False, True])
def test_guest_withdraws(hosted: Hosted, again: bool) -> None:
    """What runs is told; afterwards the id is free."""
    hosted.post({"hold": True})
    hosted.program.hear("ran")
    hosted.withdraw()
    hosted.program.hear("cancelled")
    if again:
        assert hosted.ask(1)["result"] == {"echo": 1}
    assert len([call for call in hosted.gate.calls if answers(call)]) == again


def test_answer_to_a_request_that_was_withdrawn(site: Parley, gate: Gate, start: Start) -> None:
    """It does not reach the next request with its id. A host without a stream learns of neither before it answers."""
    gate.rule = lambda call: "cut" if streams(call) else ""
    hosted = Hosted(site, gate, start)
    hosted.post({"hold": True})
    hosted.program.hear("ran", {"hold": True})
    gate.rule = lambda call: "cut" if streams(call) else BUSY if polls(call) else ""
    gate.cut()
    hosted.withdraw()
    hosted.post("new")
    hosted.program.say("release")
    wait_until(lambda: any(answers(call) for call in gate.calls))
    gate.rule = lambda _: ""
    assert hosted.ask("new")["result"] == {"echo": "new"}
    assert hosted.program.ran() == [{"hold": True}, "new"]


# Guests


def test_result(guested: Guested) -> None:
    assert guested.ask({"a": [1, None, "ü"]}) == {"result": {"echo": {"a": [1, None, "ü"]}}}
    guested.code = f"{guested.code[:4]}-{guested.code[4:]}".lower()
    for request_id in ("a:b.c_d-e", ".", ".."):
        assert guested.ask(request_id, id=request_id) == {"result": {"echo": request_id}}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('{"message":"no","code":7}', "no"),
        ('"just a text"', "just a text"),
        ("[1]", "The host answered with an error."),
        ("null", "The host answered with an error."),
    ],
)
def test_error_of_the_host(alone: Guested, answer: str, message: str) -> None:
    alone.asks(1, id="q1")
    url = f"/api/sessions/{alone.code}"
    wait_until(lambda: alone.site.http.get(f"{url}/requests", headers=alone.session["host"]).json()["requests"] != [])
    headers = alone.session["host"] | {"Content-Type": "application/json"}
    alone.site.http.post(f"{url}/responses", content=f'{{"id":"q1","error":{answer}}}', headers=headers)
    told = alone.program.hear()
    assert told["code"] is None
    assert told["message"] == message
    alone.end()


@pytest.mark.parametrize("fate", ["lost", long(BUSY), long("cut"), long(BARE_502), long(HTML), long(STORE_FAILS)])
@pytest.mark.parametrize("step", [posts, waits])
def test_call_of_a_guest_fails(guested: Guested, step: Callable[[Call], bool], fate: Fate) -> None:
    """It is made again, more than once, and the host sees one request."""
    fates = [fate, fate]

    def rule(call: Call) -> Fate:
        if step is waits and posts(call) and "wait=25" in call.target:
            return BUSY  # so that it posts without waiting, and then waits
        return fates.pop() if step(call) and fates else ""

    guested.gate.rule = rule
    assert guested.ask(1) == {"result": {"echo": 1}}
    assert fates == []


def test_store_fails_for_a_guest(guested: Guested) -> None:
    guested.site.store.faults.fail("html", times=4)
    assert guested.ask(1) == {"result": {"echo": 1}}


def test_process_is_killed_under_a_guest(alone: Guested) -> None:
    alone.asks(1)
    wait_until(lambda: alone.site.store.names(f"req:{alone.code}") != [])
    os.kill(alone.site.platform.function("requests").pid, signal.SIGKILL)
    echoing = Host(alone.site.url, alone.session)
    assert alone.program.hear() == {"result": {"echo": 1}}
    alone.end()
    echoing.join()


LIMITED = problem(429, "rate_limited", 1)


def test_guest_is_limited(guested: Guested) -> None:
    """Before its request is accepted it is told; later it waits, and goes on."""
    guested.gate.once(LIMITED, posts)
    told = guested.ask(1)
    assert (told["code"], told["status"], told["retryAfter"]) == ("rate_limited", 429, 1)
    fates: list[Fate] = [LIMITED, LIMITED, BARE_502]
    guested.gate.rule = lambda call: fates.pop() if posts(call) and fates else ""
    assert guested.ask(2) == {"result": {"echo": 2}}
    assert fates == []


@pytest.mark.parametrize(("ended", "code", "status"), [(True, "session_ended", 410), (False, "session_not_found", 404)])
def test_no_session(alone: Guested, ended: bool, code: str, status: int) -> None:
    alone.end()
    alone.code = alone.code if ended else "ABC12345"
    told = alone.ask(1)
    assert (told["code"], told["status"]) == (code, status)
    assert told["message"].endswith(".")


def test_session_ends_under_a_guest(alone: Guested) -> None:
    alone.asks(1)
    wait_until(lambda: alone.site.store.names(f"req:{alone.code}") != [])
    alone.end()
    assert alone.program.hear()["code"] == "session_ended"


def test_refusals(alone: Guested) -> None:
    assert alone.ask("x" * 1_200_000)["code"] == "payload_too_large"
    assert alone.ask("x" * 4_500_000)["code"] == "payload_too_large"
    alone.gate.once(BARE_413, posts)
    assert alone.ask(1)["code"] == "payload_too_large"
    assert len([call for call in alone.gate.calls if posts(call)]) == 2, "what the platform would refuse stays here"
    alone.site.http.post(f"/api/sessions/{alone.code}/requests", json={"id": "q1", "payload": 1}).raise_for_status()
    assert alone.ask(2, id="q1")["code"] == "id_conflict"
    alone.end()


def test_guest_gives_up(alone: Guested) -> None:
    """It withdraws its request."""
    assert alone.ask(1, seconds=0.5)["code"] == "timeout"
    wait_until(lambda: [call.method for call in alone.gate.calls] == ["POST", "DELETE"])
    unanswered = f"/api/sessions/{alone.code}/requests"
    wait_until(lambda: alone.site.http.get(unanswered, headers=alone.session["host"]).json()["requests"] == [])
    alone.end()


def test_what_is_not_the_relay(alone: Guested) -> None:
    """A captive portal, or the platform's own page before a protected deployment."""
    alone.gate.rule = lambda _: HTML
    assert alone.ask(1, seconds=2)["code"] == "timeout"
    assert len([call for call in alone.gate.calls if posts(call)]) >= 2
    alone.end()
