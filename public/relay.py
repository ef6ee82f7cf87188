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
import http.client
import importlib.util
import inspect
import json
import logging
import os
import random
import re
import signal
import socket
import ssl
import sys
import threading
import time
import typing
import urllib.request
import weakref
from collections import abc
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast
from urllib.parse import quote, urlsplit

__all__ = ["Guest", "RelayError", "Session", "Tool", "cancelled", "guest", "host"]

_STREAM_OPEN_SECONDS = 8  # nothing comes for so long if a proxy buffers the stream
_STREAM_IDLE_SECONDS = 40  # more than two of the relay's keep-alive comments, which it sends every 15 s
_SHORT_STREAM_SECONDS = 5  # a stream that breaks sooner counts as a failure, so that there is a backoff
_CALL_SECONDS = 20  # in addition to the time that the call asks the relay to wait
_LAST_SECONDS = 5  # for a call that ends a session or withdraws a request
_CANCEL_SECONDS = 2  # how long the end of a session waits for calls that it has cancelled
_POLL_SECONDS = 25
_POLLING_SECONDS = 300  # how long to poll before the stream is tried again
_MIN_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.5, 15.0
_RENEWAL_CHECK_SECONDS = 20  # timers stand still while the machine sleeps, so the clock is read this often
_RETRY_SECONDS = 30  # how long a guest tries again without a single success
_RETRIES = 5  # how often a guest tries to read tools again
_IDLE_SECONDS = 4  # how long a connection is kept: servers close an idle one after 5 s at the soonest
_MAX_BODY_BYTES = 4_000_000  # the platform refuses 4.5 MB
# The codes of problems that end the host's session, with its `reason`.
_END_REASONS = {code: code for code in ("replaced", "host_token_required", "host_token_wrong")}
_END_REASONS |= {"session_not_found": "expired", "session_ended": "ended"}
# The codes of a refused answer that mean that the request needs no other. The latter: the guest has withdrawn it.
_REQUEST_CLOSED = ("already_answered", "request_not_found")
_NETWORK = ("unreachable", "unexpected_answer")  # the codes of errors that are no refusals of the relay's

_log = logging.getLogger("relay")
_cancelled: contextvars.ContextVar[threading.Event] = contextvars.ContextVar("cancelled")
_Function = Callable[..., Any]


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


# JSON, and the results of functions


def _json(value: Any) -> str:
    """Write a value as JSON. Raises TypeError, ValueError or RecursionError for what is none."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    return json.dumps(json.loads(text)) if re.search("[\ud800-\udfff]", text) else text


def _plain(value: Any) -> Any:
    """Return what JSON has in place of an object. Raises TypeError."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (Enum, Mapping)):
        return value.value if isinstance(value, Enum) else dict(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray, type)):
        return sorted(value, key=_json) if isinstance(value, abc.Set) else list(value)
    if type(value).__module__.partition(".")[0] in ("decimal", "pathlib", "uuid"):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _parsed(text: str, *names: str) -> dict[str, Any]:
    """Parse what the relay has sent: an object that has members of these names. Raises RelayError."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    except (RecursionError, ValueError) as error:
        raise RelayError(f"The message cannot be read: {error}", "client_error") from error
    if isinstance(found, dict) and found.keys() >= set(names):
        return found
    raise RelayError("What answered is not the relay.", "unexpected_answer")


def _excerpt(value: Any) -> str:
    text = "…"
    with suppress(RecursionError):
        text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 100 else f"{text[:100]}…"


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


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


# Tools, and the types of their parameters

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", None: "null"}
_SETS = (set, frozenset, abc.Set, abc.MutableSet)
_ARRAYS = (*_SETS, list, tuple, abc.Iterable, abc.Collection, abc.Sequence, abc.MutableSequence)
_OBJECTS = (dict, abc.Mapping, abc.MutableMapping)
_CLASSES: dict[str, Any] = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
_CLASSES |= {"null": type(None), "array": list, "object": dict}
_UNIONS, _WRAPPERS = ("Union", "UnionType"), ("Required", "NotRequired", "ReadOnly")
_REQUIRED = inspect.Parameter.empty  # stands for no default
_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Misfit(Exception):
    """The arguments of a call do not fit; the text says which, and why."""


_NO_DEFECTS = (_Misfit, RelayError, asyncio.CancelledError)  # of which no traceback is of use


def _word(annotation: Any) -> str:
    return str(typing.get_origin(annotation)).rpartition(".")[2].rstrip("'>")


def _schema(annotation: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type. Raises TypeError for one that has none."""
    parts, cls = typing.get_args(annotation), cast(Any, typing.get_origin(annotation) or annotation)
    if cls is Annotated:
        texts = [text for text in parts[1:] if isinstance(text, str)]
        return _schema(parts[0]) | ({"description": texts[0]} if texts else {})
    if cls in (Any, object) or isinstance(cls, TypeVar):
        return {}
    if cls in _NAMES:
        return {"type": _NAMES[cls]}
    if cls is Literal or (isinstance(cls, type) and issubclass(cls, Enum)):
        return {"enum": [json.loads(_json(value)) for value in parts or cast(Any, cls)]}
    if members := _members(cls):
        return _object(members, cls.__dict__.get("__doc__"))
    schemas = [_schema(part) for part in parts if part is not ...]
    if _word(annotation) in _WRAPPERS:
        return schemas[0]
    if _word(annotation) in _UNIONS:
        return {"anyOf": schemas}
    if cls is tuple and parts and parts[-1] is not ...:
        return {"type": "array", "prefixItems": schemas, "minItems": len(schemas), "maxItems": len(schemas)}
    if cls in _ARRAYS:
        return {"type": "array", "items": (*schemas, {})[0]} | ({"uniqueItems": True} if cls in _SETS else {})
    if cls in _OBJECTS:
        return {"type": "object", "additionalProperties": (*schemas, {}, {})[1]}
    raise TypeError(f"for {annotation!r} there is no JSON Schema")


