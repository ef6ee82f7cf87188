"""Which diagnosis an unexpected answer, or an error in place of an answer, leads to."""

import json
import re
from socket import gaierror
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests

from dev.check import diagnosis
from dev.check.diagnosis import Diagnosis

BYPASS_HEADER = "x-vercel-protection-bypass"

_TEXT_LIMIT = 300
_HEADER_MISMATCH = -32020


def problem(answer: requests.Response) -> dict[str, Any]:
    """Return the members of an answer's problem document (RFC 9457); `{}` if it is no such document.

    An answer of MCP has one as the `data` of its error.
    """
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
    found = body(answer) if kind == "application/problem+json" else rpc_error(answer).get("data")
    return found if isinstance(found, dict) and "code" in found else {}


def rpc_error(answer: requests.Response) -> dict[str, Any]:
    """Return the members of the error in an answer of JSON-RPC; `{}` if there is no error."""
    match body(answer):
        case {"jsonrpc": "2.0", "error": dict(error)}:
            return error
    return {}


def body(answer: requests.Response) -> Any:
    """Return the JSON value in an answer's body, or None if the body is no JSON."""
    try:
        return json.loads(answer.content)
    except ValueError:
        return None


def of_answer(answer: requests.Response) -> Diagnosis:
    """Return the diagnosis for an answer that is not the expected one."""
    if found := problem(answer):
        return _of_problem(answer, found)
    if error := rpc_error(answer):
        message = printable(error.get("message", ""))
        if error.get("code") == _HEADER_MISMATCH:
            return diagnosis.MCP_HEADERS.fill(answer=summary(answer), message=message)
        seen = f"{summary(answer)}, and the error {printable(error.get('code'))}: {message}"
        return Diagnosis(seen, diagnosis.OTHER_CODE)
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
    if status >= 500:
        return diagnosis.SERVER_ERROR.fill(answer=summary(answer))
    return Diagnosis(f"{summary(answer)}.", diagnosis.OTHER_CODE)


def of_error(error: Exception, host: str) -> Diagnosis:
    """Return the diagnosis for an error in place of an answer from a host."""
    cause = _cause(error)
    if isinstance(error, requests.exceptions.SSLError):
        reason = str(getattr(cause, "reason", None) or "for an unknown reason").replace("_", " ").lower()
        detail = getattr(cause, "verify_message", "")
        return diagnosis.TLS_FAILS.fill(host=host, reason=printable(f"{reason}: {detail}" if detail else reason))
    if isinstance(error, requests.exceptions.ProxyError):
        return diagnosis.PROXY_FAILS.fill(host=host)
    if isinstance(error, requests.exceptions.Timeout):
        return diagnosis.NO_ANSWER.fill(host=host)
    if isinstance(cause, gaierror):
        return diagnosis.UNKNOWN_HOST.fill(host=host)
    if isinstance(cause, ConnectionRefusedError):
        return diagnosis.REFUSED.fill(host=host)
    return diagnosis.BROKE_OFF.fill(host=host, error=type(error).__name__)


def printable(text: object) -> str:
    """Return a received text, cut and without control characters, so that it fits a line and is safe in a terminal."""
    return "".join(one if one.isprintable() else " " for one in str(text)[:_TEXT_LIMIT]).strip()


def summary(answer: requests.Response) -> str:
    """Return call, status and type of an answer."""
    kind = printable(answer.headers.get("Content-Type", "").partition(";")[0])
    return f"{answer.request.method} {_path(answer)} answered {answer.status_code}{f' with {kind}' if kind else ''}"


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


def _vercel_error(answer: requests.Response) -> str:
    """Return the code of an error of the platform's, from its header or a line of its plain text; else `""`."""
    if named := answer.headers.get("x-vercel-error", ""):
        return printable(named)
    if answer.status_code < 400 or not answer.headers.get("Content-Type", "").startswith("text/plain"):
        return ""
    lines = answer.text[:_TEXT_LIMIT].split()
    return next((line for line in lines if line in diagnosis.VERCEL_ERRORS), "")


def _path(answer: requests.Response) -> str:
    """Return the path that was called, without the session's code."""
    return re.sub("(/sessions/|/mcp/)[^/]+", r"\1{code}", urlsplit(answer.request.url or "").path)


def _cause(error: BaseException) -> BaseException:
    """Return the system's error at the bottom of those that `requests` and urllib3 wrap around each other."""
    wrapped = (getattr(error, "reason", None), *error.args[:1], error.__cause__)
    return next((_cause(inner) for inner in wrapped if isinstance(inner, BaseException)), error)
