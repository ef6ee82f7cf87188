"""The way of a request to a function and of its answer back, as on Vercel.

The function gets the caller's headers, with the platform's own in place of those that only the platform may set, and a
body of at most 4.5 MB. It may run for as many seconds as `vercel.json` says, and is left alone when its caller is gone.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import h11
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Send

BODY_LIMIT = 4_500_000
_READ_SIZE = 64 * 1024
_HOP_BY_HOP = (b"connection", b"keep-alive", b"transfer-encoding")
_PLATFORM_ONLY = (b"x-vercel-", b"x-forwarded-", b"x-real-ip", b"forwarded")


async def body_of(request: Request) -> bytes:
    """Read a request's body. Raises HTTPException for one over the limit, and ClientDisconnect."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_LIMIT:
            raise HTTPException(413, "FUNCTION_PAYLOAD_TOO_LARGE")
    return bytes(body)


def onward(request: Request, target: str, request_id: bytes) -> h11.Request:
    """Return the request as the function gets it: under this target, with the platform's headers."""
    address = request.scope["client"][0].encode()
    dropped = (*_HOP_BY_HOP, *_PLATFORM_ONLY)
    headers = [(name, value) for name, value in request.scope["headers"] if not name.startswith(dropped)]
    if "transfer-encoding" in request.headers:
        headers = [(name, value) for name, value in headers if name != b"content-length"]
        headers.append((b"transfer-encoding", b"chunked"))
    added = [
        (b"connection", b"close"),
        (b"x-real-ip", address),
        (b"x-forwarded-for", address),
        (b"x-vercel-forwarded-for", address),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-host", request.headers["host"].encode("latin-1")),
        (b"x-vercel-id", request_id),
        (b"x-vercel-internal-invocation-id", request_id),
        (b"x-vercel-internal-request-id", b"1"),
    ]
    return h11.Request(method=request.method, target=target.encode("latin-1"), headers=[*headers, *added])


async def exchange(port: int, request: h11.Request, body: bytes) -> AsyncGenerator[h11.Event]:
    """Yield the events of a function's answer. Raises OSError or RemoteProtocolError if it breaks off."""
    http = h11.Connection(h11.CLIENT)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        parts = [http.send(request), http.send(h11.Data(data=body)) if body else b"", http.send(h11.EndOfMessage())]
        writer.write(b"".join(part or b"" for part in parts))
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(_READ_SIZE))
            elif isinstance(event, h11.Event):
                yield event
    finally:
        writer.close()


async def relay(answer: AsyncGenerator[h11.Event], seconds: int, receive: Receive, send: Send) -> None:
    """Send the events of an answer on as they come, until the answer is complete or the caller is gone.

    Raises HTTPException for an answer that breaks off, or takes more than the seconds, before it has begun. Later it
    raises the cause itself: the caller's connection then has to be cut, so that nobody takes the answer for complete.
    """
    relaying = asyncio.ensure_future(_relay(answer, seconds, send))
    leaving = asyncio.ensure_future(_client_gone(receive))
    try:
        await asyncio.wait({relaying, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if relaying.done():
            relaying.result()
    finally:
        relaying.cancel()
        leaving.cancel()
        await asyncio.gather(relaying, leaving, return_exceptions=True)


async def _relay(answer: AsyncGenerator[h11.Event], seconds: int, send: Send) -> None:
    begun = False
    try:
        async with asyncio.timeout(seconds), aclosing(answer):
            async for event in answer:
                if isinstance(event, h11.Response):
                    dropped = (*_HOP_BY_HOP, b"x-vercel-internal-")
                    headers = [(name, value) for name, value in event.headers if not name.startswith(dropped)]
                    await send({"type": "http.response.start", "status": event.status_code, "headers": headers})
                    begun = True
                elif isinstance(event, h11.Data):
                    await send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
    except (TimeoutError, OSError, h11.RemoteProtocolError) as error:
        if begun:
            raise
        if isinstance(error, TimeoutError):
            raise HTTPException(504, "FUNCTION_INVOCATION_TIMEOUT") from None
        raise HTTPException(500, "FUNCTION_INVOCATION_FAILED") from None


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