def _members(cls: Any) -> dict[str, tuple[Any, Any]]:
    """Return type and default (... if it is not known) of each member of a dataclass or TypedDict; none for others."""
    if not isinstance(cls, type) or not (dataclasses.is_dataclass(cls) or hasattr(cls, "__required_keys__")):
        return {}
    hints = typing.get_type_hints(cls, include_extras=True)
    if not dataclasses.is_dataclass(cls):  # postponed annotations hide NotRequired from __required_keys__
        needed = {name for name in cls.__required_keys__ if _word(hints[name]) != "NotRequired"}
        return {name: (hint, _REQUIRED if name in needed else ...) for name, hint in hints.items()}
    fields = [field for field in dataclasses.fields(cls) if field.init]
    needed = {field.name for field in fields if field.default is field.default_factory}  # both are missing
    return {field.name: (hints[field.name], _REQUIRED if field.name in needed else field.default) for field in fields}


def _object(members: Mapping[str, tuple[Any, Any]], doc: str | None, others: Any = False) -> dict[str, Any]:
    """Return the schema of an object with members that have a type and a default, and perhaps with others."""
    described, texts = _documented(doc)
    properties = {name: _schema(hint) | texts.get(name, {}) for name, (hint, _) in members.items()}
    for name, (_, default) in members.items():
        with suppress(TypeError, ValueError):  # it is required, not known, or no JSON
            properties[name]["default"] = json.loads(_json(default))
    required = [name for name, (_, default) in members.items() if default is _REQUIRED]
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": others}
    return described | schema


_SECTION = re.compile(r"^(?:Args|Arguments|Parameters|Attributes):[ \t]*\n((?:[ \t]+.*(?:\n|$)|\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^([ \t]+)\*{0,2}(\w+)(?:[ \t]*\(.*?\))?:[ \t]*(.*(?:\n\1[ \t]+.*)*)", re.MULTILINE)
_PARAM = re.compile(r"^()[ \t]*:param(?:[ \t]+[^:\n]*?)?[ \t]+\*{0,2}(\w+):[ \t]*(.*(?:\n[ \t]+.*)*)", re.MULTILINE)
_AFTER_FIRST = re.compile(r"\n\s*\n|^[ \t]*:\w.*:|^\w+:[ \t]*$|^\w+\(.*\)$", re.MULTILINE)  # the last: by dataclass()


def _documented(doc: str | None) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return a docstring's first paragraph, and what it says of parameters as Google or Sphinx do, as descriptions."""
    doc = inspect.cleandoc(doc or "")
    entries = [entry for section in _SECTION.findall(doc) for entry in _ENTRY.findall(section)]
    entries += _PARAM.findall(doc)
    texts = {name: {"description": " ".join(text.split())} for _, name, text in entries if text.strip()}
    first = " ".join(_AFTER_FIRST.split(doc, maxsplit=1)[0].split())
    return {"description": first} if first else {}, texts


def _misfits(schema: Any, value: Any, where: str) -> Iterator[str]:
    """Yield what does not fit a schema of those that `_schema` makes. `where` is the value's name."""
    name, at = schema.get("type", ""), f"{where}." if where else ""
    fits = isinstance(value, _CLASSES.get(name, object)) and (name in ("", "boolean") or not isinstance(value, bool))
    if "anyOf" in schema:
        wrong = [list(_misfits(option, value, where)) for option in schema["anyOf"]]
        yield from [", or ".join(map("; ".join, wrong))] if all(wrong) else []
    elif "enum" in schema and _json(value) not in map(_json, schema["enum"]):
        yield f"{where} must be one of {', '.join(map(_json, schema['enum']))}, not {_excerpt(value)}"
    elif not fits and not (name == "integer" and isinstance(value, float) and value.is_integer()):
        yield f"{where or 'this'} must be of the type {name}, not {_excerpt(value)}"
    elif name == "array":
        kinds = schema.get("prefixItems") or [schema["items"]] * len(value)
        yield from [f"{where} must have {len(kinds)} items, not {len(value)}"] if len(kinds) != len(value) else []
        for place, (kind, item) in enumerate(zip(kinds, value, strict=False)):
            yield from _misfits(kind, item, f"{where}[{place}]")
    elif name == "object":
        known = schema.get("properties", {})
        yield from [f"{at}{key} is missing" for key in schema.get("required", ()) if key not in value]
        for key, part in value.items():
            kind = known.get(key, schema["additionalProperties"])
            unknown = f"{at}{key} is not known, only {', '.join(known) or 'nothing'}"
            yield from [unknown] if kind is False else _misfits(kind, part, at + key)


def _built(annotation: Any, value: Any) -> Any:
    """Return the Python value of a type that a JSON value, which fits the type's schema, stands for."""
    parts, cls = typing.get_args(annotation), cast(Any, typing.get_origin(annotation) or annotation)
    if cls is Annotated or _word(annotation) in _WRAPPERS:
        return _built(parts[0], value)
    if _word(annotation) in _UNIONS:
        return _built(next(part for part in parts if not any(_misfits(_schema(part), value, ""))), value)
    if cls is Literal or (isinstance(cls, type) and issubclass(cls, Enum)):
        return {_json(option): option for option in parts or cast(Any, cls)}[_json(value)]
    if cls in (int, float):
        return cls(value)
    if members := _members(cls):
        return cls(**{name: _built(members[name][0], part) for name, part in value.items()})
    if cls in _ARRAYS:
        kinds = parts if cls is tuple and parts and parts[-1] is not ... else [(*parts, Any)[0]] * len(value)
        build = cls if cls in (tuple, frozenset) else set if cls in _SETS else list
        return build(_built(kind, item) for kind, item in zip(kinds, value, strict=True))
    if cls in _OBJECTS:
        key, kind = parts or (str, Any)
        return {key(name) if key in (int, float) else _built(key, name): _built(kind, value[name]) for name in value}
    return value


