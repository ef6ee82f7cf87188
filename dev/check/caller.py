"""Calls to a deployment, each with the answer that it has to bring."""

import re
from typing import Any
from urllib.parse import urlsplit

import requests

from dev.check import diagnosis
from dev.check.diagnosis import Diagnosis

# To connect, and for an answer: a function that hangs is stopped by the platform after thirty seconds.
_TIMEOUT = (10, 35)


class Failed(Exception):
    """The deployment is not as it should be; `found` says how, and what to do."""

    def __init__(self, found: Diagnosis) -> None:
        super().__init__(found.seen)
        self.found = found


class Caller:
    """One who calls the deployment at `url`, from one thread at a time. Every call has a time limit."""

    def __init__(self, url: str, bypass: str = "") -> None:
        self.url = url
        self._bypass = bypass
        self._http = requests.Session()
        # Else requests would put what a .netrc file has for the host in place of the host's token.
        self._http.auth = lambda request: request
        if bypass:
            self._http.headers[diagnosis.BYPASS_HEADER] = bypass

    def another(self) -> "Caller":
        """Return a caller for another thread."""
        return Caller(self.url, self._bypass)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, path: str, status: int, code: str = "", **options: Any) -> requests.Response:
        """Return what `send` does, if it has this status and this problem's code. Raises Failed."""
        return expect(self.send(method, path, **options), status, code)

    def send(
        self, method: str, path: str, token: str = "", json: object = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        """Return the answer, whatever it is. Raises Failed where none comes."""
        return self._send(method, path, token, headers or {}, json=json)

    def stream(self, path: str, token: str) -> requests.Response:
        """Return the answer with its body still to come. Raises Failed where none comes."""
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        return self._send("GET", path, token, headers, stream=True)

    def _send(self, method: str, path: str, token: str, headers: dict[str, str], **options: Any) -> requests.Response:
        url, sent = f"{self.url}{path}", headers | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            return self._http.request(method, url, headers=sent, timeout=_TIMEOUT, allow_redirects=False, **options)
        except (requests.RequestException, ValueError) as error:
            raise Failed(diagnosis.of_error(error, urlsplit(self.url).netloc)) from None


def expect(answer: requests.Response, status: int, code: str = "") -> requests.Response:
    """Return the answer if it has this status and this problem's code. Raises Failed."""
    if answer.status_code != status or diagnosis.problem(answer).get("code", "") != code:
        raise Failed(diagnosis.of_answer(answer))
    return answer


def parsed(answer: requests.Response) -> dict[str, Any]:
    """Return the JSON object that an answer holds. Raises Failed."""
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Failed(diagnosis.of_answer(answer))
    return found


def region(answer: requests.Response) -> str | None:
    """Return where the function ran, where the platform tells."""
    found = re.fullmatch(r"(?:.*::)?([\w-]{1,16})::[^:]*", answer.headers.get("x-vercel-id", ""))
    return found[1] if found else None


def require(condition: object, seen: str, advice: str = diagnosis.OTHER_CODE) -> None:
    """Return if the condition holds. Raises Failed."""
    if not condition:
        raise Failed(Diagnosis(seen, advice))
