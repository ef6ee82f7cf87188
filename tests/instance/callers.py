"""Callers that read from a function at the same time, in a process of their own."""

import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection


def call_at_once(port: int, path: str, callers: int, calls: int) -> float:
    """Let callers in threads make so many calls each, with an address each. Returns the seconds that it took.

    Raises ValueError if a call fails.
    """
    failed: list[int] = []

    def call(number: int) -> None:
        for _ in range(calls):
            connection = HTTPConnection("127.0.0.1", port)
            connection.request("GET", path, headers={"x-real-ip": f"192.0.2.{number}"})
            answer = connection.getresponse()
            answer.read()
            connection.close()
            if answer.status != 200:
                failed.append(answer.status)

    started = time.perf_counter()
    _in_threads(call, callers)
    if failed:
        raise ValueError(f"{len(failed)} calls failed, the first with {failed[0]}")
    return time.perf_counter() - started


def _in_threads(run: Callable[[int], None], number: int) -> None:
    threads = [threading.Thread(target=run, args=[place]) for place in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
