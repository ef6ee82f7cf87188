"""What can be wrong with a deployment, and what to do about it: the texts that the checker prints.

`{name}` in a text stands for a value that is filled in.
Sources: https://vercel.com/docs/errors, https://vercel.com/docs/deployment-protection
"""

from typing import NamedTuple


class Diagnosis(NamedTuple):
    """What was seen, and what to do about it."""

    seen: str
    advice: str

    def fill(self, **values: object) -> "Diagnosis":
        """Return the diagnosis with these values in its texts."""
        return Diagnosis(self.seen.format(**values), self.advice.format(**values))


# Advice for several findings.
OTHER_CODE = "This deployment does not keep the API's contract: deploy this checkout, and check again."
NO_HEADERS = "Deploy with this checkout's vercel.json, which sets the headers; a proxy may also remove them."
BUFFERED = "A proxy or a CDN in front of the deployment holds text/event-stream back: turn its buffering off."
NOT_NOTIFIED = "Make sure that the store's token may SUBSCRIBE and PUBLISH, and look at the log of /api/stream."
TRY_AGAIN = "Try again; if it stays, look at the function's log, and check from another network."
EXPOSE = "Automatically expose System Environment Variables"  # the box in Vercel's dashboard
_REDEPLOY = "then deploy again, since variables only reach new deployments."
_VARIABLE = "KV_REST_API_TOKEN (or UPSTASH_REDIS_REST_TOKEN)"
_BYPASS = "Settings, Deployment Protection, Protection Bypass for Automation"

# No answer comes.
TLS_FAILS = Diagnosis(
    "The TLS connection to {host} fails: {reason}.",
    "A new domain's certificate takes minutes; behind a company's proxy set REQUESTS_CA_BUNDLE to its certificate.",
)
PROXY_FAILS = Diagnosis("This machine's proxy does not lead to {host}.", "Correct HTTPS_PROXY, or set NO_PROXY.")
NO_ANSWER = Diagnosis("No answer from {host} in time.", TRY_AGAIN)
UNKNOWN_HOST = Diagnosis("The name {host} is not known.", "Compare it with `vercel ls`; a new domain takes a while.")
REFUSED = Diagnosis(
    "Nothing listens at {host}: the connection is refused.",
    "Compare the address and its port; the local one needs `make dev` in another terminal.",
)
BROKE_OFF = Diagnosis("The connection to {host} broke off ({error}).", TRY_AGAIN)

# Something else than the functions answers.
FIREWALL = Diagnosis(
    "Vercel's firewall stopped the call ({mitigation}).",
    "Allow this machine's address in the project's Firewall tab, or turn Attack Mode off meanwhile.",
)
PROTECTED = Diagnosis(
    "The deployment is protected: a login page answers ({status}).",
    f'Create a secret under {_BYPASS}, and give it in VERCEL_AUTOMATION_BYPASS_SECRET, or with ARGS="--bypass SECRET".',
)
BYPASS_REFUSED = Diagnosis(
    "The deployment is protected, and the bypass secret is refused ({status}).",
    f"The secret is not this project's, or is revoked: copy it again from {_BYPASS}.",
)
REDIRECTS = Diagnosis("The address redirects to {place} ({status}).", "Check that one: make check URL={place}")
NOT_PARLEY = Diagnosis(
    "This is not Parley: {answer}.",
    "Compare the address with the list of `vercel ls`; a framework preset or a rewrite to one page looks the same.",
)
VERCEL_ERRORS = {
    "DEPLOYMENT_NOT_FOUND": Diagnosis(
        "Vercel has no deployment at this address (DEPLOYMENT_NOT_FOUND).",
        "Compare the address with the list of `vercel ls`: the deployment may have been deleted.",
    ),
    "NOT_FOUND": Diagnosis(
        "There is a deployment, but {path} is not in it (NOT_FOUND).",
        "Deploy the folder that holds vercel.json (Settings, Build and Deployment, Root Directory).",
    ),
    "FUNCTION_INVOCATION_FAILED": Diagnosis(
        "The function crashes (FUNCTION_INVOCATION_FAILED).",
        "Look at the function's log, with `vercel logs` and the address: its last lines say why.",
    ),
    "FUNCTION_INVOCATION_TIMEOUT": Diagnosis(
        "The function did not answer in its time (FUNCTION_INVOCATION_TIMEOUT).",
        "Look at the function's log, and at the store: if its address drops packets, the function waits like this.",
    ),
}
VERCEL_ERROR = Diagnosis("Vercel answers {status} ({error}).", "Look it up: https://vercel.com/docs/errors/{error}")

