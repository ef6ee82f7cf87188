"""A function of `api/` in this very process, so that a test can change its constants."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

import pytest

from api import mcp
from lib import kv
from lib.mcp import tool_call
from lib.wait import dispatcher
from lib.web.endpoint import Endpoint
from tests.support.stores import Store
from tests.support.tools import wait_until


@contextmanager
def serving(handler: type[Endpoint]) -> Iterator[str]:
    """Serve a function's handler, and give the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def quick_mcp(store: Store, monkeypatch: pytest.MonkeyPatch, tick: float) -> Iterator[str]:
    """Serve MCP on a store, with so many seconds in place of five, and give the address.

    What waits has ended when the block has.
    """
    for name, value in store.variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tool_call, "TICK_SECONDS", tick)
    monkeypatch.setattr(dispatcher, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(dispatcher, "_LINGER_SECONDS", 0.2)
    dispatcher._dispatchers.clear()
    with serving(mcp.handler) as url:
        yield url
        store.faults.heal()
        ear = dispatcher.current()
        wait_until(lambda: ear._selector is None)
    while kv._connections:
        kv._connections.popitem()[1].client.close()  # type: ignore[no-untyped-call]
