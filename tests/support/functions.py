"""A function of `api/` in this very process, so that a test can change its constants."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

import pytest

from api import mcp
from lib import kv, listener, toolcall
from lib.endpoint import Endpoint
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
    monkeypatch.setattr(toolcall, "TICK_SECONDS", tick)
    monkeypatch.setattr(listener, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(listener, "_LINGER_SECONDS", 0.2)
    listener._listeners.clear()
    with serving(mcp.handler) as url:
        yield url
        store.faults.heal()
        ear = listener.current()
        wait_until(lambda: ear._selector is None)
    while kv._connections:
        kv._connections.popitem()[1].client.close()  # type: ignore[no-untyped-call]