# The functions answer something else than they should.
RATE_LIMITED = Diagnosis(
    "rate_limited: this machine has called too often.",
    "Wait {seconds} s, then check again; the RATE_LIMIT_ variables set the limits.",
)
TOKEN_REMOVED = Diagnosis(
    "host_token_required: the Authorization header did not arrive.",
    "A proxy in front of the deployment removes it: configure it to pass the header on.",
)
SYSTEM_VARIABLES = Diagnosis(
    "store_not_configured: the functions do not see Vercel's system environment variables.",
    f"Tick {EXPOSE!r} (Settings, Environment Variables), {_REDEPLOY} To keep them hidden, set KV_KEY_PREFIX, to "
    "another value for previews than for production.",
)
MCP_HEADERS = Diagnosis(
    "{answer}: {message}",
    "Let a proxy in front of the deployment pass MCP-Protocol-Version, Mcp-Method and Mcp-Name on as they are.",
)
PROBLEMS = {
    "store_not_configured": f"Connect an Upstash Redis database in the project's Storage tab, {_REDEPLOY}",
    "store_unauthorized": f"Copy the standard token from the Upstash console into {_VARIABLE}, {_REDEPLOY}",
    "store_unavailable": (
        "Make sure in the Upstash console that the database is active, and that KV_REST_API_URL (or "
        "UPSTASH_REDIS_REST_URL) is its REST address; the function's log names the cause."
    ),
    "store_quota_exceeded": "Raise the database's limit in the Upstash console, or wait until its period is over.",
    "internal_error": "Look at the function's log: its line with internal_error names the place of the defect.",
}
SERVER_ERROR = Diagnosis("{answer}.", "Look at the function's log, and at what is in front of the deployment.")

# A step finds something else than it should.
READ_ONLY_TOKEN = Diagnosis(
    "store_unauthorized: the store can be read, but not written.",
    f"The token is the read-only one: set {_VARIABLE} to the standard token, {_REDEPLOY}",
)
STORE_FAR_AWAY = Diagnosis(
    "{ms:g} ms from the functions (region: {region}) to the store; the limit is {limit:g} ms.",
    "Move the database or the functions (Settings, Functions, Function Region); --latency sets another limit.",
)
NOT_RENEWED = Diagnosis("expiresAt did not move.", "Set SESSION_MAX_SECONDS to more than SESSION_TTL_SECONDS.")
STREAM_ENDED = Diagnosis(
    "The stream ended too early.",
    "Look at the log of /api/stream: the stream ends if a function crashes or times out, or if a proxy cuts it.",
)
SILENT = Diagnosis("No {event!r} event within {seconds:g} s, nor anything else.", BUFFERED)
HELD_BACK = Diagnosis(
    "No {event!r} event within {seconds:g} s: {count} events came together when the session ended.", BUFFERED
)
NO_EVENT = Diagnosis("No {event!r} event within {seconds:g} s, though the stream is open.", NOT_NOTIFIED)
NOT_WAITED = Diagnosis(
    "The waiting guest got a reply before the answer (202).",
    "Make sure that no proxy removes the Prefer header, and look at the log of /api/requests.",
)
NOT_WOKEN = Diagnosis("The waiting guest did not have the answer within {seconds:g} s.", NOT_NOTIFIED)
NO_PROGRESS = Diagnosis(
    "The agent did not have the host's report of progress within {seconds:g} s.",
    "Deploy this checkout; a proxy may also hold the text/event-stream of /mcp back until the call's result.",
)
NO_LIST_CHANGE = Diagnosis(
    "The agent that listens did not learn of the changed tools within {seconds:g} s.",
    f"{NOT_NOTIFIED} A proxy may also hold the text/event-stream of /mcp back.",
)
NOT_WITHDRAWN = Diagnosis(
    "The host's request was not withdrawn within {seconds:g} s of notifications/cancelled.",
    "Deploy this checkout; let a proxy in front of it pass Mcp-Session-Id on, in requests and in answers.",
)
LIMIT_LOWERED = Diagnosis(
    "A message of 1 MiB is refused (413 payload_too_large).",
    "Set MAX_PAYLOAD_BYTES to 1048576 or more, or leave it out; then deploy again.",
)
BODY_REFUSED = Diagnosis(
    "Something in front of the functions refuses a message of 1 MiB (413).",
    "Raise the limit on bodies of a proxy in front of the deployment to some more than MAX_PAYLOAD_BYTES.",
)