class Tool:
    """A function, plain or `async def`, that a host offers; `definition` is what guests see of it.

    What is left out comes from the function. `annotations` are MCP's hints, such as `{"readOnlyHint": True}`. Raises
    TypeError for a function without a name, and for a parameter whose type has no JSON Schema.
    """

    def __init__(self, function: _Function, name: str = "", description: str = "", annotations: Any = None) -> None:
        inner: Any = inspect.unwrap(function)
        inner = inner.func if isinstance(inner, partial) else inner
        inner = inner if inspect.isroutine(inner) else type(inner).__call__
        self.function, self.name = function, name or getattr(function, "__name__", "")
        if not self.name:
            raise TypeError(f"{function!r} has no name: offer Tool(function, name=…)")
        try:
            hints, self._signature = typing.get_type_hints(inner, include_extras=True), inspect.signature(function)
            given = {name: (hints.get(name, Any), one) for name, one in self._signature.parameters.items()}
            self._members = {name: (hint, one.default) for name, (hint, one) in given.items() if one.kind not in _REST}
            rest = [(name, hint) for name, (hint, one) in given.items() if one.kind is one.VAR_KEYWORD]
            self._rest, self._others = (*rest, ("", Any))[0]
            schema = _object(self._members, inner.__doc__, _schema(self._others) if rest else False)
        except (TypeError, ValueError, NameError, AttributeError, RecursionError) as error:
            raise TypeError(f"{self.name} cannot be a tool: {_told(error)}") from error
        own = schema.pop("description", "")
        told = {"description": description or own, "annotations": annotations}
        self.definition = {
            "name": self.name,
            **{key: text for key, text in told.items() if text},
            "inputSchema": schema,
        }

    def bind(self, arguments: Any) -> Callable[[], Any]:
        """Return the function with its arguments. Raises _Misfit, which says which do not fit, and why."""
        if misfits := list(_misfits(self.definition["inputSchema"], arguments, "")):
            raise _Misfit("; ".join(misfits))
        found = {name: _built(self._members.get(name, (self._others,))[0], value) for name, value in arguments.items()}
        others = {self._rest: {name: found.pop(name) for name in found.keys() - self._members.keys()}}
        bound = inspect.BoundArguments(self._signature, found | (others if self._rest else {}))
        return partial(self.function, *bound.args, **bound.kwargs)


# Calls to the relay


class _Api:
    """The relay's HTTP API, over connections that are kept open. Raises ValueError for a relay that is no URL."""

    def __init__(self, relay: str | None) -> None:
        self.url = (relay or os.environ.get("PARLEY_URL", "")).rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError(f"relay, or PARLEY_URL, has to be a URL that begins with https://, not {self.url!r}")
        request = urllib.request.Request(self.url)  # noqa: S310 - which says how urllib would reach it
        if proxy := urllib.request.getproxies().get(parts.scheme):
            urllib.request.ProxyHandler().proxy_open(request, proxy, parts.scheme)
        self._path = self.url if request.has_proxy() else parts.path  # a proxy without a tunnel gets the whole URL
        self._tunnel = "" if request.has_proxy() or request.host == parts.netloc else parts.netloc
        self._login = dict(request.header_items())
        self._new: Callable[[], http.client.HTTPConnection] = partial(http.client.HTTPConnection, request.host)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._new = partial(http.client.HTTPSConnection, request.host, context=context)
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        weakref.finalize(self, _close, self._idle)

    async def call(
        self, method: str, path: str, body: str = "", token: str = "", seconds: float = _CALL_SECONDS, **more: Any
    ) -> Any:
        """Return what is answered, or what `read` makes of the answer and its socket. Raises RelayError."""
        if len(data := body.encode()) > _MAX_BODY_BYTES:
            raise RelayError("The message is too large.", "payload_too_large", 413)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= more.get("headers", {}) | ({"Content-Type": "application/json"} if body else {})
        connection, read = self._connection(), more.get("read", lambda response, _: response.read().decode())
        connection.timeout = seconds
        headers |= {} if self._tunnel else self._login
        work = partial(self._exchange, connection, read, method, self._path + path, data or None, headers)
        return await _threaded(work, partial(_shut, connection))

    def _connection(self) -> http.client.HTTPConnection:
        with suppress(IndexError):
            while True:
                used, connection = self._idle.pop()
                if time.monotonic() - used < _IDLE_SECONDS:
                    return connection
                connection.close()
        connection = self._new()
        if self._tunnel:
            connection.set_tunnel(self._tunnel, headers=self._login)
        return connection

    def _exchange(self, connection: http.client.HTTPConnection, read: _Function, *request: Any) -> Any:
        response, kept = None, False
        try:
            if not connection.sock:
                connection.connect()
            (sock := connection.sock).settimeout(connection.timeout)
            with suppress(BrokenPipeError):  # the relay may have refused before it has read everything
                connection.request(*request)
            response = connection.getresponse()
            _log.debug("%s %s: %d", *request[:2], response.status)
            if not 200 <= response.status < 300:
                raise _refusal(response)
            result = read(response, sock)
            if kept := response.isclosed() and connection.sock is not None:
                self._idle.append((time.monotonic(), connection))
            return result
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            raise RelayError(f"The relay cannot be reached: {_told(error)}", "unreachable") from error
        finally:
            if response and not kept:
                response.close()
            if not kept:
                connection.close()


