"""The local platform: Vercel and Upstash in small."""
