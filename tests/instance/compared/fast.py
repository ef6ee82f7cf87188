"""The same as `bare.py` with FastAPI and the vendor's client for asyncio."""

import os

from fastapi import FastAPI, Response
from upstash_redis.asyncio import Redis

app = FastAPI()
redis = Redis(os.environ["KV_REST_API_URL"], os.environ["KV_REST_API_TOKEN"])


@app.get("/api/fast")
async def read() -> Response:
    """Answer with a value of the store."""
    return Response(await redis.get("compared"), media_type="application/json")