def _close(idle: list[tuple[float, http.client.HTTPConnection]]) -> None:
    for _, connection in idle:
        connection.close()


def _shut(connection: http.client.HTTPConnection) -> None:
    """End what another thread does with a connection."""
    connection.timeout = 0  # one that is not open yet fails when it is
    with suppress(OSError, TypeError):
        socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)  # not SSLSocket's, after which noise is read


def _read_events(hear: Callable[..., Any], response: http.client.HTTPResponse, sock: socket.socket) -> None:
    """Pass on id, name and data of each event of a stream, until it ends. Raises TimeoutError if nothing comes."""
    until, opened, fields = time.monotonic() + _STREAM_OPEN_SECONDS, False, {"id": "", "event": "", "data": ""}
    while (line := response.readline()).endswith(b"\n"):
        name, _, value = line.decode("utf-8-sig", "replace").rstrip("\r\n").partition(":")
        if name in fields:
            before = f"{fields[name]}\n" if name == "data" and fields["data"] else ""
            fields[name] = before + value.removeprefix(" ")
        elif not line.strip():
            if fields["data"]:
                opened = True
                hear(*fields.values())
            fields |= {"event": "", "data": ""}
        sock.settimeout(_STREAM_IDLE_SECONDS if opened else max(0.01, until - time.monotonic()))


def _refusal(response: http.client.HTTPResponse) -> RelayError:
    """Return the error that an answer stands for."""
    problem, status = None, response.status
    with suppress(ValueError, RecursionError):
        problem = json.loads(response.read())
    if isinstance(problem, dict) and isinstance(problem.get("code"), str):
        after = re.match(r"\d+", response.headers.get("Retry-After", ""))
        return RelayError(str(problem.get("detail", "")), problem["code"], status, int(after[0]) if after else 0)
    if status == 413:
        return RelayError("The message is too large.", "payload_too_large", status)
    place = response.headers.get("Location", "")
    return RelayError(f"What answered is not the relay: HTTP {status} {place}", "unexpected_answer", status)


def _backoff(failures: int, error: RelayError) -> float:
    """Return how many seconds to wait after the last of so many failures in a row."""
    seconds = min(_MAX_BACKOFF_SECONDS, _MIN_BACKOFF_SECONDS * 2.0 ** min(failures - 1, 10))
    return max(seconds * random.uniform(0.5, 1), float(error.retry_after or 0))  # noqa: S311


async def _threaded(work: Callable[[], Any], stop: Callable[[], None] = lambda: None) -> Any:
    """Run work in a thread, which does not keep the interpreter from ending. If this is cancelled, `stop` is called."""
    outcome, context = Future[tuple[Any, Any]](), contextvars.copy_context()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result((context.run(work), None))
        except BaseException as error:  # noqa: BLE001 - it is raised where the work is awaited
            outcome.set_result((None, error))

    threading.Thread(target=run, name="relay", daemon=True).start()
    try:
        result, error = await asyncio.wrap_future(outcome)
    except asyncio.CancelledError:
        stop()
        raise
    if error:
        raise error
    return result


# The host's side


def cancelled() -> threading.Event:
    """Return the event that is set when nobody waits any more for the call in which this is asked.

    A function that takes long looks at it: `while not cancelled().wait(1): …`. A coroutine is cancelled by itself.
    """
    return _cancelled.get(threading.Event())


