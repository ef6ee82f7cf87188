"""The fields of a request's body: the members of a JSON object, each as it is written."""

import json
import math
import re
from collections.abc import Sequence

from lib import jsontext, settings
from lib.jsontext import JsonText, compose
from lib.problems import InvalidRequest, PayloadTooLarge, Problem, UnsupportedMediaType
from lib.web import url

_NUMBER = re.compile(rb"-?[0-9]")
_NUMBER_LENGTH = 40
_MESSAGE_LENGTH = 1000  # in characters


def content(body: bytes | Problem, content_type: str) -> bytes:
    """Return a body that is declared as JSON, or empty. Raises UnsupportedMediaType, and the problem of reading it."""
    if isinstance(body, Problem):
        raise body
    kind = content_type.partition(";")[0].strip().lower()
    if body and kind != "application/json" and not re.fullmatch(r"application/[\w.-]+\+json", kind):
        raise UnsupportedMediaType
    return body


def parse(body: bytes, known: Sequence[str]) -> dict[str, JsonText]:
    """Return the fields; none if the body is empty.

    Raises InvalidRequest, also for an unknown field, and InvalidJson.
    """
    found = jsontext.members(body) if body else {}
    for name in found.keys() - set(known):
        raise InvalidRequest(f"{json.dumps(name[:64])} is not a field here. Known: {', '.join(known) or 'none'}.")
    return found


def message(fields: dict[str, JsonText], name: str) -> JsonText:
    """Take a message, any JSON value, out of the fields.

    Raises InvalidRequest if it is missing, PayloadTooLarge.
    """
    if name not in fields:
        raise InvalidRequest(f"{name} is missing: any JSON value.")
    if len(fields[name]) > settings.max_payload():
        raise PayloadTooLarge(settings.max_payload(), len(fields[name]))
    return fields.pop(name)


def cursor(fields: dict[str, JsonText]) -> str:
    """Return the field `cursor`, `""` if it is left out. Raises InvalidRequest."""
    text = fields.get("cursor", b'""')
    return url.cursor(json.loads(text) if text.startswith(b'"') else None, "cursor")


def request_id(fields: dict[str, JsonText]) -> str:
    """Return the field `id`, a string. Raises InvalidRequest."""
    text = fields.get("id", b"")
    return url.identifier(json.loads(text) if text.startswith(b'"') else None)


def progress(fields: dict[str, JsonText]) -> JsonText:
    """Return a report of progress, made of `progress`, `total` and `message`. Raises InvalidRequest."""
    report: dict[str, object] = {"progress": _finite(fields, "progress")}
    if "total" in fields:
        report["total"] = _finite(fields, "total")
    if "message" in fields:
        report["message"] = _short_text(fields, "message")
    return compose(**report)


def _finite(fields: dict[str, JsonText], name: str) -> JsonText:
    text = fields.get(name, JsonText(b""))
    # The length is limited first: converting a number of a million digits would take long.
    if not _NUMBER.match(text) or len(text) > _NUMBER_LENGTH or not math.isfinite(float(text)):
        raise InvalidRequest(f"{name} must be a finite number of at most {_NUMBER_LENGTH} characters.")
    return text


def _short_text(fields: dict[str, JsonText], name: str) -> str:
    text = fields[name]
    value = json.loads(text) if text.startswith(b'"') else None
    if not isinstance(value, str) or len(value) > _MESSAGE_LENGTH:
        raise InvalidRequest(f"{name} must be a string of at most {_MESSAGE_LENGTH} characters.")
    return value
