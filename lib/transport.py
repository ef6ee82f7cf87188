"""HTTP to the store over keep-alive connections, for the vendor's client in place of its own HTTP client.

That one (httpx, httpcore and h11) takes a third of a call's processor time for a small POST to an address that never
changes. This one does no more than that: no proxies, no redirects, no compression, and time limits that a store which
sends byte after byte cannot stretch.
"""

import json
import socket
import ssl
import threading
from collections.abc import Mapping
from functools import cache, lru_cache
from http.client import HTTPException
from urllib.parse import quote, urlsplit

from lib.exchange import Answer, Connection

_CONNECT_SECONDS = 3.0
_MOST_IDLE = 10

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

# What `post` raises if no answer of the store's came. ValueError is an answer that is not JSON.
NO_ANSWER = (OSError, HTTPException, ValueError)


class Transport:
    """The connections to one store. `post` and `close` are what the vendor's client calls. Safe to share."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    def post(self, url: str, headers: Mapping[str, str], json: object) -> Answer:
        """Send a command, and return the answer to it. Raises one of NO_ANSWER.

        A connection that the store has closed meanwhile is replaced at once, if no byte of an answer has come over it:
        scripts may run twice.
        """
        request = _request(url, headers, json)
        while connection := self._reusable():
            try:
                return self._exchange(connection, request)
            except OSError as error:
                if connection.received or isinstance(error, TimeoutError):
                    raise
        return self._exchange(Connection(connect(self._url)), request)

    def close(self) -> None:
        """Close the connections that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, connection: Connection, request: bytes) -> Answer:
        try:
            answer, stays_open = connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        self._close_old()
        if not (stays_open and self._keep(connection)):
            connection.close()
        return answer

    def _close_old(self) -> None:
        """Close what was not needed for some time, so that a burst leaves no descriptors behind."""
        with self._lock:
            old = [idle for idle in self._idle if not idle.is_fresh()]
            self._idle = [idle for idle in self._idle if idle not in old]
        for connection in old:
            connection.close()

    def _keep(self, connection: Connection) -> bool:
        """Keep a connection for the next call, if there is room."""
        with self._lock:
            if len(self._idle) >= _MOST_IDLE:
                return False
            self._idle.append(connection)
            return True

    def _reusable(self) -> Connection | None:
        """Return the connection that was used last, if it can be used again."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.close()


def connect(url: str) -> socket.socket:
    """Return a connection to the host of a URL, secured if it is https.

    Raises OSError, and ValueError if the URL has no host. Connecting, and each later call of the socket, may take three
    seconds.
    """
    place = urlsplit(url)
    if not place.hostname:
        raise ValueError("the URL has no host")
    port = place.port or (443 if place.scheme == "https" else 80)
    connected = socket.create_connection((place.hostname, port), _CONNECT_SECONDS)
    try:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if place.scheme == "https":
            return tls().wrap_socket(connected, server_hostname=place.hostname)
    except BaseException:
        connected.close()
        raise
    return connected


def _request(url: str, headers: Mapping[str, str], command: object) -> bytes:
    """Return a request in one piece, so that it is sent in one."""
    body = _ENCODER.encode(command).encode()
    return b"".join((_head(url, tuple(headers.items())), b"Content-Length: %d\r\n\r\n" % len(body), body))


@lru_cache(maxsize=16)
def _head(url: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return what is the same in all requests to a URL."""
    place = urlsplit(url)
    lines = {
        "Host": place.netloc.rpartition("@")[2],
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        **dict(headers),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {quote(place.path, safe='/%') or '/'} HTTP/1.1\r\n{head}".encode("latin-1")


@cache
def tls() -> ssl.SSLContext:
    """Return how connections to the store are secured: with certificates and host names checked as httpx does."""
    import httpx

    return httpx.create_ssl_context()