class Session:
    """The host's side of a session, which lasts as long as a `with` or `async with` block. `host` is its short name.

    `tools` are functions, or Tools. Each call of one runs once, beside others: a coroutine in the block's event loop,
    or without one in the session's; any other function in a thread, up to `workers` of them. Other requests go to
    `on_request(payload)`, whose result is the answer, and what it raises the error. `relay` is by default the
    environment variable PARLEY_URL. Entering the block raises RelayError, and wrong arguments TypeError or ValueError.

    `code` is what guests need, `mcp_url` an MCP server with the session's tools. `state` is `connecting`, `connected`,
    `polling` (a proxy blocks the stream, or the relay is too busy for one), `disconnected` (and trying again), or
    `ended`, with a `reason`: `ended`, `expired`, `replaced` (by another host), or the code of a problem.
    """

    code = mcp_url = expires_at = reason = _token = _cursor = ""
    state = "connecting"
    _attempt = _failed_opens = 0
    _poll_until = _opened_at = _lifetime = _clock_offset = 0.0
    _busy = False  # whether the relay had no place for the stream or poll: it has for one that does not wait
    _reconnects = False
    _loop: Any = None

    def __init__(
        self,
        tools: Iterable[Tool | _Function] | None = None,
        *,
        on_request: _Function | None = None,
        relay: str | None = None,
        workers: int = 8,
    ) -> None:
        if tools is None and on_request is None:
            raise TypeError("host() needs tools, or on_request: a function that answers a request")
        self._tools = {tool.name: tool for tool in map(_tool, tools or ())}
        self._api, self._name = _Api(relay), os.urandom(8).hex()  # the relay prefers the host that came last
        self._on_request, self._slots = on_request, threading.Semaphore(workers)
        self._accepted = set[str]()  # the ids of all requests: the relay may repeat them
        self._running: dict[str, asyncio.Task[None]] = {}
        self._started, self._ended, self._leaving = Future[None](), Future[None](), asyncio.Event()

    def __enter__(self) -> Session:
        threading.Thread(target=lambda: asyncio.run(self._live()), name="relay", daemon=True).start()
        try:
            self._started.result()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        wait([self._ended], _LAST_SECONDS + _CANCEL_SECONDS)

    async def __aenter__(self) -> Session:
        self._life = asyncio.create_task(self._live())
        try:
            await asyncio.shield(asyncio.wrap_future(self._started))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()
        await self._life

    def end(self) -> None:
        """Let the session end, for guests too."""
        with suppress(RuntimeError):  # it has ended already, and its loop is closed
            self._loop.call_soon_threadsafe(self._leaving.set) if self._loop else self._leaving.set()

    def wait(self, timeout: float = float("inf")) -> str:
        """Wait for the end of the session, or for so many seconds. Returns the `reason`, empty before the end."""
        until = time.monotonic() + timeout
        while not self._ended.done() and (left := until - time.monotonic()) > 0:
            wait([self._ended], min(1, left))  # on Windows, Ctrl+C is heard between two waits
        return self.reason

    async def await_end(self) -> str:
        """Wait for the end of the session in an asyncio program. Returns the `reason`."""
        await asyncio.shield(asyncio.wrap_future(self._ended))
        return self.reason

    def add_tool(self, tool: Tool | _Function) -> Future[None]:
        """Offer one more tool, in place of one with its name.

        The Future that is returned is done when guests see the tool, or fails with a RelayError. Functions may wait for
        its `result()`, coroutines `await asyncio.wrap_future(…)`.
        """
        return asyncio.run_coroutine_threadsafe(self._add_tool(_tool(tool)), self._loop)

    async def _add_tool(self, tool: Tool) -> None:
        before, self._tools = self._tools, self._tools | {tool.name: tool}
        try:
            await self._put_tools()
        except RelayError:
            self._tools = before
            raise

    async def _put_tools(self) -> None:
        await self._call("PUT", "/tools", _json({"tools": [tool.definition for tool in self._tools.values()]}))

    async def _live(self) -> None:
        """Create the session, and be its host until it ends."""
        self._loop, tasks = asyncio.get_running_loop(), list[asyncio.Future[Any]]()
        try:
            session = _parsed(await self._api.call("POST", "/api/sessions"), "code", "token", "expiresAt")
            self.code, self._token = session["code"], session["token"]
            self.mcp_url = f"{self._api.url}/mcp/{self.code}"
            self._update_expiry(session)
            if self._tools:
                await self._put_tools()
            tasks = [asyncio.create_task(self._connect()), asyncio.create_task(self._renew())]
            tasks[0].add_done_callback(lambda _: self._finish("client_error"))  # of no effect, except after a defect
            self._started.set_result(None)
            await self._leaving.wait()
        except Exception as error:  # noqa: BLE001 - it is raised where the session is entered
            self._started.set_exception(error)
        finally:
            if self.code and not self.reason:
                with suppress(RelayError):
                    await self._call("DELETE", seconds=_LAST_SECONDS)
            self._finish("ended")
            tasks += [*self._running.values(), asyncio.create_task(asyncio.sleep(0))]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)
            self._ended.set_result(None)

    async def _call(self, method: str, path: str = "", body: str = "", **more: Any) -> Any:
        try:
            return await self._api.call(method, f"/api/sessions/{self.code}{path}", body, self._token, **more)
        except RelayError as error:
            self._finish(_END_REASONS.get(error.code or "", ""))
            raise

    # Connection

    async def _connect(self) -> None:
        failures = 0
        while not self.reason:
            busy, self._attempt = self._busy, self._attempt + 1
            try:
                await (self._poll() if busy or time.monotonic() < self._poll_until else self._listen())
                failures = failures if busy else 0
            except RelayError as error:
                failures, self._busy = failures + 1, error.code == "busy"
                if not self._busy or self.state != "polling":
                    self._set_state("disconnected", error)
                await asyncio.sleep(_backoff(failures, error))

    async def _listen(self) -> None:
        """Read the stream to its end. Raises RelayError if it does not open, or breaks at once."""
        self._opened_at, self._reconnects, broken = 0.0, False, RelayError("The stream broke.", "unreachable")
        try:
            await self._call(
                "GET",
                f"/stream?host={self._name}&attempt={self._attempt}",
                seconds=_STREAM_OPEN_SECONDS,
                headers={"Last-Event-ID": self._cursor} if self._cursor else {},
                read=partial(_read_events, partial(self._loop.call_soon_threadsafe, self._hear)),
            )
        except RelayError as error:
            if error.code not in _NETWORK:
                raise
            broken = error
        if self._reconnects or self.reason:
            return
        if self._opened_at:
            self._set_state("connecting")
            if time.monotonic() - self._opened_at < _SHORT_STREAM_SECONDS:
                raise broken
            return
        self._failed_opens += 1
        if self._failed_opens < 2 and not isinstance(broken.__cause__, TimeoutError):
            raise broken
        self._poll_until = time.monotonic() + _POLLING_SECONDS

    def _hear(self, cursor: str, event: str, text: str) -> None:
        """Take an event of the stream."""
        self._cursor, content = cursor, self._read(text)
        self._reconnects = event == "reconnect"
        if event == "open":
            self._opened_at, self._failed_opens = time.monotonic(), 0
            self._set_state("connected")
        if event in ("open", "renewed"):
            self._update_expiry(content)
        elif event == "request":
            self._accept(content.get("requests", [content]))
        elif event == "withdrawn":
            self._withdraw(content["id"])
        elif event == "ended":
            self._finish(content["reason"])

    async def _poll(self) -> None:
        """Read requests with one call, which waits for some, except for the first, which shows whether it works."""
        seconds = _POLL_SECONDS if self.state == "polling" and not self._busy else 0
        after = f"&after={self._cursor}" if self._cursor else ""
        path = f"/requests?wait={seconds}{after}&host={self._name}&attempt={self._attempt}"
        found = self._read(await self._call("GET", path, seconds=seconds + _CALL_SECONDS), "requests", "cursor")
        self._busy, self._cursor = False, found["cursor"]
        self._set_state("polling")
        self._accept(found["requests"])

    def _read(self, text: str, *names: str) -> dict[str, Any]:
        """Parse what the relay sends. Requests that cannot be read are refused, so that they do not hold up others."""
        try:
            return _parsed(text, *names)
        except RelayError as error:
            if error.code != "client_error":
                raise
            cursors = [self._cursor, *re.findall(r'"cursor":"([\d-]+)"', text)]
            return {"requests": list(_requests(text, error)), "cursor": cursors[-1]}

    async def _renew(self) -> None:
        """Renew the session when a third of its time is left, until that has no effect, at its greatest age."""
        before = ""
        while self.expires_at != before:
            left = _moment(self.expires_at) - self._clock_offset - time.time() - self._lifetime / 3
            try:
                if left > 0:
                    await asyncio.sleep(min(left, _RENEWAL_CHECK_SECONDS))
                else:
                    before = self.expires_at
                    self._update_expiry(_parsed(await self._call("PATCH"), "expiresAt"))
            except RelayError:
                before = ""
                await asyncio.sleep(_MAX_BACKOFF_SECONDS)

    def _update_expiry(self, session: dict[str, Any]) -> None:
        self.expires_at = session["expiresAt"]
        if "ttl" in session:
            self._lifetime = session["ttl"]
            self._clock_offset = _moment(self.expires_at) - time.time() - self._lifetime

    def _set_state(self, state: str, why: object = "") -> None:
        if self.state not in (state, "ended"):
            self.state = state
            _log.info("%s %s", state, why)

    def _finish(self, reason: str) -> None:
        if reason and not self.reason:
            self.reason = reason
            self._set_state("ended", reason)
            self._leaving.set()

    # Requests

    def _accept(self, requests: list[dict[str, Any]]) -> None:
        for request in requests:
            if request["id"] not in self._accepted and not self.reason:
                self._accepted.add(request["id"])
                _log.info("request %s: %s", request["id"], _excerpt(request["payload"]))
                self._running[request["id"]] = asyncio.create_task(self._handle(request["id"], request["payload"]))

    def _withdraw(self, request_id: str) -> None:
        """Forget a request, whose id a guest may use again."""
        self._accepted.discard(request_id)
        if task := self._running.pop(request_id, None):
            _log.info("withdrawn %s", request_id)
            task.cancel()

    async def _handle(self, request_id: str, payload: Any) -> None:
        over, task = threading.Event(), asyncio.current_task()
        _cancelled.set(over)
        try:
            answer = f'"result":{_json(await self._result(payload))}'
        except BaseException as error:  # noqa: BLE001 - whatever a function raises is an answer
            _log.info("request %s failed", request_id, exc_info=not isinstance(error, _NO_DEFECTS))
            answer = f'"error":{_error(error)}'
        finally:
            over.set()
        if self._running.get(request_id) is task:
            await self._answer(request_id, answer)
            self._running.pop(request_id, None)

    async def _result(self, payload: Any) -> Any:
        if isinstance(payload, RelayError):
            raise payload
        call = payload.get("params") if isinstance(payload, dict) and payload.get("method") == "tools/call" else None
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            if not self._on_request:
                raise RelayError("This host takes no other requests than the calls of its tools.", "no_handler")
            return await self._run(partial(self._on_request, payload))
        if not (tool := self._tools.get(call["name"])):
            raise RelayError(error={"code": "unknown_tool", "message": f"There is no tool {call['name']}."})
        arguments = call.get("arguments")
        try:
            return _tool_result(await self._run(tool.bind({} if arguments is None else arguments)))
        except BaseException as error:  # noqa: BLE001 - what a function raises is a result that says so
            _log.info("%s failed", tool.name, exc_info=not isinstance(error, _NO_DEFECTS))
            text = f"The arguments do not fit: {error}." if isinstance(error, _Misfit) else _told(error)
            return {"content": [{"type": "text", "text": text}], "isError": True}

    async def _run(self, function: Callable[[], Any]) -> Any:
        """Run a function, a plain one in a thread, where only so many run beside each other."""

        def run() -> tuple[Any, BaseException | None]:
            try:
                with self._slots:
                    return (None if cancelled().is_set() else function()), None
            except BaseException as error:  # noqa: BLE001 - it is raised below, in the task that can take a SystemExit
                return None, error

        if inspect.iscoroutinefunction(function):
            return await function()
        work = asyncio.create_task(_threaded(run))
        try:
            outcome, error = await asyncio.shield(work)
        except asyncio.CancelledError:
            cancelled().set()
            await asyncio.wait([work])  # the end of the session waits for a function that heeds this
            raise
        if error:
            raise error
        return await outcome if inspect.iscoroutine(outcome) else outcome

    async def _answer(self, request_id: str, answer: str) -> None:
        """Send an answer until the relay has it. If it is refused, the guest gets the refusal as an error."""
        failures, refused = 0, False
        while not self.reason:
            _log.info("answer %s: %.100s", request_id, answer)
            try:
                _parsed(await self._call("POST", "/responses", f'{{"id":"{request_id}",{answer}}}'), "status")
                return
            except RelayError as error:
                _log.info("answer %s failed: %s", request_id, error)
                failures += 1
                if error.code == "request_not_found":
                    self._accepted.discard(request_id)
                if not error.final:
                    await asyncio.sleep(_backoff(failures, error))
                elif refused or error.code in _REQUEST_CLOSED:
                    return
                else:
                    refused, answer = True, f'"error":{_error(error)}'


