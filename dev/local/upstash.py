"""A local Upstash: its REST API in front of a Redis, embedded or real.

Source: https://upstash.com/docs/redis/features/restapi. Not implemented: `/monitor`, RESP2 responses, and ACLs.
"""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from anyio import CancelScope
from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError, ResponseError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dev.local.server import lifespan

type Command = list[bytes]

_METHODS = ("GET", "HEAD", "POST", "PUT")
_CONNECTIONS = 100_000  # each subscription holds one
_REQUEST_LIMIT = 10 * 1024 * 1024
# Commands that need a connection of the client's own, which HTTP does not give it, and administrative commands.
# Source: https://upstash.com/docs/redis/overall/rediscompatibility
_UNAVAILABLE = frozenset(
    b"AUTH BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN CLIENT CONFIG DEBUG DISCARD EXEC HELLO "
    b"MIGRATE MODULE MONITOR MULTI PSUBSCRIBE PSYNC PUNSUBSCRIBE QUIT REPLICAOF RESET SAVE SELECT SHUTDOWN SLAVEOF "
    b"SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE SWAPDB SYNC UNSUBSCRIBE UNWATCH WAIT WATCH".split()
)


class Refused(Exception):
    """A request that the API answers with an error: its text and its HTTP status."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def local(token: str, redis_url: str | None = None) -> ASGIApp:
    """Return the API as an ASGI application, in front of the Redis at `redis_url` or of an embedded one."""
    redis: Redis = FakeAsyncRedis(server=FakeServer(), protocol=2, max_connections=_CONNECTIONS)
    if redis_url:
        redis = Redis.from_url(redis_url, protocol=2, max_connections=_CONNECTIONS)
    # Replies are passed on as they are in the protocol, without the client's conversions.
    redis.response_callbacks.clear()
    return _Api(redis, token)


class _Api:
    def __init__(self, redis: Redis, token: str) -> None:
        self._redis = redis
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send, self._redis.aclose)
        else:
            with suppress(ClientDisconnect):
                response = await self._response(Request(scope, receive))
                await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        try:
            if request.method not in _METHODS:
                raise Refused("ERR method not allowed", 405)
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                token = request.query_params.get("_token", "")
            if not hmac.compare_digest(token.strip().encode(), self._token.encode()):
                raise Refused("Unauthorized", 401)
            return await self._answer(request)
        except Refused as refused:
            return _json({"error": str(refused)}, refused.status)

    async def _answer(self, request: Request) -> Response:
        path = [unquote_to_bytes(part) for part in request.scope["raw_path"].split(b"/") if part]
        body = await request.body()
        if len(body) > _REQUEST_LIMIT:
            raise Refused(f"ERR max request size exceeded. Limit: {_REQUEST_LIMIT} bytes, Actual: {len(body)} bytes")
        encoded = request.headers.get("upstash-encoding") == "base64"
        match path:
            case []:
                return _json(await self._run(_command(_parsed(body)), encoded))
            case [b"pipeline"]:
                return _json([await self._try(command, encoded) for command in _commands(body)])
            case [b"multi-exec"]:
                return _json(await self._transaction(_commands(body), encoded))
            case [b"subscribe" | b"psubscribe" as verb, *channels] if channels:
                events = _events(self._redis.pubsub(), verb.decode(), channels)
                return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
            case _:
                return _json(await self._run(_path_command(path, body, request.url.query), encoded))

    async def _run(self, command: Command, encoded: bool) -> dict[str, Any]:
        _check(command)
        try:
            return {"result": _encode(await self._redis.execute_command(*command), encoded)}  # type: ignore[no-untyped-call]
        except ResponseError as error:
            raise Refused(_text(error)) from None
        except RedisError:
            raise Refused("ERR the Redis behind the local Upstash does not answer", 503) from None

    async def _try(self, command: Command, encoded: bool) -> dict[str, Any]:
        try:
            return await self._run(command, encoded)
        except Refused as refused:
            return {"error": str(refused)}

    async def _transaction(self, commands: list[Command], encoded: bool) -> list[dict[str, Any]]:
        for command in commands:
            _check(command)
        async with self._redis.pipeline(transaction=True) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            try:
                results = await pipeline.execute(raise_on_error=False)
            except ResponseError as error:
                raise Refused(f"EXECABORT Transaction discarded because of: {_text(error)}") from None
            except RedisError:
                raise Refused("ERR the Redis behind the local Upstash does not answer", 503) from None
        return [
            {"error": _text(result)} if isinstance(result, ResponseError) else {"result": _encode(result, encoded)}
            for result in results
        ]


async def _events(subscription: PubSub, verb: str, channels: list[bytes]) -> AsyncIterator[bytes]:
    """Yield the messages on the channels as server-sent events; the first one confirms the subscription."""
    try:
        await getattr(subscription, verb)(*channels)
        while True:
            message = await subscription.get_message(timeout=None)
            if message is None:
                continue
            parts = (message["type"].encode(), message["pattern"], message["channel"], message["data"])
            texts = (str(part).encode() if isinstance(part, int) else part for part in parts if part is not None)
            yield b"data: " + b",".join(texts) + b"\n\n"
    finally:
        # The embedded Redis does not notice a closed connection.
        with CancelScope(shield=True), suppress(RedisError):
            await subscription.unsubscribe()
            await subscription.punsubscribe()
            await subscription.aclose()  # type: ignore[no-untyped-call]


def _parsed(body: bytes) -> Any:
    try:
        # Numbers are kept as they are written.
        return json.loads(body, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise Refused("ERR failed to parse command") from None


def _commands(body: bytes) -> list[Command]:
    parsed = _parsed(body)
    if not isinstance(parsed, list) or not parsed:
        raise Refused("ERR empty pipeline request")
    return [_command(command) for command in parsed]


def _command(parsed: Any) -> Command:
    if not isinstance(parsed, list) or not parsed:
        raise Refused("ERR empty command")
    if not all(isinstance(argument, str | bool) for argument in parsed):
        raise Refused("ERR failed to parse command")
    return [str(one).lower().encode() if isinstance(one, bool) else one.encode("utf-8", "replace") for one in parsed]


def _path_command(path: Command, body: bytes, query: str) -> Command:
    """Return the command of a path, a body and a query: `/set/key?EX=60` with a body is SET key body EX 60."""
    options = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "_token"]
    return [*path, *([body] if body else []), *(part.encode() for option in options for part in option if part)]


def _check(command: Command) -> None:
    name = command[0].upper()
    blocks = name in (b"XREAD", b"XREADGROUP") and b"BLOCK" in [argument.upper() for argument in command[1:]]
    if name in _UNAVAILABLE or blocks:
        raise Refused(
            f"ERR Command is not available: '{name.decode(errors='replace')}'. "
            "See https://upstash.com/docs/redis/overall/rediscompatibility for details"
        )


def _encode(value: Any, encoded: bool) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode() if encoded and value != b"OK" else value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_encode(item, encoded) for item in value]
    return _text(value) if isinstance(value, ResponseError) else value


def _text(error: ResponseError) -> str:
    """Return an error's text as Redis sent it: the client removes the first word of errors that it knows."""
    code = error.status_code
    text = str(error)
    return f"{code} {text}" if code and not text.startswith(code) else text


def _json(content: object, status: int = 200) -> Response:
    return JSONResponse(content, status, {"Upstash-Sync-Token": "local"})
