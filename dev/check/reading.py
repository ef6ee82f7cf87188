"""Which diagnosis an unexpected answer, or an error in place of an answer, leads to."""

import json
import re
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from urllib3.exceptions import NameResolutionError

from dev.check import diagnosis
from dev.check.diagnosis import Diagnosis

BYPASS_HEADER = "x-vercel-protection-bypass"

_TEXT_LIMIT = 300
_HEADER_MISMATCH = -32020
_VERCEL_ERROR = re.compile(r"^\s*([A-Z]+(?:_[A-Z]+)+)\s*$", re.MULTILINE)


def problem(answer: requests.Response) -> dict[str, Any]:
    """Return the members of an answer's problem document (RFC 9457), or none if it is no such document.

    An answer of MCP has one as the `data` of its error.
    """
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    found = body(answer) if kind == "application/problem+json" else rpc_error(answer).get("data")
    return found if isinstance(found, dict) and "code" in found else {}


def rpc_error(answer: requests.Response) -> dict[str, Any]:
    """Return the members of the error that an answer of JSON-RPC has, or none if it has no error."""
    match body(answer):
        case {"jsonrpc": "2.0", "error": dict(error)}:
            return error
    return {}


def body(answer: requests.Response) -> Any:
    """Return the JSON value in an answer's body, or None if there is none."""
    try:
        return json.loads(answer.content)
    except ValueError:
        return None


def of_answer(answer: requests.Response) -> Diagnosis:
    """Return the diagnosis for an answer that is not the expected one."""
    if found := problem(answer):
        return _of_problem(answer, found)
    if error := rpc_error(answer):
        known = diagnosis.MCP_HEADERS if error.get("code") == _HEADER_MISMATCH else diagnosis.MCP_ERROR
        message = printable(error.get("message", ""))
        return known.fill(answer=summary(answer), code=printable(error.get("code")), message=message)
    status = answer.status_code
    if mitigation := answer.headers.get("x-vercel-mitigated"):
        return diagnosis.FIREWALL.fill(mitigation=printable(mitigation))
    protected = diagnosis.BYPASS_REFUSED if BYPASS_HEADER in answer.request.headers else diagnosis.PROTECTED
    location = _location(answer)
    redirects = 300 <= status < 400
    if status == 401 or (redirects and location.hostname == "vercel.com" and location.path.startswith("/sso")):
        return protected.fill(status=status)
    if name := _vercel_error(answer):
        known = diagnosis.VERCEL_ERRORS.get(name, diagnosis.VERCEL_ERROR)
        return known.fill(status=status, error=name, path=_path(answer))
    if redirects and location.hostname:
        place = printable(f"{location.scheme}://{location.netloc.rpartition('@')[2]}")
        return diagnosis.REDIRECTS.fill(place=place, status=status)
    if status == 403:
        return protected.fill(status=status)
    if status in (200, 404) and body(answer) is None:
        return diagnosis.NOT_PARLEY.fill(answer=summary(answer))
    return (diagnosis.SERVER_ERROR if status >= 500 else diagnosis.OTHER_ANSWER).fill(answer=summary(answer))


def of_error(error: Exception, host: str) -> Diagnosis:
    """Return the diagnosis for an error in place of an answer from a host."""
    match error:
        case requests.exceptions.SSLError():
            found = re.search(r"\[SSL[^\]]*\] ([^(]{1,120})", str(_reason(error)))
            return diagnosis.TLS_FAILS.fill(host=host, reason=printable(found[1]) if found else "for an unknown reason")
        case requests.exceptions.ProxyError():
            return diagnosis.PROXY_FAILS.fill(host=host)
        case requests.exceptions.Timeout():
            return diagnosis.NO_ANSWER.fill(host=host)
    if isinstance(_reason(error), NameResolutionError):
        return diagnosis.UNKNOWN_HOST.fill(host=host)
    if "Connection refused" in str(_reason(error)):
        return diagnosis.REFUSED.fill(host=host)
    return diagnosis.BROKE_OFF.fill(host=host, error=type(error).__name__)


def printable(text: object) -> str:
    """Return a received text, cut and without control characters, so that it fits a line and is safe in a terminal."""
    return "".join(one if one.isprintable() else " " for one in str(text)[:_TEXT_LIMIT]).strip()


def _of_problem(answer: requests.Response, found: dict[str, Any]) -> Diagnosis:
    code, detail = printable(found.get("code", "")), printable(found.get("detail", ""))
    if code == "rate_limited":
        return diagnosis.RATE_LIMITED.fill(seconds=printable(answer.headers.get("Retry-After", "60")))
    if code == "host_token_required" and "Authorization" in answer.request.headers:
        return diagnosis.TOKEN_REMOVED
    if code == "store_not_configured" and diagnosis.EXPOSE.lower() in detail.lower():
        return diagnosis.SYSTEM_VARIABLES
    if code in diagnosis.PROBLEMS:
        return Diagnosis(f"{code}: {detail}", diagnosis.PROBLEMS[code])
    seen = f"{answer.request.method} {_path(answer)} answered {answer.status_code} {code}: {detail}"
    return Diagnosis(seen, diagnosis.OTHER_CODE)


def _location(answer: requests.Response) -> SplitResult:
    """Return where an answer redirects to, with empty parts if that is no address."""
    try:
        return urlsplit(urljoin(answer.request.url or "", answer.headers.get("Location", "")))
    except ValueError:
        return urlsplit("")


def _vercel_error(answer: requests.Response) -> str | None:
    """Return the code of an error of the platform itself, from its header or its plain text."""
    if named := re.fullmatch(r"[A-Z_]{1,64}", answer.headers.get("x-vercel-error", "")):
        return named[0]
    if answer.status_code < 400 or not answer.headers.get("Content-Type", "").startswith("text/plain"):
        return None
    found = _VERCEL_ERROR.search(answer.text[:_TEXT_LIMIT])
    return found[1] if found else None


def summary(answer: requests.Response) -> str:
    """Return call, status and type of an answer."""
    kind = printable(answer.headers.get("Content-Type", "").partition(";")[0])
    return f"{answer.request.method} {_path(answer)} answered {answer.status_code}{f' with {kind}' if kind else ''}"


def _path(answer: requests.Response) -> str:
    """Return the path that was called, without the session's code."""
    return re.sub("(/sessions/|/mcp/)[^/]+", r"\1{code}", urlsplit(answer.request.url or "").path)


def _reason(error: Exception) -> object:
    return getattr(error.args[0], "reason", error.args[0]) if error.args else None