def _requests(text: str, error: RelayError) -> Iterator[dict[str, Any]]:
    """Yield the requests in a text, of one or of several; the payload of one that cannot be read is the error."""
    depth, begun, outermost = 0, 0, 3 if text.startswith('{"requests":') else 1
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[][{}]', text):
        depth += (token[0] in "[{") - (token[0] in "]}")
        if token[0] == "{" and depth == outermost:
            begun = token.start()
        elif token[0] == "}" and depth == outermost - 1:
            try:
                yield json.loads(text[begun : token.end()])
            except (RecursionError, ValueError):
                yield {"id": json.loads(text[begun + len('{"id":') :].partition(",")[0]), "payload": error}


def _moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()  # Python 3.10 does not read the Z


def _tool(offer: Tool | _Function) -> Tool:
    return offer if isinstance(offer, Tool) else Tool(offer)


def _error(error: BaseException) -> str:
    """Return what a guest is told of an error, as JSON."""
    code, own = getattr(error, "code", None), getattr(error, "error", None)
    told = {"name": type(error).__name__, "message": str(error)} | ({"code": code} if isinstance(code, str) else {})
    with suppress(TypeError, ValueError, RecursionError):
        return _json(told if own is None else own)
    return _json(told)


# The guest's side


class Guest:
    """A guest of a session. `guest` is its short name. All methods raise RelayError; those with an `a` are coroutines.

    The code may be in lower case, or with spaces or hyphens, for example.
    """

    def __init__(self, code: str, *, relay: str | None = None) -> None:
        self.code, self._api, self._path = code, _Api(relay), f"/api/sessions/{quote(code, safe='')}"

    def request(self, payload: Any, *, timeout: float | None = None, id: str | None = None) -> Any:
        """Send a request, and return the host's result.

        After `timeout` seconds, or at Ctrl+C, the request is withdrawn; by default it is waited for until the session
        ends. The same `id`, 1 to 64 letters, digits or `_ . : -`, with the same payload is the same request.
        """
        return _waited(self.arequest(payload, timeout=timeout, id=id))

    def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        id: str | None = None,
    ) -> dict[str, Any]:
        """Call a tool, and return its result in the words of MCP, also one with `isError`. As in `request`."""
        return dict(_waited(self.acall_tool(name, arguments, timeout=timeout, id=id)))

    def tools(self) -> list[dict[str, Any]]:
        """Return the tools that the host offers, in the words of MCP."""
        return list(_waited(self.atools()))

    async def acall_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        id: str | None = None,
    ) -> dict[str, Any]:
        """Call a tool as `call_tool` does."""
        payload = {"method": "tools/call", "params": {"name": name, "arguments": arguments or {}}}
        return _tool_result(await self.arequest(payload, timeout=timeout, id=id))

    async def atools(self) -> list[dict[str, Any]]:
        """Return the tools as `tools` does."""
        failures = 0
        while True:
            try:
                return list(_parsed(await self._api.call("GET", f"{self._path}/tools"), "tools")["tools"])
            except RelayError as error:  # noqa: PERF203
                failures += 1
                if error.final or error.status == 429 or failures > _RETRIES:
                    raise
                await asyncio.sleep(_backoff(failures, error))

    async def arequest(self, payload: Any, *, timeout: float | None = None, id: str | None = None) -> Any:
        """Send a request as `request` does. If this is cancelled, the request is withdrawn."""
        request_id = os.urandom(8).hex() if id is None else id
        body = f'{{"id":{_json(request_id)},"payload":{_json(payload)}}}'
        try:
            return await asyncio.wait_for(self._ask(request_id, body), timeout)
        except (asyncio.TimeoutError, asyncio.CancelledError) as stopped:
            with suppress(RelayError):
                await self._api.call("DELETE", self._message("requests", request_id), seconds=_LAST_SECONDS)
            if isinstance(stopped, asyncio.CancelledError):
                raise
            raise RelayError("The host did not answer in time.", "timeout") from None

    async def _ask(self, request_id: str, body: str) -> Any:
        """Post a request, and wait for its result. Sending it again is safe, since the id stays the same."""
        accepted = posted = busy = False  # whether the relay has it; may have it; had no place for a call that waits
        failures, failing_since = 0, 0.0
        while True:
            seconds = 0 if busy else _POLL_SECONDS
            path = self._message("responses", request_id) if accepted else f"{self._path}/requests?"
            method, content = ("GET", "") if accepted else ("POST", body)
            try:
                answer = await self._api.call(method, f"{path}wait={seconds}", content, seconds=seconds + _CALL_SECONDS)
                response = _parsed(answer, "id", "status")
            except RelayError as error:
                if error.final or (error.status == 429 and not posted):
                    raise
                busy, now = error.code == "busy", time.monotonic()
                posted = posted or not busy
                failing_since = 0.0 if error.status == 429 or (busy and seconds) else failing_since or now
                if failing_since and now - failing_since > _RETRY_SECONDS:
                    raise
                failures += 1
                await asyncio.sleep(_backoff(failures, error))
                continue
            if response["status"] == "answered":
                return _result_of(response)
            accepted, posted, failures = True, True, failures if busy else 0
            busy, failing_since = False, 0.0

    def _message(self, kind: str, request_id: str) -> str:
        """Return the path of a request or response, to which parameters can be added."""
        if request_id in (".", ".."):  # which would name a folder
            return f"/api/{kind}?code={quote(self.code)}&id={request_id}&"
        return f"{self._path}/{kind}/{quote(request_id, safe='')}?"


