"""What is wrong with a deployment, told from an answer or an error, and what to do about it.

Sources: https://vercel.com/docs/errors, https://vercel.com/docs/deployment-protection
"""

import json
import re
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from urllib3.exceptions import NameResolutionError

BYPASS_HEADER = "x-vercel-protection-bypass"

_TEXT_LIMIT = 300
_VERCEL_ERROR = re.compile(r"^\s*([A-Z]+(?:_[A-Z]+)+)\s*$", re.MULTILINE)


class Diagnosis(NamedTuple):
    """What was seen, and what to do about it."""

    seen: str
    advice: str


OTHER_CODE = "This deployment does not keep the API's contract: deploy this checkout, and check again."
NO_HEADERS = (
    "Deploy with this checkout's vercel.json, which sets the headers; a proxy before the deployment may drop them, too."
)
BUFFERED = (
    "Something between here and the functions holds the stream back, such as a proxy or a CDN before the deployment: "
    "turn its buffering off for text/event-stream, or check from another network."
)
NOT_RUNG = (
    "The functions do not hear of what is new in time: see that the store's token may SUBSCRIBE and PUBLISH, "
    "and look at the log of /api/stream."
)
STREAM_ENDED = Diagnosis(
    "The stream ended too early.",
    "Look at the log of /api/stream: a function that crashes or times out cuts its stream, and so does a proxy.",
)
NO_EVENTS = Diagnosis("What came over the stream is not a server-sent event with JSON in it.", OTHER_CODE)
NOT_WAITED = Diagnosis(
    "The waiting guest came back before the answer (202).",
    "See that nothing before the deployment drops the Prefer header, and look at the log of /api/requests.",
)
READ_ONLY_TOKEN = Diagnosis(
    "store_unauthorized: the store can be read, but not written.",
    "The token is the read-only one: set KV_REST_API_TOKEN (or UPSTASH_REDIS_REST_TOKEN) to the database's standard "
    "token, then deploy again, since variables only reach new deployments.",
)

_AGAIN = "Try again; if it stays, look at the function's log, and check from another network."
_PROBLEMS = {
    "store_not_configured": (
        "Connect an Upstash Redis database in the project's Storage tab, or set the variable for this environment, "
        "then deploy again, since variables only reach new deployments."
    ),
    "store_unauthorized": (
        "Copy the database's standard token from the Upstash console into KV_REST_API_TOKEN "
        "(or UPSTASH_REDIS_REST_TOKEN), then deploy again, since variables only reach new deployments."
    ),
    "store_unavailable": (
        "See in the Upstash console that the database exists and is active, and that KV_REST_API_URL "
        "(or UPSTASH_REDIS_REST_URL) is its REST address; the function's log names the cause."
    ),
    "store_quota_exceeded": "Raise the database's limit in the Upstash console, or wait until its period is over.",
    "internal_error": "Look at the function's log: its line with internal_error names the place of the defect.",
}
_VERCEL_ERRORS = {
    "DEPLOYMENT_NOT_FOUND": Diagnosis(
        "Vercel has no deployment at this address (DEPLOYMENT_NOT_FOUND).",
        "Compare the address with the list of `vercel ls`: the deployment may have been deleted.",
    ),
    "NOT_FOUND": Diagnosis(
        "There is a deployment, but {path} is not in it (NOT_FOUND).",
        "It was made without api/ or public/, or from another folder: deploy the one that holds vercel.json "
        "(Settings, Build and Deployment, Root Directory).",
    ),
    "FUNCTION_INVOCATION_FAILED": Diagnosis(
        "The function crashes (FUNCTION_INVOCATION_FAILED).",
        "Look at the function's log, with `vercel logs` and the address: its last lines say what it fails at.",
    ),
    "FUNCTION_INVOCATION_TIMEOUT": Diagnosis(
        "The function did not answer in its time (FUNCTION_INVOCATION_TIMEOUT).",
        "Look at the function's log, and at the store: an address that swallows packets looks like this.",
    ),
}


def problem(answer: requests.Response) -> dict[str, Any]:
    """Return the members of an answer's problem document (RFC 9457); none where it is no such document."""
    if answer.headers.get("Content-Type", "").partition(";")[0].strip() != "application/problem+json":
        return {}
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def of_answer(answer: requests.Response) -> Diagnosis:
    """Return what an answer that is not the expected one means."""
    if found := problem(answer):
        return _of_problem(answer, found)
    status = answer.status_code
    if mitigation := answer.headers.get("x-vercel-mitigated"):
        return Diagnosis(
            f"Vercel's firewall stopped the call ({printable(mitigation)}).",
            "Let this machine's address through in the project's Firewall tab, or turn Attack Mode off meanwhile.",
        )
    location = _location(answer)
    redirects = 300 <= status < 400
    if status == 401 or (redirects and location.hostname == "vercel.com" and location.path.startswith("/sso")):
        return _protected(answer)
    if error := _vercel_error(answer):
        unknown = Diagnosis(
            f"Vercel answers {status} ({error}).", f"Look it up: https://vercel.com/docs/errors/{error}"
        )
        known = _VERCEL_ERRORS.get(error, unknown)
        return known._replace(seen=known.seen.replace("{path}", _path(answer)))
    if redirects and location.hostname:
        place = printable(f"{location.scheme}://{location.netloc.rpartition('@')[2]}")
        return Diagnosis(
            f"The address redirects to {place} ({status}).", f"Check that one: python -m dev check {place}"
        )
    if status == 403:
        return _protected(answer)
    if status in (200, 404) and not _is_json(answer):
        return not_parley(answer)
    if status >= 500:
        return Diagnosis(
            f"{_call(answer)} answered {status}{_body_kind(answer)}.",
            "Look at the function's log, and at what stands before the deployment.",
        )
    return Diagnosis(f"{_call(answer)} answered {status}{_body_kind(answer)}.", OTHER_CODE)


