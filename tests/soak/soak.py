"""The soak test: many hosts and guests talk while everything around them fails.

Connections are cut, functions killed and frozen, and the store made slow, wrong or silent. A seed decides what fails
when. Afterwards no request may be lost, delivered after its answer, out of order, or left behind in the store, no
thread or socket may be left behind in a function, and every answer of 500 and above has to be one that the service
gives on purpose.
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any, NamedTuple

import httpx

from dev import PROJECT
from dev.local import environment
from tests.soak import service
from tests.soak.clients import Host, ask
from tests.soak.service import Service

_GUESTS = 2  # for each host


class Exchange(NamedTuple):
    """A request of a guest's, and the result that the guest got."""

    code: str
    id: str
    payload: int
    result: Any


def run(seconds: float, seed: int, hosts_number: int = 6, *, kill: bool = True) -> list[str]:
    """Run the test for so many seconds. Returns what is wrong afterwards, one line each."""
    random = Random(seed)
    print(f"Soak for {seconds:g} s, seed {seed}, {hosts_number} hosts, on {environment.store(PROJECT)}", flush=True)
    with service.running(random) as soaked:
        sessions = [soaked.create() for _ in range(hosts_number)]
        before = soaked.resources()
        # Every other host names itself.
        hosts = [
            Host(soaked.url, session, f"host{number}" if number % 2 else "", soaked.bare)
            for number, session in enumerate(sessions)
        ]
        over = threading.Event()
        with ThreadPoolExecutor(hosts_number * _GUESTS) as threads:
            guests = [
                threads.submit(_guest, soaked, session["code"], f"guest{number}", random.random(), over)
                for session in sessions
                for number in range(_GUESTS)
            ]
            soaked.fail(seconds, kill=kill, stop=lambda: any(guest.done() for guest in guests))
            over.set()
            soaked.thaw()
        wrong = [f"a guest failed: {guest.exception()!r}" for guest in guests if guest.exception()]
        wrong += [f"a host's stream ended, with the reason {host.reason!r}" for host in hosts if host.reason]
        exchanges = [exchange for guest in guests if not guest.exception() for exchange in guest.result()]
        wrong += _wrong_answers(soaked.url, exchanges) + _wrong_order(hosts)
        wrong += [f"{name} never expires" for name in soaked.never_expire()]
        for host in hosts:
            httpx.delete(host.url, headers=host.headers, timeout=30).raise_for_status()
            host.join()
        wrong += soaked.left_behind(before)
        wrong += [f"an answer that nothing explains: {answer}" for answer in soaked.unexplained()]
        wrong += _defects(soaked.lines)
    deliveries = sum(sum(host.seen.values()) for host in hosts)
    print(f"{len(exchanges)} requests, {deliveries} deliveries, {len(soaked.lines)} calls of functions")
    return wrong


def _guest(soaked: Service, code: str, name: str, pace: float, over: threading.Event) -> list[Exchange]:
    """Post one request after the other, each until it is answered, until `over` is set."""
    exchanges: list[Exchange] = []
    with httpx.Client(base_url=soaked.url, timeout=30) as http:
        while not over.wait(pace / 2):
            number = len(exchanges)
            request_id = f"{name}-{number}"
            result = ask(http, code, request_id, number, soaked.bare)
            exchanges.append(Exchange(code, request_id, number, result))
    return exchanges


def _wrong_answers(url: str, exchanges: list[Exchange]) -> list[str]:
    """Return which requests have no answer, or another one than their guest got."""
    wrong = []
    with httpx.Client(base_url=url, timeout=30) as http:
        for code, request_id, payload, result in exchanges:
            answer = http.get(f"/api/sessions/{code}/responses/{request_id}")
            if not (answer.is_success and answer.json().get("result") == result == {"echo": payload}):
                wrong.append(f"{request_id} got {result}, and is answered with {answer.text}")
    return wrong


def _wrong_order(hosts: list[Host]) -> list[str]:
    """Return which hosts got a guest's requests out of order, or a request again after its answer was taken."""
    wrong = []
    for host in hosts:
        wrong += [f"{request_id} came again after its answer was taken" for request_id in host.late]
        for number in range(_GUESTS):
            came = [request_id for request_id in host.order if request_id.startswith(f"guest{number}-")]
            if came != [f"guest{number}-{turn}" for turn in range(len(came))]:
                wrong.append(f"the requests of guest {number} to {host.url} came as {came}")
    return wrong


def _defects(lines: list[str]) -> list[str]:
    """Return what functions printed that is no line of the log, and the lines that report a defect."""
    wrong = []
    for line in lines:
        entry = json.loads(line) if line.startswith("{") else {}
        if not entry or "defect" in entry or entry.get("status") == 500:
            wrong.append(f"a defect: {line[:300]}")
    return wrong