def _waited(work: Coroutine[Any, Any, Any]) -> Any:
    """Return the outcome of a coroutine, also where an event loop runs already, as in notebooks."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _result_of(response: dict[str, Any]) -> Any:
    if "result" in response:
        return response["result"]
    error = response.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    raise RelayError(message if isinstance(message, str) else "The host answered with an error.", error=error)


host, guest = Session, Guest

# The command


def _offered(path: Path) -> list[Tool]:
    """Return the public functions that a file defines. Raises what running it does."""
    sys.modules["relay"] = sys.modules[__name__]  # for `from relay import cancelled`
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or not spec or not spec.loader:
        raise ImportError("this is no Python file")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {name: one for name, one in vars(module).items() if inspect.isroutine(inspect.unwrap(one))}
    own = [name for name, one in found.items() if name[0] != "_" and one.__module__ == module.__name__]
    return [Tool(found[name], name) for name in getattr(module, "__all__", own) if name in found]


def _host(options: argparse.Namespace) -> int:
    """Offer a file's functions until Ctrl+C. What they print goes to standard error."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.default_int_handler)
    try:
        tools = _offered(Path(options.file))
    except (Exception, SystemExit) as error:
        _log.info("%s", options.file, exc_info=True)
        raise ValueError(f"{options.file}: {_told(error)}") from error
    if not tools:
        raise ValueError(f"{options.file} has no public functions")
    session = Session(tools, relay=options.relay)
    with output, suppress(KeyboardInterrupt), session:
        print(f"{session.code[:4]}-{session.code[4:]}\n{session.mcp_url}", file=output, flush=True)
        print(f"Offers {', '.join(tool.name for tool in tools)}. Ctrl+C ends the session.", file=sys.stderr)
        session.wait()
    if session.reason not in ("", "ended"):
        raise RelayError(f"The session has ended: {session.reason}.", session.reason)
    return 0


