"""The functions of `api/` in this very process, so that a test can change their constants."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from importlib import import_module
from socketserver import BaseServer
from typing import Any

import httpx
import pytest

from dev.local.project import Project
from lib import kv, log
from lib.mcp import tool_call, tool_reply
from lib.session import budgets
from lib.store import health
from lib.wait import dispatcher
from lib.web import sse
from lib.web.endpoint import Endpoint
from tests.support.deployments import Api
from tests.support.stores import Store
from tests.support.tools import PATIENCE_SECONDS, PROJECT, wait_until

_LONGEST_LINE = 64 * 1024
_project = Project(PROJECT)
_handlers: dict[str, type[Endpoint]] = {name: import_module(f"api.{name}").handler for name in _project.functions}


class _Server(ThreadingHTTPServer):
    """A server that is closed when all its calls have ended: one that still ran would print into the next test."""

    daemon_threads = False


@contextmanager
def serving(handler: Callable[[Any, Any, BaseServer], Endpoint]) -> Iterator[str]:
    """Serve a function's handler, and give the address."""
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def library_uses(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `lib/` use a store in this process, while the block runs."""
    for name, value in store.variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(budgets, "_refusals", {})
    yield
    # A check that still ran would keep its connection, which nobody would close then.
    for thread in threading.enumerate():
        if thread.name == "dispatcher check":
            thread.join(PATIENCE_SECONDS)
    while kv._connections:
        kv._connections.popitem()[1].client.close()  # type: ignore[no-untyped-call]


@contextmanager
def in_this_process(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """Serve all functions on a store as one instance that has just started. Its calls have ended when the block has.

    It makes no checks: what a notification has to tell a waiting call, nothing else tells it.
    """
    lines: list[str] = []
    monkeypatch.setattr(log, "print", lambda text, **_: lines.append(text.rstrip("\n")), raising=False)
    monkeypatch.setattr(health, "_found", {})
    monkeypatch.setattr(dispatcher, "_dispatchers", {})
    monkeypatch.setattr(dispatcher, "_CHECK_SECONDS", 10 * PATIENCE_SECONDS)
    # A machine that does other work may pause for longer than five seconds.
    monkeypatch.setattr(dispatcher, "_FROZEN_SECONDS", 10 * PATIENCE_SECONDS)
    monkeypatch.setattr(dispatcher, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(dispatcher, "_LINGER_SECONDS", 0.2)
    with (
        library_uses(store, monkeypatch),
        serving(_function) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as http,
    ):
        yield Api(http, store, url, lines)
        store.faults.heal()
        ear = dispatcher.current()
        wait_until(lambda: ear._selector is None)


@contextmanager
def quick_mcp(store: Store, monkeypatch: pytest.MonkeyPatch, tick: float) -> Iterator[str]:
    """Serve all functions on a store, with so many seconds in place of the five of MCP, and give the address."""
    monkeypatch.setattr(tool_call, "TICK_SECONDS", tick)
    for module, name, ticks in (
        (tool_call, "_HOST_RETURNS_SECONDS", 2),
        (tool_reply, "BEAT_SECONDS", 2),
        (sse, "KEEP_ALIVE_SECONDS", 3),
    ):
        monkeypatch.setattr(module, name, ticks * tick)
    with in_this_process(store, monkeypatch) as api:
        yield api.url


def _function(connection: socket.socket, address: Any, server: BaseServer) -> Endpoint:
    """Answer a request with the function to which the project's routes lead."""
    target = connection.recv(_LONGEST_LINE, socket.MSG_PEEK).split(b" ")[1].decode("latin-1")
    route = _project.route(target)
    assert route, target
    return _handlers[route.function](connection, address, server)
