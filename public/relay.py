# /// script
# requires-python = ">=3.10"
# dependencies = []
# ///
"""The client of Parley for Python 3.10 and newer, one file that needs nothing else.

    from relay import guest, host

    with host([add, weather], relay="https://…") as session:  # offers two functions as tools
        print(session.code, session.mcp_url)
        session.wait()

    guest("ABC1-2345", relay="https://…").call_tool("add", {"a": 1, "b": 2})

In asyncio: `async with host(…) as session: await session.await_end()`, `await guest(…).acall_tool(…)`. As a command:
`python relay.py --help`. The logger `relay` tells what comes and goes, at the level INFO.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import dataclasses
import functools
import http.client
import importlib
import inspect
import json
import logging
import os
import random
import re
import signal
import ssl
import sys
import threading
import time
import types
import typing
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast
from urllib.parse import quote, urlsplit

__all__ = ["Guest", "RelayError", "Session", "Tool", "cancelled", "guest", "host"]

_STREAM_OPEN_SECONDS = 8  # nothing comes for so long if a proxy buffers the stream
_STREAM_IDLE_SECONDS = 40  # more than two of the relay's keep-alive comments, which it sends every 15 s
_SHORT_STREAM_SECONDS = 5  # a stream that breaks sooner counts as a failure, so that there is a backoff
_CALL_SECONDS = 20  # in addition to the time that the call asks the relay to wait
_LAST_SECONDS = 5  # for a call that ends a session or withdraws a request
_CANCEL_SECONDS = 2  # how long the end of a session waits for functions that it has told
_POLL_SECONDS = 25
_POLLING_SECONDS = 300  # how long to poll before the stream is tried again
_MIN_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.5, 15.0
_RENEWAL_CHECK_SECONDS = 20  # timers stand still while the machine sleeps, so the clock is read this often
_RETRY_SECONDS = 30  # how long a guest tries again without a single success
_MAX_BODY_BYTES = 4_000_000  # the platform refuses 4.5 MB
# The codes of problems that end the host's session, with its `reason`.
_END_REASONS = {code: code for code in ("replaced", "host_token_required", "host_token_wrong")}
_END_REASONS |= {"session_not_found": "expired", "session_ended": "ended"}
# The codes of a refused answer that mean that the request needs no other. The latter: the guest has withdrawn it.
_REQUEST_CLOSED = ("already_answered", "request_not_found")
_NETWORK = ("unreachable", "unexpected_answer")  # the codes of errors that are no refusals of the relay's

_log = logging.getLogger("relay")
_Function = Callable[..., Any]
_P = ParamSpec("_P")
_T = TypeVar("_T")


class RelayError(Exception):
    """What a call to the relay, or a request, fails with.

    `code` is that of the relay's problem document (`session_not_found`, …), `timeout`, `unreachable`,
    `unexpected_answer` or `client_error`; None if the host has answered with an error, which is `error`. `status` is
    the HTTP status, if there was an answer, `retry_after` the seconds to wait before trying again. `final` tells
    whether the same call would fail again. A host may raise one with an `error`, which its guest gets as it is.
    """

    def __init__(
        self, message: str = "", code: str | None = None, status: int = 0, retry_after: int = 0, error: Any = None
    ) -> None:
        super().__init__(message)
        self.code, self.status, self.retry_after, self.error = code, status or None, retry_after or None, error
        self.final = code not in _NETWORK and status < 500 and status != 429


# JSON


def _json(value: Any) -> str:
    """Write a value as JSON. Raises TypeError, ValueError or RecursionError for what is none."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    return json.dumps(json.loads(text)) if re.search("[\ud800-\udfff]", text) else text


def _plain(value: Any) -> Any:
    """Return what JSON has in place of an object. Raises TypeError."""
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset, Enum)):
        return value.value if isinstance(value, Enum) else list(value)
    if type(value).__module__.partition(".")[0] in ("datetime", "decimal", "pathlib", "uuid"):
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _parsed(text: str, *names: str) -> dict[str, Any]:
    """Parse what the relay has sent: an object that has members of these names. Raises RelayError."""
    found = None
    try:
        found = json.loads(text)
    except (RecursionError, ValueError) as error:
        if not isinstance(error, json.JSONDecodeError):
            raise RelayError(f"The message cannot be read: {error}", "client_error") from error
    if isinstance(found, dict) and found.keys() >= set(names):
        return found
    raise RelayError("What answered is not the relay.", "unexpected_answer")


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


# Tools, and the types of their parameters

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_NAMES |= {list: "array", dict: "object"}
_REQUIRED = inspect.Parameter.empty  # stands for no default
_Members = Mapping[str, tuple[Any, Any]]  # type and default of each


class _Misfit(Exception):
    """Arguments do not fit; the text says which, and why."""


