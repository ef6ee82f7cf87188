"""The local platform, which does what Vercel and Upstash do for a deployment."""
