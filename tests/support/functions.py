"""A function of `api/` in this very process, so that a test can change its constants."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from lib.endpoint import Endpoint


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
