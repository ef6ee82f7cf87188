"""A local Upstash: its REST API in front of a Redis, embedded or real.

It has what Parley and the vendor's clients use of the API: commands, pipelines and transactions as JSON, base64 encoded
replies, and subscriptions to one channel. Commands that the cloud refuses, such as BLPOP, are not refused here.
Source: https://upstash.com/docs/redis/features/restapi
"""

import base64
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from anyio import CancelScope
from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError, ResponseError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from dev.local.server import lifespan

type Command = list[bytes]

_CONNECTIONS = 100_000  # each subscription holds one
_SUBSCRIBE = "/subscribe/"


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
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send, self._redis.aclose)
            return
        with suppress(ClientDisconnect):
            try:
                response = await self._answer(Request(scope, receive))
            except HTTPException as refusal:
                response = JSONResponse({"error": refusal.detail}, refusal.status_code)
            await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token):
            raise HTTPException(401, "Unauthorized")
        path: str = request.scope["path"]
        if path.startswith(_SUBSCRIBE):
            events = _events(self._redis.pubsub(), path.removeprefix(_SUBSCRIBE))
            return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        if path not in ("/", "/pipeline", "/multi-exec"):
            raise HTTPException(404, "ERR the local Upstash has no such path: send commands as JSON")
        parsed = _parsed(await request.body())
        encoded = request.headers.get("upstash-encoding") == "base64"
        if path == "/":
            (reply,) = await self._run([_command(parsed)], encoded)
            return JSONResponse(reply, 400 if "error" in reply else 200)
        if not isinstance(parsed, list) or not parsed:
            raise HTTPException(400, "ERR empty pipeline request")
        commands = [_command(command) for command in parsed]
        return JSONResponse(await self._run(commands, encoded, transaction=path == "/multi-exec"))

    async def _run(self, commands: list[Command], encoded: bool, *, transaction: bool = False) -> list[dict[str, Any]]:
        """Return the reply to each command. Raises HTTPException if a transaction is discarded, or Redis is away."""
        async with self._redis.pipeline(transaction=transaction) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            try:
                results = await pipeline.execute(raise_on_error=False)
            except ResponseError as error:
                raise HTTPException(400, f"EXECABORT Transaction discarded because of: {_text(error)}") from None
            except RedisError:
                raise HTTPException(503, "ERR the Redis behind the local Upstash does not answer") from None
        return [
            {"error": _text(result)} if isinstance(result, ResponseError) else {"result": _encode(result, encoded)}
            for result in results
        ]


async def _events(subscription: PubSub, channel: str) -> AsyncIterator[bytes]:
    """Yield the messages on a channel as server-sent events; the first event confirms the subscription."""
    try:
        await subscription.subscribe(channel)
        while True:
            if message := await subscription.get_message(timeout=None):
                data = message["data"]
                text = str(data).encode() if isinstance(data, int) else data
                yield b"data: " + b",".join([message["type"].encode(), message["channel"], text]) + b"\n\n"
    finally:
        # The embedded Redis does not notice a closed connection.
        with CancelScope(shield=True), suppress(RedisError):
            await subscription.unsubscribe()
            await subscription.aclose()  # type: ignore[no-untyped-call]


def _parsed(body: bytes) -> Any:
    """Parse a body as JSON, in which numbers are kept as they are written. Raises HTTPException."""
    try:
        return json.loads(body, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise HTTPException(400, "ERR failed to parse command") from None


def _command(parsed: Any) -> Command:
    if not isinstance(parsed, list) or not parsed or not all(isinstance(argument, str) for argument in parsed):
        raise HTTPException(400, "ERR failed to parse command")
    return [argument.encode("utf-8", "replace") for argument in parsed]


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