def _schema(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type. Raises TypeError for one that has none."""
    cls, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hint in (Any, object):
        return {}
    if cls in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(part) for part in parts]}
    if options := _options(cls, parts):
        return {"enum": [json.loads(option) for option in options]}
    if members := _members(cls):
        return _object(members, cls.__dict__.get("__doc__"))
    if cls not in _NAMES or (cls is dict and parts[:1] not in ((), (str,))):
        raise TypeError(f"for {hint!r} there is no JSON Schema")
    inner = {list: "items", dict: "additionalProperties"}.get(cls)
    return {"type": _NAMES[cls]} | ({inner: _schema((*parts, Any)[parts[1:] != ()])} if inner else {})


def _read(hint: Any, value: Any, where: str, misfits: list[str]) -> Any:
    """Return the value of a type that a JSON value stands for. Adds to `misfits` what does not fit, and why."""
    cls, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if cls in (typing.Union, types.UnionType):
        whys: list[list[str]] = []
        for part in parts:
            whys.append([])
            found = _read(part, value, where, whys[-1])
            if not whys[-1]:
                return found
        misfits.append(", or ".join(map("; ".join, whys)))
    elif options := _options(cls, parts):
        if (text := _json(value)) in options:
            return options[text]
        misfits.append(f"{where} must be one of {', '.join(options)}, not {_excerpt(value)}")
    elif members := _members(cls):
        found = _read_members(members, value, where, misfits)
        return None if misfits else cls(**found)
    elif hint in (Any, object):
        return value
    elif not _is_a(cls, value):
        misfits.append(f"{where} must be of the type {_NAMES[cls]}, not {_excerpt(value)}")
    elif cls is list:
        return [_read((*parts, Any)[0], part, f"{where}[{place}]", misfits) for place, part in enumerate(value)]
    elif cls is dict:
        return {name: _read((*parts, Any, Any)[1], part, f"{where}.{name}", misfits) for name, part in value.items()}
    else:
        return cls(value) if cls in (int, float) else value
    return None


def _read_members(members: _Members, value: Any, where: str, misfits: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        misfits.append(f"{where or 'this'} must be of the type object, not {_excerpt(value)}")
        return {}
    at, found = f"{where}." if where else "", {}
    misfits += [f"{at}{name} is missing" for name in members if members[name][1] is _REQUIRED and name not in value]
    for name, part in value.items():
        if name in members:
            found[name] = _read(members[name][0], part, f"{at}{name}", misfits)
        else:
            misfits.append(f"{at}{name} is not known, only {', '.join(members) or 'nothing'}")
    return found


def _is_a(cls: Any, value: Any) -> bool:
    kind = type(value)
    return kind is cls or (cls is float and kind is int) or (cls is int and kind is float and value.is_integer())


def _excerpt(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _options(cls: Any, parts: tuple[Any, ...]) -> dict[str, Any]:
    """Return the values of a Literal or Enum under their JSON; none for others."""
    is_enum = isinstance(cls, type) and issubclass(cls, Enum)
    return {_json(option): option for option in (cls if is_enum else parts if cls is Literal else ())}


def _members(cls: Any) -> _Members:
    """Return the members of a dataclass or TypedDict, with ... for a default that is not known; none for others."""
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        hints, fields = typing.get_type_hints(cls), [field for field in dataclasses.fields(cls) if field.init]
        needed = {field.name for field in fields if field.default is field.default_factory}  # both are missing
        return {one.name: (hints[one.name], _REQUIRED if one.name in needed else one.default) for one in fields}
    if not typing.is_typeddict(cls):
        return {}
    needed = {name for name in cls.__required_keys__ if "NotRequired[" not in str(cls.__annotations__[name])}
    return {name: (hint, _REQUIRED if name in needed else ...) for name, hint in typing.get_type_hints(cls).items()}


def _object(members: _Members, doc: str | None) -> dict[str, Any]:
    """Return the schema of an object with these members, which a docstring describes."""
    described, texts = _documented(doc)
    properties = {name: _schema(hint) | texts.get(name, {}) for name, (hint, _) in members.items()}
    for name, (_, default) in members.items():
        with suppress(TypeError, ValueError):  # it is required, not known, or no JSON
            properties[name]["default"] = json.loads(_json(default))
    required = [name for name, (_, default) in members.items() if default is _REQUIRED]
    shape = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return described | shape


_SECTION = re.compile(r"^(?:Args|Arguments|Parameters|Attributes):[ \t]*\n((?:[ \t]+.*(?:\n|$)|\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^([ \t]+)\*{0,2}(\w+)(?:[ \t]*\(.*?\))?:[ \t]*(.*(?:\n\1[ \t]+.*)*)", re.MULTILINE)
_PARAM = re.compile(r"^()[ \t]*:param(?:[ \t]+[^:\n]*?)?[ \t]+\*{0,2}(\w+):[ \t]*(.*(?:\n[ \t]+.*)*)", re.MULTILINE)
_AFTER_FIRST = re.compile(r"\n\s*\n|^[ \t]*:\w.*:|^\w+:[ \t]*$|^\w+\(.*\)$", re.MULTILINE)  # the last: by dataclass()


def _documented(doc: str | None) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return a docstring's first paragraph, and what it says of parameters as Google or Sphinx do, as descriptions."""
    doc = inspect.cleandoc(doc or "")
    entries = [entry for section in _SECTION.findall(doc) for entry in _ENTRY.findall(section)] + _PARAM.findall(doc)
    texts = {name: {"description": " ".join(text.split())} for _, name, text in entries if text.strip()}
    first = " ".join(_AFTER_FIRST.split(doc, maxsplit=1)[0].split())
    return {"description": first} if first else {}, texts


class Tool:
    """A function, plain or `async def`, that a host offers; `definition` is what guests see of it.

    What is left out comes from the function. `annotations` are MCP's hints, such as `{"readOnlyHint": True}`. Raises
    TypeError for what is no function, and for a parameter whose type has no JSON Schema.
    """

    def __init__(self, function: _Function, name: str = "", description: str = "", annotations: Any = None) -> None:
        self.function, self.name = function, name or getattr(function, "__name__", repr(function))
        try:
            hints, given = typing.get_type_hints(function), inspect.signature(function).parameters.values()
            named = [one for one in given if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
            self._members = {one.name: (hints.get(one.name, Any), one.default) for one in named}
            schema = _object(self._members, inspect.getdoc(function))
        except (TypeError, ValueError, NameError, AttributeError, RecursionError) as error:
            raise TypeError(f"{self.name} cannot be a tool: {_told(error)}") from error
        own = schema.pop("description", "")
        told = {"name": self.name, "description": description or own, "annotations": annotations}
        self.definition = {key: text for key, text in told.items() if text} | {"inputSchema": schema}

    def bind(self, arguments: Any) -> Callable[[], Any]:
        """Return the function with its arguments. Raises _Misfit."""
        misfits: list[str] = []
        found = _read_members(self._members, arguments, "", misfits)
        if misfits:
            raise _Misfit("; ".join(misfits))
        return partial(self.function, **found)


# Threads, and calls to the relay


class _Over(threading.Event):
    """Is set when nobody waits for some work any more, and then stops what the work itself waits for."""

    stop: Callable[[], object] | None = None

    def set(self) -> None:
        super().set()
        if self.stop:
            self.stop()


_cancelled: contextvars.ContextVar[_Over] = contextvars.ContextVar("cancelled")


def cancelled() -> _Over:
    """Return the `threading.Event` that is set when nobody waits any more for the call in which this is asked.

    A function that takes long looks at it: `while not cancelled().wait(1): …`. A coroutine is cancelled by itself.
    """
    return _cancelled.get(_Over())


def _start(over: _Over, work: _Function, *arguments: Any) -> None:
    """Run work in a thread that does not keep the interpreter from ending, and in which `over` is `cancelled()`."""
    context = contextvars.copy_context()
    context.run(_cancelled.set, over)
    threading.Thread(target=context.run, args=(work, *arguments), name="relay", daemon=True).start()


async def _awaited(work: Callable[[], _T]) -> _T:
    """Return the result of work in a thread. If this is cancelled, `cancelled()` is set in the work."""
    over, context = _Over(), contextvars.copy_context()
    context.run(_cancelled.set, over)
    try:
        return await asyncio.get_running_loop().run_in_executor(ThreadPoolExecutor(1), context.run, work)
    except asyncio.CancelledError:
        over.set()
        raise


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none, so that a token goes nowhere else."""


class _Api:
    """The relay's HTTP API; `failed` is told the code of each error. Raises ValueError for a relay that is no URL."""

    def __init__(self, relay: str | None, failed: Callable[[str], None] = lambda _: None) -> None:
        self.token, self.url, self._failed = "", (relay or os.environ.get("PARLEY_URL", "")).rstrip("/"), failed
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError(f"relay, or PARLEY_URL, has to be a URL that begins with https://, not {self.url!r}")
        contexts = [ssl.create_default_context()] if parts.scheme == "https" else []  # made once, since it takes long
        handlers = [urllib.request.HTTPSHandler(context=context) for context in contexts]
        self._opener = urllib.request.build_opener(_NoRedirects, *handlers)

    def call(self, method: str, path: str, body: str = "", seconds: float = _CALL_SECONDS) -> str:
        """Return what is answered. Raises RelayError."""
        with self.open(method, path, body, seconds) as response:
            return response.read().decode()

    @contextmanager
    def open(
        self, method: str, path: str, body: str = "", seconds: float = _CALL_SECONDS, cursor: str = ""
    ) -> Iterator[http.client.HTTPResponse]:
        """Give a successful response, which fails if nothing comes for so many seconds. Raises RelayError."""
        told = {"Authorization": self.token and f"Bearer {self.token}", "Last-Event-ID": cursor}
        told |= {"Content-Type": body and "application/json", "User-Agent": "relay.py"}
        headers, data = {name: text for name, text in told.items() if text}, body.encode() or None
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - it is checked
        try:
            if data and len(data) > _MAX_BODY_BYTES:
                raise RelayError("The message is too large.", "payload_too_large", 413)
            with self._opener.open(request, timeout=seconds) as response:
                _log.debug("%s %s: %d", method, path, response.status)
                yield response
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            failure = _failure(error)
            _log.debug("%s %s: %s", method, path, failure)
            self._failed(failure.code or "")
            raise failure from error


def _failure(error: BaseException) -> RelayError:
    """Return what a call fails with: the relay's refusal, or what is not the relay's, or the network's failure."""
    if not isinstance(error, urllib.error.HTTPError):
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return RelayError(f"The relay cannot be reached: {_told(cast(Any, reason))}", "unreachable")
    problem, status, headers = None, error.code, error.headers
    with error, suppress(ValueError, RecursionError, OSError, http.client.HTTPException):
        problem = json.loads(error.read())
    if isinstance(problem, dict) and isinstance(problem.get("code"), str):
        after = re.match(r"\d+", headers.get("Retry-After", ""))
        return RelayError(str(problem.get("detail", "")), problem["code"], status, int(after[0]) if after else 0)
    if status == 413:
        return RelayError("The message is too large.", "payload_too_large", status)
    told = f"What answered is not the relay: HTTP {status} {headers.get('Location', '')}"
    return RelayError(told, "unexpected_answer", status)


def _events(stream: http.client.HTTPResponse) -> Iterator[tuple[str, str, str]]:
    """Yield id, name and data of each event of a stream. The relay writes one line of data for each."""
    fields = {"id": "", "event": "", "data": ""}
    while (line := stream.readline()).endswith(b"\n"):
        name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
        if name in fields:
            fields[name] = value.removeprefix(" ")
        elif not line.strip() and fields["data"]:
            yield fields["id"], fields["event"], fields["data"]
            fields["data"] = ""


def _backoff(failures: int, error: RelayError) -> float:
    """Return how many seconds to wait after the last of so many failures in a row."""
    seconds = min(_MAX_BACKOFF_SECONDS, _MIN_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 10))
    return max(seconds * random.uniform(0.5, 1), float(error.retry_after or 0))  # noqa: S311


# The host's side


class Session:
    """The host's side of a session, which lasts as long as a `with` or `async with` block. `host` is its short name.

    `tools` are functions, or Tools. Each call of one runs once, beside others: a coroutine in the block's event loop,
    or without one in a loop of this module; any other function in a thread, up to `workers` of them. Other requests go
    to `on_request(payload)`, whose result is the answer, and what it raises the error. `relay` is by default the
    environment variable PARLEY_URL. Entering the block raises RelayError, and wrong arguments TypeError or ValueError.

    `code` is what guests need, `mcp_url` an MCP server with the session's tools. `state` is `connecting`, `connected`,
    `polling` (a proxy blocks the stream, or the relay is too busy for one), `disconnected` (and trying again), or
    `ended`, with a `reason`: `ended`, `expired`, `replaced` (by another host), or the code of a problem.
    """

    code = mcp_url = reason = _path = _cursor = ""
    state = "connecting"
    _attempt = _failed_opens = 0
    _poll_until = 0.0
    _busy = False  # whether the relay had no place for the stream or poll: it has for one that does not wait
    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(
        self, tools: Iterable[Any] = (), on_request: _Function | None = None, *, relay: str = "", workers: int = 8
    ) -> None:
        self._api = _Api(relay, lambda code: self._finish(_END_REASONS.get(code, "")))
        self._tools = [tool if isinstance(tool, Tool) else Tool(tool) for tool in tools]
        if not self._tools and not on_request:
            raise TypeError("host() needs tools, or on_request: a function that answers a request")
        self._on_request, self._slots = on_request, threading.Semaphore(workers)
        self._name = os.urandom(8).hex()  # the relay prefers the host that came last
        self._accepted = set[str]()  # the ids of all requests: the relay may repeat them
        self._running: dict[str, _Over] = {}
        self._over = _Over()

    def __enter__(self) -> Session:
        try:
            session = _parsed(self._api.call("POST", "/api/sessions"), "code", "token", "expiresAt", "ttl")
            self.code, self._api.token = session["code"], session["token"]
            self.mcp_url, self._path = f"{self._api.url}/mcp/{self.code}", f"/api/sessions/{self.code}"
            if self._tools:
                tools = [tool.definition for tool in self._tools]
                self._api.call("PUT", f"{self._path}/tools", _json({"tools": tools}))
        except BaseException:
            self._leave()
            raise
        _start(self._over, self._live)
        _start(self._over, self._renew, session)
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        until = time.monotonic() + _CANCEL_SECONDS
        while self._running and time.monotonic() < until:
            time.sleep(0.01)

    async def __aenter__(self) -> Session:
        self._loop = asyncio.get_running_loop()
        return await _awaited(self.__enter__)

    async def __aexit__(self, *_: object) -> None:
        await _awaited(self.__exit__)

    def end(self) -> None:
        """Let the session end, for guests too, and do not wait for it."""
        _start(_Over(), self._leave)

    def wait(self, timeout: float = float("inf")) -> str:
        """Wait for the end of the session, or for so many seconds. Returns the `reason`, empty before the end."""
        until = time.monotonic() + timeout
        while (left := until - time.monotonic()) > 0 and not self._over.wait(min(1, left)):
            pass  # on Windows, Ctrl+C is heard between two waits
        return self.reason

    async def await_end(self) -> str:
        """Wait for the end of the session in an asyncio program. Returns the `reason`."""
        return await _awaited(self.wait)

    def _leave(self) -> None:
        if self.code and not self.reason:
            with suppress(RelayError):
                self._api.call("DELETE", self._path, seconds=_LAST_SECONDS)
        self._finish("ended")

    def _finish(self, reason: str) -> None:
        if reason and not self.reason:
            self.reason = reason
            self._set_state("ended", reason)
            for over in (self._over, *self._running.copy().values()):
                over.set()

    def _set_state(self, state: str, why: object = "") -> None:
        if self.state not in (state, "ended"):
            self.state = state
            _log.info("%s %s", state, why)

    # Connection

    def _live(self) -> None:
        """Stay connected until the session ends."""
        failures = 0
        while not self.reason:
            busy, self._attempt = self._busy, self._attempt + 1
            host = f"host={self._name}&attempt={self._attempt}"
            try:
                (self._poll if busy or time.monotonic() < self._poll_until else self._listen)(host)
                failures = failures if busy else 0
            except RelayError as error:
                failures, self._busy = failures + 1, error.code == "busy"
                if not self._busy or self.state != "polling":
                    self._set_state("disconnected", error)
                self._over.wait(_backoff(failures, error))

    def _listen(self, host: str) -> None:
        """Read the stream to its end. Raises RelayError if it does not open, or breaks at once."""
        opened_at, event = 0.0, ""
        try:
            with self._api.open("GET", f"{self._path}/stream?{host}", "", _STREAM_OPEN_SECONDS, self._cursor) as stream:
                for self._cursor, event, text in _events(stream):
                    if event == "open":
                        opened_at, self._failed_opens = time.monotonic(), 0
                        cast(Any, stream).fp.raw._sock.settimeout(_STREAM_IDLE_SECONDS)
                        self._set_state("connected")
                    self._hear(event, _readable(text))
            raise RelayError("The stream broke.", "unreachable")
        except RelayError as error:
            if event == "reconnect" or self.reason:
                return
            if error.code not in _NETWORK:
                raise
            if opened_at:
                self._set_state("connecting")
                if time.monotonic() - opened_at < _SHORT_STREAM_SECONDS:
                    raise
                return
            self._failed_opens += 1
            if self._failed_opens < 2 and not isinstance(error.__cause__, TimeoutError):
                raise
            self._poll_until = time.monotonic() + _POLLING_SECONDS

    def _hear(self, event: str, content: dict[str, Any]) -> None:
        if event == "request":
            self._accept(content.get("requests", [content]))
        elif event == "ended":
            self._finish(content["reason"])
        elif event == "withdrawn":  # its id may be used again
            self._accepted.discard(content["id"])
            if over := self._running.pop(content["id"], None):
                _log.info("withdrawn %s", content["id"])
                over.set()

    def _poll(self, host: str) -> None:
        """Read requests with one call, which waits for some, except for the first, which shows whether it works."""
        seconds = _POLL_SECONDS if self.state == "polling" and not self._busy else 0
        after = f"&after={self._cursor}" if self._cursor else ""
        path = f"{self._path}/requests?wait={seconds}{after}&{host}"
        found = _readable(self._api.call("GET", path, seconds=seconds + _CALL_SECONDS), "requests", "cursor")
        self._busy, self._cursor = False, found["cursor"]
        self._set_state("polling")
        self._accept(found["requests"])

    def _renew(self, session: dict[str, Any]) -> None:
        """Renew the session when a third of its time is left, until that has no effect, at its greatest age."""
        before, due = "", time.time() + session["ttl"] * 2 / 3
        while session["expiresAt"] != before and not self.reason:
            if (left := due - time.time()) > 0:
                self._over.wait(min(left, _RENEWAL_CHECK_SECONDS))
                continue
            try:
                renewed = _parsed(self._api.call("PATCH", self._path), "expiresAt", "ttl")
                before, session, due = session["expiresAt"], renewed, time.time() + renewed["ttl"] * 2 / 3
            except RelayError:
                self._over.wait(_MAX_BACKOFF_SECONDS)

    # Requests

    def _accept(self, requests: list[dict[str, Any]]) -> None:
        for request in requests:
            if request["id"] not in self._accepted and not self.reason:
                self._accepted.add(request["id"])
                over = self._running[request["id"]] = _Over()
                _start(over, self._handle, over, request["id"], request["payload"])

    def _handle(self, over: _Over, request_id: str, payload: Any) -> None:
        """Answer a request, again until the relay has the answer. If it is refused, the guest is told why."""
        try:
            _log.info("request %s: %s", request_id, payload if isinstance(payload, RelayError) else _excerpt(payload))
            answer = f'"result":{_json(self._result(payload))}'
        except BaseException as error:  # noqa: BLE001 - whatever a function raises is an answer
            _log.info("request %s failed", request_id, exc_info=True)
            answer = f'"error":{_error(error)}'
        failures, refused = 0, False
        while not over.is_set():
            _log.info("answer %s: %.100s", request_id, answer)
            try:
                _parsed(
                    self._api.call("POST", f"{self._path}/responses", f'{{"id":"{request_id}",{answer}}}'), "status"
                )
                break
            except RelayError as error:
                _log.info("answer %s failed: %s", request_id, error)
                failures += 1
                if error.code == "request_not_found":
                    self._accepted.discard(request_id)
                if not error.final:
                    over.wait(_backoff(failures, error))
                elif refused or error.code in _REQUEST_CLOSED:
                    break
                else:
                    refused, answer = True, f'"error":{_error(error)}'
        if self._running.get(request_id) is over:
            del self._running[request_id]

    def _result(self, payload: Any) -> Any:
        if isinstance(payload, RelayError):
            raise payload
        call = payload.get("params") if isinstance(payload, dict) and payload.get("method") == "tools/call" else None
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            if not self._on_request:
                raise RelayError("This host takes no other requests than the calls of its tools.", "no_handler")
            return self._run(partial(self._on_request, payload))
        tool = next((tool for tool in self._tools if tool.name == call["name"]), None)
        if not tool:
            raise RelayError(error={"code": "unknown_tool", "message": f"There is no tool {call['name']}."})
        try:
            arguments = call.get("arguments")
            return _tool_result(self._run(tool.bind({} if arguments is None else arguments)))
        except BaseException as error:  # noqa: BLE001 - what a function raises is a result that says so
            _log.info("%s failed", tool.name, exc_info=True)
            text = f"The arguments do not fit: {error}." if isinstance(error, _Misfit) else _told(error)
            return {"content": [{"type": "text", "text": text}], "isError": True}

    def _run(self, function: Callable[[], Any]) -> Any:
        """Call a function, of which only so many run beside each other. A coroutine runs in an event loop."""
        over = cancelled()
        with self._slots:
            outcome = None if over.is_set() else function()
        if not inspect.iscoroutine(outcome):
            return outcome
        task = asyncio.run_coroutine_threadsafe(outcome, self._loop or _shared_loop())
        over.stop = task.cancel
        if over.is_set():
            task.cancel()
        return task.result()


@functools.cache
def _shared_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop for coroutines of programs that have none. It runs in a thread, until the program ends."""
    loop = asyncio.new_event_loop()

    def run() -> None:
        while True:
            with suppress(SystemExit, KeyboardInterrupt):  # which a coroutine may raise
                loop.run_forever()

    threading.Thread(target=run, daemon=True).start()
    return loop


# A request as the relay writes it, in an event or in a list, where it has a cursor.
_REQUEST = re.compile(r'\{"id":"([^"]+)","payload":(.*?),"createdAt":"[^"]*"(?:,"cursor":"[^"]*")?\}', re.DOTALL)


def _readable(text: str, *names: str) -> dict[str, Any]:
    """Parse what the relay sends. A payload that Python cannot read is replaced by the error, which its guest gets."""
    try:
        return _parsed(text, *names)
    except RelayError as error:
        if error.code != "client_error":
            raise
        requests: list[dict[str, Any]] = []
        for request_id, payload in _REQUEST.findall(text):
            requests.append({"id": request_id, "payload": error})
            with suppress(RecursionError, ValueError):
                requests[-1]["payload"] = json.loads(payload)
        return {"requests": requests, "cursor": text.rpartition('"cursor":"')[2].partition('"')[0]}


def _tool_result(value: Any) -> dict[str, Any]:
    """Return what a tool has returned in the words of MCP. Raises as `_json` does."""
    text = _json(value)
    plain = json.loads(text)
    content = plain.get("content") if isinstance(plain, dict) else None
    if isinstance(content, list) and all(isinstance(b, dict) and isinstance(b.get("type"), str) for b in content):
        return dict(plain)
    if isinstance(plain, str):
        return {"content": [{"type": "text", "text": plain}]}
    return {"content": [{"type": "text", "text": text}], "structuredContent": plain}


def _error(error: BaseException) -> str:
    """Return what a guest is told of an error, as JSON."""
    code, own = getattr(error, "code", None), getattr(error, "error", None)
    told = {"name": type(error).__name__, "message": str(error)} | ({"code": code} if isinstance(code, str) else {})
    with suppress(TypeError, ValueError, RecursionError):
        return _json(told if own is None else own)
    return _json(told)


# The guest's side


def _coroutine(method: Callable[Concatenate[Any, _P], _T]) -> Callable[Concatenate[Any, _P], Coroutine[Any, Any, _T]]:
    @functools.wraps(method)
    async def call(self: Any, /, *args: _P.args, **named: _P.kwargs) -> _T:
        return await _awaited(partial(method, self, *args, **named))

    return call


class Guest:
    """A guest of a session. `guest` is its short name. All methods raise RelayError.

    The code may be in lower case, or with spaces or hyphens, for example. `arequest`, `acall_tool` and `atools` are the
    same as `request`, `call_tool` and `tools` for asyncio programs; when they are cancelled, the request is withdrawn.
    """

    def __init__(self, code: str, *, relay: str = "") -> None:
        self.code, self._api, self._path = code, _Api(relay), f"/api/sessions/{quote(code, safe='')}"

    def request(self, payload: Any, *, timeout: float | None = None, id: str = "") -> Any:
        """Send a request, and return the host's result.

        After `timeout` seconds, or at Ctrl+C, the request is withdrawn; by default it is waited for until the session
        ends. The same `id`, 1 to 64 letters, digits or `_ . : -`, with the same payload is the same request.
        """
        request_id, over = id or os.urandom(8).hex(), cancelled()
        body, query = (
            f'{{"id":{_json(request_id)},"payload":{_json(payload)}}}',
            f"?code={quote(self.code)}&id={quote(request_id)}",
        )

        def withdraw() -> None:
            with suppress(RelayError):
                self._api.call("DELETE", f"/api/requests{query}", seconds=_LAST_SECONDS)

        over.stop = partial(_start, _Over(), withdraw)
        try:
            return self._ask(body, query, time.monotonic() + (float("inf") if timeout is None else timeout), over)
        except BaseException as error:
            if not isinstance(error, RelayError) or error.code == "timeout":
                withdraw()
            raise

    def call_tool(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, timeout: float | None = None, id: str = ""
    ) -> dict[str, Any]:
        """Call a tool, and return its result in the words of MCP, also one with `isError`. As in `request`."""
        payload = {"method": "tools/call", "params": {"name": name, "arguments": arguments or {}}}
        return _tool_result(self.request(payload, timeout=timeout, id=id))

    def tools(self) -> list[dict[str, Any]]:
        """Return the tools that the host offers, in the words of MCP."""
        return list(_parsed(self._api.call("GET", f"{self._path}/tools"), "tools")["tools"])

    arequest, acall_tool, atools = _coroutine(request), _coroutine(call_tool), _coroutine(tools)

    def _ask(self, body: str, query: str, until: float, over: _Over) -> Any:
        """Post a request, and wait for its result. Sending it again is safe, since the id stays the same."""
        accepted = posted = busy = False  # whether the relay has it; may have it; had no place for a call that waits
        failures, since = 0, time.monotonic()  # the last sign of life
        while (left := until - time.monotonic()) > 0 and not over.is_set():
            wait = 0 if busy else _POLL_SECONDS
            method, path = ("GET", f"/api/responses{query}&") if accepted else ("POST", f"{self._path}/requests?")
            text, limit = "" if accepted else body, min(left, wait + _CALL_SECONDS)
            try:
                response = _parsed(self._api.call(method, f"{path}wait={wait}", text, limit), "id", "status")
            except RelayError as error:
                if error.final or (error.status == 429 and not posted):
                    raise
                failures, busy = failures + 1, error.code == "busy"
                posted = posted or not busy
                if error.status == 429 or (busy and wait):
                    since = time.monotonic()
                elif time.monotonic() - since > _RETRY_SECONDS:
                    raise
                over.wait(min(_backoff(failures, error), until - time.monotonic()))
                continue
            if "result" in response:
                return response["result"]
            if response["status"] == "answered":
                own = response.get("error")
                message = own.get("message") if isinstance(own, dict) else own
                raise RelayError(message if isinstance(message, str) else "The host answered with an error.", error=own)
            accepted, posted, failures = True, True, failures if busy else 0
            busy, since = False, time.monotonic()
        raise RelayError("The host did not answer in time.", "timeout")


host, guest = Session, Guest

# The command


def _offered(path: Path) -> list[Tool]:
    """Return the public functions that a file defines. Raises what running it does."""
    sys.modules["relay"] = sys.modules[__name__]  # for `from relay import cancelled`
    sys.path.insert(0, str(path.resolve().parent))
    if not path.is_file():
        raise ImportError("this is no Python file")
    sys.modules.pop(path.stem, None)  # what else has the file's name
    module = importlib.import_module(path.stem)
    found = {name: one for name, one in vars(module).items() if inspect.isroutine(inspect.unwrap(one))}
    own = [name for name, one in found.items() if name[0] != "_" and one.__module__ == module.__name__]
    return [Tool(found[name], name) for name in getattr(module, "__all__", own) if name in found]


def _host(file: str, relay: str) -> None:
    """Offer a file's functions until Ctrl+C. What they print goes to standard error."""
    output, sys.stdout = sys.stdout, sys.stderr
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.default_int_handler)
    try:
        tools = _offered(Path(file))
    except (Exception, SystemExit) as error:
        raise ValueError(f"{file}: {_told(error)}") from error
    if not tools:
        raise ValueError(f"{file} has no public functions")
    session = Session(tools, relay=relay)
    with suppress(KeyboardInterrupt), session:
        print(f"{session.code[:4]}-{session.code[4:]}\n{session.mcp_url}", file=output, flush=True)
        print(f"Offers {', '.join(tool.name for tool in tools)}. Ctrl+C ends the session.", file=sys.stderr)
        session.wait()
    if session.reason not in ("", "ended"):
        raise RelayError(f"The session has ended: {session.reason}.", session.reason)