def _ask(options: argparse.Namespace) -> int:
    return _show(options.guest.request(_json_or_text(options.payload), timeout=options.timeout))


def _list(options: argparse.Namespace) -> int:
    return _show(options.guest.tools())


def _call(options: argparse.Namespace) -> int:
    """Call a tool. The value of an argument is JSON, else text; that of a string parameter is always text."""
    given = [pair.partition("=") for pair in vars(options)["arg=value"]]
    if wrong := [name for name, equals, _ in given if not equals]:
        raise ValueError(f"{wrong[0]} is not ARG=VALUE")
    schemas = {tool["name"]: tool["inputSchema"].get("properties", {}) for tool in options.guest.tools()}
    kinds = {name: kind.get("type") for name, kind in schemas.get(options.name, {}).items()}
    arguments = {name: text if kinds.get(name) == "string" else _json_or_text(text) for name, _, text in given}
    result = options.guest.call_tool(options.name, arguments, timeout=options.timeout)
    texts = [block.get("text") for block in result["content"] if block["type"] == "text"]
    whole = result if len(texts) < len(result["content"]) else "\n".join(map(str, texts))
    if result.get("isError"):
        raise RelayError(error=whole)
    return _show(result.get("structuredContent", whole))


def _json_or_text(text: str) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text, parse_constant=int)  # which raises ValueError: NaN is no JSON
    return text


def _show(value: Any, file: Any = None, status: int = 0) -> int:
    print(value if isinstance(value, str) else _json(value), file=file, flush=True)
    return status


def main() -> int:
    """Run the command, and return its exit status."""
    parser = argparse.ArgumentParser(prog="relay.py", description="Offer functions as tools, or use those of a host.")
    parser.epilog = "Exit status: 1 for an error of the host or tool, 2 for wrong usage, 3 for a refusal or no answer."
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, name, told, places in (
        (_host, "host", "offer the public functions of a Python file as tools, until Ctrl+C", ["FILE"]),
        (_ask, "ask", "send a request (JSON, else text), and print its result", ["CODE", "PAYLOAD"]),
        (_list, "tools", "list the tools of a session", ["CODE"]),
        (_call, "call", "call a tool (with JSON, else text), and print its result", ["CODE", "NAME", "ARG=VALUE"]),
    ):
        command = commands.add_parser(name, help=told, description=told)
        command.set_defaults(run=run)
        for place in places:
            command.add_argument(place.lower(), metavar=place, nargs="*" if "=" in place else None)
        if run in (_ask, _call):
            command.add_argument("--timeout", type=float, metavar="SECONDS", help="default: until the session ends")
    for one in (parser, *commands.choices.values()):
        one.add_argument("--relay", metavar="URL", default=argparse.SUPPRESS, help="default: PARLEY_URL")
        one.add_argument("--verbose", action="store_true", default=argparse.SUPPRESS, help="show what comes and goes")
    parser.set_defaults(relay=None, verbose=False)
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    _log.setLevel(logging.DEBUG if options.verbose else logging.WARNING)
    try:
        options.guest = Guest(options.code, relay=options.relay) if "code" in options else None
        return int(options.run(options))
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    except RelayError as error:
        is_own = error.code is None
        return _show(error.error if is_own and error.error is not None else str(error), sys.stderr, 1 if is_own else 3)
    except KeyboardInterrupt:
        return 3


if __name__ == "__main__":
    exit_status = main()
    if any(thread.name == "relay" for thread in threading.enumerate()):  # a function that does not end
        sys.stderr.flush()
        os._exit(exit_status)
    sys.exit(exit_status)