def not_parley(answer: requests.Response) -> Diagnosis:
    """Return what there is to say where another service answers."""
    return Diagnosis(
        f"This is not Parley: {_call(answer)} answered {answer.status_code}{_body_kind(answer)}.",
        "Compare the address with the list of `vercel ls`; a framework preset or a rewrite of everything to one page "
        "looks like this, too.",
    )


def of_latency(milliseconds: float, limit: float, region: str | None) -> Diagnosis:
    """Return what there is to say where the store is too far away."""
    return Diagnosis(
        f"{milliseconds:g} ms from the functions (region: {region or 'unknown'}) to the store; "
        f"the limit is {limit:g} ms.",
        "Move the database next to the functions, or the functions next to the database (Settings, Functions, "
        "Function Region, then deploy again); --latency sets another limit.",
    )


def of_error(error: Exception, host: str) -> Diagnosis:
    """Return why no answer came from a host."""
    match error:
        case requests.exceptions.SSLError():
            return Diagnosis(
                f"The TLS connection to {host} fails: {_tls_reason(error)}.",
                "A new domain's certificate takes some minutes; behind a company's proxy set REQUESTS_CA_BUNDLE to the "
                "file of its certificate.",
            )
        case requests.exceptions.ProxyError():
            return Diagnosis(
                f"The proxy of this machine does not lead to {host}.",
                "Correct HTTPS_PROXY, or name the host in NO_PROXY.",
            )
        case requests.exceptions.Timeout():
            return Diagnosis(
                f"No answer from {host} in time.",
                _AGAIN,
            )
    if isinstance(_reason(error), NameResolutionError):
        return Diagnosis(
            f"The name {host} is not known.",
            "Compare the address with the list of `vercel ls`; a new domain takes a while until its name is known.",
        )
    if "Connection refused" in str(_reason(error)):
        return Diagnosis(
            f"Nothing listens at {host}: the connection is refused.",
            "Compare the address and its port; the local one needs `make dev` in another terminal.",
        )
    return Diagnosis(
        f"The connection to {host} broke off ({type(error).__name__}).",
        _AGAIN,
    )


def printable(text: object) -> str:
    """Return a text of the other side's so that it fits into a line and does nothing to a terminal."""
    return "".join(one if one.isprintable() else " " for one in str(text)[:_TEXT_LIMIT]).strip()


def _of_problem(answer: requests.Response, found: dict[str, Any]) -> Diagnosis:
    code, detail = printable(found.get("code", "")), printable(found.get("detail", ""))
    if code == "rate_limited":
        seconds = printable(answer.headers.get("Retry-After", "60"))
        return Diagnosis(
            f"{code}: this machine has called too often.",
            f"Wait {seconds} s, then check again; the RATE_LIMIT_ variables set the limits.",
        )
    if code == "host_token_required" and "Authorization" in answer.request.headers:
        return Diagnosis(
            f"{code}: the Authorization header did not arrive.",
            "A proxy before the deployment strips it: let it through there.",
        )
    seen = (
        f"{code}: {detail}" if code in _PROBLEMS else f"{_call(answer)} answered {answer.status_code} {code}: {detail}"
    )
    return Diagnosis(seen, _PROBLEMS.get(code, OTHER_CODE))


def _protected(answer: requests.Response) -> Diagnosis:
    where = "Settings, Deployment Protection, Protection Bypass for Automation"
    if BYPASS_HEADER in answer.request.headers:
        return Diagnosis(
            f"The deployment is protected, and the bypass secret is refused ({answer.status_code}).",
            f"The secret is not this project's, or is revoked: copy it again from {where}.",
        )
    return Diagnosis(
        f"The deployment is protected: a login page answers ({answer.status_code}).",
        f"Create a secret under {where}, and pass it with --bypass SECRET or in VERCEL_AUTOMATION_BYPASS_SECRET.",
    )


def _location(answer: requests.Response) -> SplitResult:
    """Return where an answer leads; nowhere where that is no address."""
    try:
        return urlsplit(urljoin(answer.request.url or "", answer.headers.get("Location", "")))
    except ValueError:
        return urlsplit("")


def _vercel_error(answer: requests.Response) -> str | None:
    """Return the code of an error that is the platform's own, from its header or its plain text."""
    if named := re.fullmatch(r"[A-Z_]{1,64}", answer.headers.get("x-vercel-error", "")):
        return named[0]
    if answer.status_code < 400 or not answer.headers.get("Content-Type", "").startswith("text/plain"):
        return None
    found = _VERCEL_ERROR.search(answer.text[:_TEXT_LIMIT])
    return found[1] if found else None


def _is_json(answer: requests.Response) -> bool:
    try:
        json.loads(answer.text)
    except ValueError:
        return False
    return True


def _body_kind(answer: requests.Response) -> str:
    kind = printable(answer.headers.get("Content-Type", "").partition(";")[0])
    return f" with {kind}" if kind else ""


def _call(answer: requests.Response) -> str:
    return f"{answer.request.method} {_path(answer)}"


def _path(answer: requests.Response) -> str:
    """Return what was called, without the session's code."""
    return re.sub("(?<=/sessions/)[^/]+", "{code}", urlsplit(answer.request.url or "").path)


def _reason(error: Exception) -> object:
    return getattr(error.args[0], "reason", error.args[0]) if error.args else None


def _tls_reason(error: Exception) -> str:
    found = re.search(r"\[SSL[^\]]*\] ([^(]{1,120})", str(_reason(error)))
    return printable(found[1]) if found else "it is not understood"