def _call(one: Guest, name: str, given: Iterable[str], timeout: float | None) -> Any:
    """Return the result of a tool. The value of an argument is JSON, else text; that of a string parameter is text."""
    pairs = [pair.partition("=") for pair in given]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"{wrong[0]} is not ARG=VALUE")
    schemas = {tool["name"]: tool["inputSchema"].get("properties", {}) for tool in one.tools()}
    texts = {name for name, kind in schemas.get(name, {}).items() if kind.get("type") == "string"}
    arguments = {name: text if name in texts else _json_or_text(text) for name, _, text in pairs}
    result = one.call_tool(name, arguments, timeout=timeout)
    told = [block.get("text") for block in result["content"] if block["type"] == "text"]
    whole = result if len(told) < len(result["content"]) else "\n".join(map(str, told))
    if result.get("isError"):
        raise RelayError(error=whole)
    return result.get("structuredContent", whole)


def _json_or_text(text: str) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text, parse_constant=int)  # which raises ValueError: NaN is no JSON
    return text


def main() -> int:
    """Run the command, and return its exit status."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--relay", metavar="URL", help="default: PARLEY_URL")
    common.add_argument("--verbose", action="store_true", help="show what comes and goes")
    parser = argparse.ArgumentParser("relay.py", parents=[common], description="Offer or use functions over a relay.")
    parser.epilog = "Exit status: 1 for an error of the host or tool, 2 for wrong usage, 3 for a refusal or no answer."
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, told, *places in (
        ("host", "offer the public functions of a Python file as tools, until Ctrl+C", "FILE"),
        ("ask", "send a request (JSON, else text), and print its result", "CODE", "PAYLOAD"),
        ("tools", "list the tools of a session", "CODE"),
        ("call", "call a tool (with JSON, else text), and print its result", "CODE", "NAME", "ARG=VALUE"),
    ):
        command = commands.add_parser(name, help=told, description=told, parents=[common])
        for place in places:
            command.add_argument(place.lower(), metavar=place, nargs="*" if "=" in place else None)
        if name in ("ask", "call"):
            command.add_argument("--timeout", type=float, metavar="SECONDS", help="default: until the session ends")
    options = vars(parser.parse_args())
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    _log.setLevel(logging.DEBUG if "verbose" in options else logging.WARNING)
    try:
        if options["command"] == "host":
            _host(options["file"], options.get("relay", ""))
            return 0
        one = Guest(options["code"], relay=options.get("relay", ""))
        if options["command"] == "ask":
            found = one.request(_json_or_text(options["payload"]), timeout=options["timeout"])
        elif options["command"] == "tools":
            found = one.tools()
        else:
            found = _call(one, options["name"], options["arg=value"], options["timeout"])
        print(found if isinstance(found, str) else _json(found), flush=True)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    except RelayError as error:
        told = error.error if error.code is None and error.error is not None else str(error)
        print(told if isinstance(told, str) else _json(told), file=sys.stderr)
        return 1 if error.code is None else 3
    except KeyboardInterrupt:
        return 3
    return 0


if __name__ == "__main__":
    exit_status = main()
    if any(thread.name == "relay" for thread in threading.enumerate()):  # a function that does not end
        sys.stderr.flush()
        os._exit(exit_status)
    sys.exit(exit_status)
