"""A host with tools, as a program: it registers them, listens, and answers each call in a thread of its own."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

from dev.events import Event, events_of
from tests.support.tools import PATIENCE_SECONDS, wait_until

# One for all: making a client reads all certificates.
_http = httpx.Client(timeout=PATIENCE_SECONDS, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))


class Raw(str):
    """An answer as JSON text, sent to the letter."""

    __slots__ = ()


class Refused(Exception):
    """What a tool raises to answer with an `error`, any JSON."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        self.error = error


class Tool(NamedTuple):
    """What is registered of a tool, and the function that is called with the arguments and returns the result.

    A function that takes its time can ask its `ToolHost` what was withdrawn meanwhile.
    """

    execute: Callable[[Any], Any]
    fields: Mapping[str, Any] = {}


class Held:
    """A tool that answers when it is let; the next call waits again."""

    def __init__(self, then: Any = 1) -> None:
        self.then = then
        self.go = threading.Event()

    @property
    def tool(self) -> Tool:
        """Return what a host registers."""
        return Tool(self.execute)

    def execute(self, _: Any) -> Any:
        """Wait, and answer."""
        self.go.wait(PATIENCE_SECONDS)
        self.go.clear()
        if isinstance(self.then, Refused):
            raise self.then
        return self.then


class ToolHost:
    """A host of a session of its own, in the `with` block. Its stream is open when the block begins.

    `tools` are by name; a request that is no tool call goes to `on_request`. `asked` has every request and `payloads`
    what they ask, as text; `withdrawn` has the ids of those that were withdrawn; `guests` has the MCP clients that have
    listed the tools; all in their order.
    """

    def __init__(
        self,
        url: str,
        tools: Mapping[str, Tool] | None = None,
        on_request: Callable[[Any], Any] | None = None,
        session: Mapping[str, Any] | None = None,
    ) -> None:
        self.tools = dict(tools or {})
        self.asked: list[dict[str, Any]] = []
        self.payloads: list[str] = []
        self.withdrawn: list[str] = []
        self.guests: list[Any] = []
        self.ended = ""
        self._on_request = on_request
        self._base = url
        given = session or _http.post(f"{url}/api/sessions").raise_for_status().json()
        self.code: str = given["code"]
        self.headers = {"Authorization": f"Bearer {given['token']}"}
        self.url = f"{url}/api/sessions/{self.code}"
        self.mcp_url = f"{url}/mcp/{self.code}"
        self._open = threading.Event()
        self._answer: httpx.Response | None = None
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        if self.tools:
            self.register()
        self._thread.start()
        assert self._open.wait(PATIENCE_SECONDS), "the stream does not open"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def register(self) -> None:
        """Tell the relay of the tools, as they are now."""
        listed = [{"name": name, **tool.fields} for name, tool in self.tools.items()]
        answer = self._send("PUT", "tools", {"tools": listed})
        assert answer.status_code == 204, answer.text

    def report(self, request_id: str, progress: float, **more: Any) -> httpx.Response:
        """Report progress of a request."""
        return self._send("POST", "progress", {"id": request_id, "progress": progress, **more})

    def end(self) -> None:
        """End the session; a second time, too."""
        if _http.delete(self.url, headers=self.headers).status_code == 204:
            self._thread.join(PATIENCE_SECONDS)
        else:
            self.close()

    def close(self) -> None:
        """Listen no more, as a page that is closed: the session goes on."""
        wait_until(lambda: self._answer is not None)
        if self._answer:
            self._answer.extensions["network_stream"].get_extra_info("socket").shutdown(2)
        self._thread.join(PATIENCE_SECONDS)

    def _listen(self) -> None:
        with (
            suppress(httpx.HTTPError),
            _http.stream("GET", f"{self.url}/stream", headers=self.headers) as answer,
        ):
            self._answer = answer
            assert answer.status_code == 200
            for event in events_of(answer.iter_bytes()):
                self._take(event)

    def _take(self, event: Event) -> None:
        match event.name:
            case "open":
                self._open.set()
            case "request":
                self.payloads.append(event.text.partition('"payload":')[2].rpartition(',"createdAt":')[0])
                self.asked.append(event.data)
                threading.Thread(target=self._respond, args=[event.data], daemon=True).start()
            case "withdrawn":
                self.withdrawn.append(event.data["id"])
            case "guest":
                self.guests.append(event.data)
            case "ended":
                self.ended = event.data["reason"]

    def _respond(self, request: dict[str, Any]) -> None:
        try:
            kind, found = "result", self._result(request["payload"])
        except Refused as refused:
            kind, found = "error", refused.error
        text = found if isinstance(found, Raw) else json.dumps(found)
        body = f'{{"id":{json.dumps(request["id"])},"{kind}":{text}}}'
        headers = self.headers | {"Content-Type": "application/json"}
        _http.post(f"{self.url}/responses", content=body.encode(), headers=headers)

    def _send(self, method: str, path: str, body: Any) -> httpx.Response:
        """Send JSON in ASCII, in which half a character can be written, too."""
        headers = self.headers | {"Content-Type": "application/json"}
        return _http.request(method, f"{self.url}/{path}", content=json.dumps(body).encode(), headers=headers)

    def _result(self, payload: Any) -> Any:
        if self._on_request and not (isinstance(payload, dict) and payload.get("method") == "tools/call"):
            return self._on_request(payload)
        name = payload["params"]["name"]
        if name not in self.tools:
            raise Refused({"code": "unknown_tool", "message": f"There is no tool {name}."})
        return self.tools[name].execute(payload["params"]["arguments"])
