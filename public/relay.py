# /// script
# requires-python = ">=3.10"
# ///
"""The client of Parley for Python 3.10 and newer, one file that needs nothing else.

    from relay import guest, host

    with host([add, weather], relay="https://…") as session:  # offers two functions as tools
        print(session.code, session.mcp_url, session.wait())
    guest("ABC1-2345", relay="https://…").call_tool("add", {"a": 1, "b": 2})

In asyncio: `async with host(…) as session: await session.await_end()`, `await guest(…).acall_tool(…)`. As a command:
`python relay.py --help`. The logger `relay` tells what comes and goes, at the level INFO.
"""

import argparse
import asyncio
import contextvars
import dataclasses
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
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial, partialmethod
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import quote, urlsplit

_STREAM_IDLE_SECONDS = 40  # more than two of the relay's keep-alive comments, which it sends every 15 s
_SHORT_STREAM_SECONDS = 5  # a stream that breaks sooner counts as a failure, so that there is a backoff
_POLL_SECONDS = 25  # a call may take 20 more
_RETRY_SECONDS = 30  # how long a guest tries again without a single success
_END_REASONS = {"session_not_found": "expired", "session_ended": "ended", "replaced": "replaced"}  # code -> reason
_END_REASONS |= {"host_token_required": "host_token_required", "host_token_wrong": "host_token_wrong"}
_NETWORK = ("unreachable", "unexpected_answer")  # the codes of errors that are no refusals of the relay's

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_NAMES |= {list: "array", dict: "object"}
_SECTION = re.compile(r"^(?:Args|Arguments|Parameters|Attributes):[ \t]*\n((?:[ \t]+.*(?:\n|$)|\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^([ \t]+)\*{0,2}(\w+)(?:[ \t]*\(.*?\))?:[ \t]*(.*(?:\n\1[ \t]+.*)*)", re.MULTILINE)
_AFTER_FIRST = re.compile(r"\n\s*\n|^\w+:[ \t]*$|^\w+\(.*\)$", re.MULTILINE)  # the last: by dataclass()
# A request as the relay writes it, in an event or in a list, where it has a cursor.
_REQUEST = re.compile(r'\{"id":"([^"]+)","payload":(.*?),"createdAt":"[^"]*"(?:,"cursor":"[^"]*")?\}', re.DOTALL)

_log = logging.getLogger("relay")
_Object = dict[str, Any]  # of JSON
_cancelled: "contextvars.ContextVar[_Over]" = contextvars.ContextVar("cancelled")


class RelayError(Exception):
    """What a call to the relay, or a request, fails with.

    `code` is that of a problem document, `timeout`, `unreachable`, `unexpected_answer`, `client_error`, or None for an
    `error` of the host's. `status` is that of HTTP, `retry_after` in seconds. `final`: the same call would fail again.
    """

    def __init__(self, message: str = "", code: str = "", status: int = 0, after: int = 0, error: Any = None) -> None:
        super().__init__(message)
        self.code, self.status, self.retry_after, self.error = code or None, status or None, after or None, error
        self.final = code not in _NETWORK and status < 500 and status != 429


def _json(value: Any) -> str:
    """Write a value as JSON. Raises TypeError, ValueError or RecursionError for what is none."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    return json.dumps(json.loads(text)) if re.search("[\ud800-\udfff]", text) else text


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if type(value).__module__.partition(".")[0] in ("datetime", "decimal", "pathlib", "uuid"):
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _parsed(text: str, *names: str) -> _Object:
    """Parse what the relay has sent: an object that has members of these names. Raises RelayError."""
    try:
        found: Any = json.loads(text)
    except (RecursionError, ValueError):  # perhaps of a payload, too deep or with too long a number: it stays as it is
        requests = [{"id": one, "payload": payload.encode()} for one, payload in _REQUEST.findall(text)]
        found = requests and {"requests": requests, "cursor": text.rpartition('"cursor":"')[2].partition('"')[0]}
    if isinstance(found, dict) and found.keys() >= set(names):
        return found
    raise RelayError("What answered is not the relay, or cannot be read.", "unexpected_answer")


@cache
def _schema(hint: Any) -> _Object:
    """Return the JSON Schema of a type. Raises TypeError for one that has none."""
    cls, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if hint in (Any, object):
        return {}
    if cls in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(part) for part in parts]}
    if cls is Literal:
        return {"enum": json.loads(_json(parts))}
    if dataclasses.is_dataclass(cls) or typing.is_typeddict(cls):
        return _object(cls, cls.__dict__.get("__doc__"))
    if cls not in _NAMES or (cls is dict and parts[:1] not in ((), (str,))):
        raise TypeError(f"for {hint!r} there is no JSON Schema")
    inner = {list: "items", dict: "additionalProperties"}.get(cls)
    return {"type": _NAMES[cls]} | ({inner: _schema((*parts, Any)[parts[1:] != ()])} if inner else {})


def _object(of: Any, doc: str | None) -> _Object:
    """Return the schema of a function's arguments, a dataclass or a TypedDict, which a docstring describes."""
    hints, doc = typing.get_type_hints(of), inspect.cleandoc(doc or "")
    if typing.is_typeddict(of):
        needed = {name for name in of.__required_keys__ if "NotRequired[" not in str(of.__annotations__[name])}
        defaults = {name: inspect.Parameter.empty if name in needed else ... for name in hints}
    else:
        given = inspect.signature(of).parameters.values()
        defaults = {one.name: one.default for one in given if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    texts = {name: " ".join(text.split()) for part in _SECTION.findall(doc) for _, name, text in _ENTRY.findall(part)}
    told = {name: {"description": text} for name, text in texts.items() if text}
    properties = {name: _schema(hints.get(name, Any)) | told.get(name, {}) for name in defaults}
    for name, default in defaults.items():
        with suppress(TypeError, ValueError):  # it is required, not known, or no JSON
            properties[name]["default"] = json.loads(_json(default))
    required = [name for name, default in defaults.items() if default is inspect.Parameter.empty]
    first = " ".join(_AFTER_FIRST.split(doc, maxsplit=1)[0].split())
    shape = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return ({"description": first} if first else {}) | shape


def _misfits(schema: _Object, value: Any, where: str = "") -> Iterator[str]:
    """Tell what of a value does not fit a schema that `_schema` has made, and why."""
    kind, told = schema.get("type"), f"{json.dumps(value, ensure_ascii=False):.100}"
    own = "integer" if isinstance(value, float) and value.is_integer() else _NAMES[type(value)]
    if "anyOf" in schema:
        whys = ["; ".join(_misfits(part, value, where)) for part in schema["anyOf"]]
        if all(whys):
            yield ", or ".join(whys)
    elif "enum" in schema:
        options = [_json(option) for option in schema["enum"]]
        if _json(value) not in options:
            yield f"{where} must be one of {', '.join(options)}, not {told}"
    elif kind and kind != own and (kind, own) != ("number", "integer"):
        yield f"{where or 'this'} must be of the type {kind}, not {told}"
    elif kind == "array":
        for place, part in enumerate(value):
            yield from _misfits(schema["items"], part, f"{where}[{place}]")
    elif kind == "object":
        at, known, others = f"{where}." if where else "", schema.get("properties", {}), schema["additionalProperties"]
        yield from (f"{at}{name} is missing" for name in schema.get("required", ()) if name not in value)
        for name, part in value.items():
            if name not in known and others is False:
                yield f"{at}{name} is not known, only {', '.join(known) or 'nothing'}"
            else:
                yield from _misfits(known.get(name, others), part, f"{at}{name}")


def _made(hint: Any, value: Any) -> Any:
    """Return the value of a type that a JSON value stands for, which fits."""
    cls, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if cls in (typing.Union, types.UnionType):
        return _made(next(part for part in parts if not any(_misfits(_schema(part), value))), value)
    if dataclasses.is_dataclass(cls) or typing.is_typeddict(cls):
        return _bound(cls, value)()
    if cls is list:
        return [_made((*parts, Any)[0], part) for part in value]
    if cls is dict:
        return {name: _made((*parts, Any, Any)[1], part) for name, part in value.items()}
    return cls(value) if cls in (int, float) else value


def _bound(of: Any, values: _Object) -> partial[Any]:
    hints = typing.get_type_hints(of)
    return partial(of, **{name: _made(hints.get(name, Any), value) for name, value in values.items()})


def _tool(name: str, function: Any) -> _Object:
    """Describe a function in the words of MCP. Raises TypeError for one that cannot be a tool."""
    try:
        schema = _object(function, inspect.getdoc(function))
    except (TypeError, ValueError, NameError, AttributeError, RecursionError) as error:
        raise TypeError(f"{name} cannot be a tool: {type(error).__name__}: {error}") from error
    described = {"description": schema.pop("description")} if "description" in schema else {}
    return {"name": name, **described, "inputSchema": schema}


def _tool_result(value: Any) -> _Object:
    """Return what a tool has returned in the words of MCP. Raises as `_json` does."""
    text = _json(value)
    plain = json.loads(text)
    content = plain.get("content") if isinstance(plain, dict) else None
    if isinstance(content, list) and all(isinstance(b, dict) and isinstance(b.get("type"), str) for b in content):
        return dict(plain)
    told = {"content": [{"type": "text", "text": plain if isinstance(plain, str) else text}]}
    return told if isinstance(plain, str) else told | {"structuredContent": plain}


def _error(error: BaseException) -> str:
    code, own = getattr(error, "code", None), getattr(error, "error", None)
    told = {"name": type(error).__name__, "message": str(error)} | ({"code": code} if isinstance(code, str) else {})
    with suppress(TypeError, ValueError, RecursionError):
        return _json(told if own is None else own)
    return _json(told)


class _Over(threading.Event):
    """Is set when nobody waits for some work any more, and then stops what the work itself waits for."""

    stop: Callable[[], object] = bool  # does nothing

    def set(self) -> None:
        super().set()
        self.stop()


def cancelled() -> _Over:
    """Return what is set when nobody waits for this call any more: a slow function asks `cancelled().is_set()`."""
    return _cancelled.get(_Over())


def _start(over: _Over, work: Callable[..., Any], *arguments: Any) -> None:
    """Run work in a thread that does not keep the interpreter from ending, and in which `over` is `cancelled()`."""
    context = contextvars.copy_context()
    context.run(_cancelled.set, over)
    threading.Thread(target=context.run, args=(work, *arguments), daemon=True).start()


async def _awaited(of: Any, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return what a method does in a thread. If this is cancelled, `cancelled()` is set in it."""
    over, context, call = _Over(), contextvars.copy_context(), partial(work, of, *arguments, **named)
    context.run(_cancelled.set, over)
    try:
        return await asyncio.get_running_loop().run_in_executor(ThreadPoolExecutor(1), context.run, call)
    except asyncio.CancelledError:
        over.set()
        raise


@cache
def _shared_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop for coroutines of programs that have none. It runs in a thread, until the program ends."""
    loop = asyncio.new_event_loop()

    def run() -> None:
        while True:
            with suppress(SystemExit, KeyboardInterrupt):  # which a coroutine may raise
                loop.run_forever()

    threading.Thread(target=run, daemon=True).start()
    return loop


def _backoff(failures: int, error: RelayError) -> float:  # in seconds
    seconds = min(15, 0.5 * 2.0 ** min(failures - 1, 10))
    return max(seconds * random.uniform(0.5, 1), float(error.retry_after or 0))  # noqa: S311


class _Api:
    """The relay's HTTP API; `failed` is told the code of each error. Raises ValueError for a relay that is no URL."""

    def __init__(self, relay: str, failed: Callable[[str], None] = lambda _: None) -> None:
        self.url, self._failed = (relay or os.environ.get("PARLEY_URL", "")).rstrip("/"), failed
        self.headers = {"User-Agent": "relay.py"}
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError(f"relay, or PARLEY_URL, has to be a URL that begins with https://, not {self.url!r}")
        https = urllib.request.HTTPSHandler(context=ssl.create_default_context())  # made once, since it takes long
        still = type("", (urllib.request.HTTPRedirectHandler,), {"redirect_request": lambda *_: None})
        self._opener = urllib.request.build_opener(https, still)  # without redirects: a token goes nowhere else

    def call(self, method: str, path: str, *names: str, body: str = "", limit: float = 20, hear: Any = None) -> _Object:
        """Return the answer, an object with these members, or let `hear` read it. `limit`: seconds without a byte."""
        headers, data = self.headers | ({"Content-Type": "application/json"} if body else {}), body.encode() or None
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - it is checked
        if data and len(data) > 4_000_000:  # the platform refuses 4.5 MB
            raise RelayError("The message is too large.", "payload_too_large", 413)
        try:
            with self._opener.open(request, timeout=limit) as response:
                _log.debug("%s %s: %d", method, path, response.status)
                text = hear(response) if hear else response.read().decode()
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            failure = _failure(error)
            _log.debug("%s %s: %s", method, path, failure)
            self._failed(failure.code or "")
            raise failure from error
        return _parsed(text, *names) if names else {}


def _failure(error: Any) -> RelayError:
    """Return what a call fails with: the relay's refusal, or what is not the relay's, or the network's failure."""
    if not isinstance(error, urllib.error.HTTPError):
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return RelayError(f"The relay cannot be reached: {type(reason).__name__}: {reason}", "unreachable")
    place, after = error.headers.get("Location", ""), error.headers.get("Retry-After", "")
    problem = {"code": "unexpected_answer", "detail": f"What answered is not the relay: HTTP {error.code} {place}"}
    if error.code == 413:
        problem = {"code": "payload_too_large", "detail": "The message is too large."}
    with error, suppress(ValueError, TypeError, RecursionError, OSError, http.client.HTTPException):
        problem |= json.loads(error.read())
    seconds = int(after) if after.isdecimal() else 0
    return RelayError(str(problem["detail"]), str(problem["code"]), error.code, seconds)


class Session:
    """The host's side of a session, which lasts as long as a `with` or `async with` block. `host` is its short name.

    `tools` are functions, or name -> function. Each call runs once, beside others: a coroutine in the block's event
    loop or one of this module, others in up to `workers` threads. `on_request(payload)` answers other requests. `relay`
    is by default PARLEY_URL. Raises RelayError; TypeError or ValueError for wrong use.

    `code` is for guests, `mcp_url` an MCP server with the tools. `state`: `connecting`, `connected`, `polling` (without
    stream), `disconnected` or `ended`, with a `reason`: `ended`, `expired`, `replaced`, or a problem's code.
    """

    code = mcp_url = reason = _path = ""
    state, _opened_at = "connecting", 0.0  # the latter: when the stream began
    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, tools: Any = (), on_request: Any = None, *, relay: str = "", workers: int = 8) -> None:
        self._api = _Api(relay, lambda code: self._finish(_END_REASONS.get(code, "")))
        named = tools if isinstance(tools, Mapping) else {getattr(one, "__name__", repr(one)): one for one in tools}
        self._tools = {name: (function, _tool(name, function)) for name, function in named.items()}
        if not self._tools and not on_request:
            raise TypeError("host() needs tools, which are public functions, or on_request")
        self._on_request, self._slots = on_request, threading.Semaphore(workers)
        self._name = os.urandom(8).hex()  # the relay prefers the host that came last
        self._accepted = set[str]()  # the ids of all requests: the relay may repeat them
        self._running, self._over = dict[str, _Over](), _Over()

    def __enter__(self) -> "Session":
        try:
            session = self._api.call("POST", "/api/sessions", "code", "token", "expiresAt", "ttl")
            self.code, self._api.headers["Authorization"] = session["code"], f"Bearer {session['token']}"
            self.mcp_url, self._path = f"{self._api.url}/mcp/{self.code}", f"/api/sessions/{self.code}"
            if self._tools:
                tools = [tool for _, tool in self._tools.values()]
                self._api.call("PUT", f"{self._path}/tools", body=_json({"tools": tools}))
        except BaseException:
            self.end()
            raise
        _start(self._over, self._live)
        _start(self._over, self._renew, session)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        for _turn in range(200):  # 2 s for functions that look at `cancelled()`
            time.sleep(0.01 if self._running else 0)

    async def __aenter__(self) -> "Session":
        self._loop = asyncio.get_running_loop()
        await _awaited(self, Session.__enter__)
        return self

    __aexit__ = partialmethod(_awaited, __exit__)

    def end(self) -> None:
        """End the session, for guests too."""
        if self.code and not self.reason:
            with suppress(RelayError):
                self._api.call("DELETE", self._path, limit=5)
        self._finish("ended")

    def wait(self) -> str:
        """Wait for the end of the session, and return the `reason`. `await_end` is the same for asyncio programs."""
        while not self._over.wait(1):
            pass  # on Windows, Ctrl+C is heard between two waits
        return self.reason

    await_end = partialmethod(_awaited, wait)

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

    def _live(self) -> None:
        attempt, failures, poll_until, busy = 0, 0, 0.0, False  # busy: the relay had no place for a call that waits
        while not self.reason:
            attempt, self._opened_at, was_busy = attempt + 1, float("inf"), busy
            host, polls = f"host={self._name}&attempt={attempt}", busy or time.monotonic() < poll_until
            try:
                if polls:  # the first call does not wait, and shows whether it works
                    wait = _POLL_SECONDS if self.state == "polling" and not busy else 0
                    path = f"{self._path}/requests?wait={wait}&{host}"
                    found = self._api.call("GET", path, "requests", "cursor", limit=wait + 20)
                    busy, self._api.headers["Last-Event-ID"] = False, found["cursor"]
                    self._set_state("polling")
                    self._accept(found["requests"])
                else:  # a proxy that buffers the stream lets nothing through for so many seconds
                    self._api.call("GET", f"{self._path}/stream?{host}", limit=8, hear=self._hear)
                failures = failures if was_busy else 0
            except RelayError as error:
                lost, lasted = error.code in _NETWORK and not polls, time.monotonic() - self._opened_at
                if lost and lasted >= _SHORT_STREAM_SECONDS:
                    failures = 0
                    self._set_state("connecting")
                elif lost and lasted < 0 and (failures or isinstance(error.__cause__, TimeoutError)):
                    poll_until = time.monotonic() + 300  # then the stream is tried again
                else:
                    failures, busy = failures + 1, error.code == "busy"
                    if not busy or self.state != "polling":
                        self._set_state("disconnected", error)
                    self._over.wait(_backoff(failures, error))

    def _hear(self, stream: http.client.HTTPResponse) -> None:
        """Read a stream until the relay wants another one. It writes one line of data for each event."""
        fields = {"id": "", "event": "", "data": ""}
        while (line := stream.readline()).endswith(b"\n"):
            name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
            if name in fields:
                fields[name] = value.removeprefix(" ")
            if line.strip() or not fields["data"]:
                continue
            self._api.headers["Last-Event-ID"], event = fields["id"], fields["event"]
            content, fields["data"] = _parsed(fields["data"]), ""
            if event == "open":
                self._opened_at = time.monotonic()
                cast(Any, stream).fp.raw._sock.settimeout(_STREAM_IDLE_SECONDS)
                self._set_state("connected")
            elif event == "request":
                self._accept(content.get("requests", [content]))
            elif event == "ended":
                self._finish(content["reason"])
            elif event == "withdrawn":  # its id may be used again
                self._accepted.discard(content["id"])
                if over := self._running.pop(content["id"], None):
                    _log.info("withdrawn %s", content["id"])
                    over.set()
            elif event == "reconnect":
                return
        raise RelayError("The stream broke.", "unreachable")

    def _renew(self, session: _Object) -> None:
        """Renew the session when a third of its time is left, until that has no effect, at its greatest age."""
        before, due = "", time.time() + session["ttl"] * 2 / 3
        while session["expiresAt"] != before and not self._over.wait(min(20, max(0, due - time.time()))):
            with suppress(RelayError):  # timers stand still while the machine sleeps, so the clock is read often
                if time.time() >= due:
                    due = time.time() + 15  # if this fails
                    before, session = session["expiresAt"], self._api.call("PATCH", self._path, "expiresAt", "ttl")
                    due = time.time() + session["ttl"] * 2 / 3

    def _accept(self, requests: list[_Object]) -> None:
        for request in requests:
            if request["id"] not in self._accepted and not self.reason:
                self._accepted.add(request["id"])
                over = self._running[request["id"]] = _Over()
                _start(over, self._handle, over, request["id"], request["payload"])

    def _handle(self, over: _Over, request_id: str, payload: Any) -> None:
        """Answer a request, again until the relay has the answer. If it is refused, the guest is told why."""
        try:
            _log.info("request %s: %.100s", request_id, json.dumps(payload, default=str))
            answer = f'"result":{_json(self._result(payload))}'
        except BaseException as error:  # noqa: BLE001 - whatever a function raises is an answer
            _log.info("request %s failed", request_id, exc_info=True)
            answer = f'"error":{_error(error)}'
        failures, refused = 0, False
        while not over.is_set():
            _log.info("answer %s: %.100s", request_id, answer)
            try:
                self._api.call("POST", f"{self._path}/responses", "status", body=f'{{"id":"{request_id}",{answer}}}')
                break
            except RelayError as error:
                failures += 1
                if error.code == "request_not_found":  # the guest has withdrawn it
                    self._accepted.discard(request_id)
                if not error.final:
                    over.wait(_backoff(failures, error))
                elif refused or error.code in ("already_answered", "request_not_found"):
                    break
                else:
                    refused, answer = True, f'"error":{_error(error)}'
        if self._running.get(request_id) is over:
            del self._running[request_id]

    def _result(self, payload: Any) -> Any:
        try:
            payload = json.loads(payload) if isinstance(payload, bytes) else payload
        except (RecursionError, ValueError) as error:
            raise RelayError(f"The host cannot read this: {error}", "client_error") from error
        call = payload.get("params") if isinstance(payload, dict) and payload.get("method") == "tools/call" else None
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            if not self._on_request:
                raise RelayError("This host takes no other requests than the calls of its tools.", "no_handler")
            return self._run(partial(self._on_request, payload))
        if call["name"] not in self._tools:
            raise RelayError(error={"code": "unknown_tool", "message": f"There is no tool {call['name']}."})
        (function, definition), arguments = self._tools[call["name"]], call.get("arguments")
        arguments = {} if arguments is None else arguments
        try:
            if not (why := "; ".join(_misfits(definition["inputSchema"], arguments))):
                return _tool_result(self._run(_bound(function, arguments)))
            text = f"The arguments do not fit: {why}."
        except BaseException as error:  # noqa: BLE001 - what a function raises is a result that says so
            _log.info("%s failed", call["name"], exc_info=True)
            text = f"{type(error).__name__}: {error}"
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


class Guest:
    """A guest of a session. `guest` is its short name. All methods raise RelayError.

    `arequest`, `acall_tool` and `atools` are the same as `request`, `call_tool` and `tools` for asyncio programs; when
    they are cancelled, the request is withdrawn.
    """

    def __init__(self, code: str, *, relay: str = "") -> None:
        self.code, self._api, self._path = code, _Api(relay), f"/api/sessions/{quote(code, safe='')}"

    def request(self, payload: Any, *, timeout: float | None = None, id: str = "") -> Any:
        """Send a request, and return the host's result.

        After `timeout` seconds, by default at the session's end, or at Ctrl+C it is withdrawn. The same `id`, 1 to 64
        letters, digits or `_ . : -`, with the same payload is the same request.
        """
        request_id, over = id or os.urandom(8).hex(), cancelled()
        body = f'{{"id":{_json(request_id)},"payload":{_json(payload)}}}'
        query = f"?code={quote(self.code)}&id={quote(request_id)}"

        def withdraw() -> None:
            with suppress(RelayError):
                self._api.call("DELETE", f"/api/requests{query}", limit=5)

        over.stop = partial(_start, _Over(), withdraw)
        accepted = busy = False  # whether the relay has it; had no place for a call that waits
        failures, since = 0, time.monotonic()  # the last sign of life
        until = since + (float("inf") if timeout is None else timeout)
        try:
            while (left := until - time.monotonic()) > 0 and not over.is_set():
                wait = 0 if busy else _POLL_SECONDS
                method, path = ("GET", f"/api/responses{query}&") if accepted else ("POST", f"{self._path}/requests?")
                text, limit = "" if accepted else body, min(left, wait + 20)
                try:  # sending it again is safe, since the id stays the same
                    response = self._api.call(method, f"{path}wait={wait}", "id", "status", body=text, limit=limit)
                except RelayError as error:
                    if error.final or (error.status == 429 and not (accepted or failures)):
                        raise
                    failures, busy = failures + 1, error.code == "busy"
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
                    told = own.get("message") if isinstance(own, dict) else own
                    raise RelayError(told if isinstance(told, str) else "The host answered with an error.", error=own)
                accepted, busy, failures, since = True, False, failures if busy else 0, time.monotonic()
            raise RelayError("The host did not answer in time.", "timeout")
        except BaseException as error:
            if not isinstance(error, RelayError) or error.code == "timeout":
                withdraw()
            raise

    def call_tool(self, name: str, arguments: Any = None, *, timeout: float | None = None, id: str = "") -> _Object:
        """Call a tool, and return its result in the words of MCP, also one with `isError`. As in `request`."""
        payload = {"method": "tools/call", "params": {"name": name, "arguments": arguments or {}}}
        return _tool_result(self.request(payload, timeout=timeout, id=id))

    def tools(self) -> list[_Object]:
        """Return the tools that the host offers, in the words of MCP."""
        return list(self._api.call("GET", f"{self._path}/tools", "tools")["tools"])

    arequest, acall_tool = partialmethod(_awaited, request), partialmethod(_awaited, call_tool)
    atools = partialmethod(_awaited, tools)


def _host(file: str, relay: str) -> None:
    """Offer the public functions that a file defines until Ctrl+C. What they print goes to standard error."""
    output, sys.stdout, path = sys.stdout, sys.stderr, Path(file)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.modules["relay"] = sys.modules[__name__]  # for `from relay import cancelled`
        sys.path.insert(0, str(path.resolve().parent))
        if not path.is_file():
            raise ImportError("this is no Python file")
        sys.modules.pop(path.stem, None)  # what else has the file's name
        module = importlib.import_module(path.stem)
        found = {name: one for name, one in vars(module).items() if inspect.isroutine(inspect.unwrap(one))}
        own = [name for name, one in found.items() if name[0] != "_" and one.__module__ == module.__name__]
        tools = {name: found[name] for name in getattr(module, "__all__", own) if name in found}
        session = Session(tools, relay=relay)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{file}: {type(error).__name__}: {error}") from error
    with suppress(KeyboardInterrupt), session:
        print(f"{session.code[:4]}-{session.code[4:]}\n{session.mcp_url}", file=output, flush=True)
        print(f"Offers {', '.join(tools)}. Ctrl+C ends the session.", file=sys.stderr)
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
    common.add_argument("--timeout", type=float, metavar="SECONDS", help="how long ask and call wait for an answer")
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
    options = vars(parser.parse_args())
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    _log.setLevel(logging.DEBUG if "verbose" in options else logging.WARNING)
    try:
        if options["command"] == "host":
            _host(options["file"], options.get("relay", ""))
            return 0
        one = Guest(options["code"], relay=options.get("relay", ""))
        if options["command"] == "ask":
            found = one.request(_json_or_text(options["payload"]), timeout=options.get("timeout"))
        elif options["command"] == "tools":
            found = one.tools()
        else:
            found = _call(one, options["name"], options["arg=value"], options.get("timeout"))
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


host, guest = Session, Guest
if __name__ == "__main__":
    sys.exit(main())
