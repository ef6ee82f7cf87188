# /// script
# requires-python = ">=3.10"
# ///
"""The client of Parley for Python 3.10 and newer: one file that needs only the standard library.

A host offers functions as tools for as long as its session lasts:

    from relay import host

    with host([add, weather], relay="https://…") as session:
        print(session.code, session.mcp_url)
        session.wait()

A guest that has the session's code uses them:

    from relay import guest

    guest("ABC1-2345", relay="https://…").call_tool("add", {"a": 1, "b": 2})

In a notebook, `session = host([add]).start()` runs on after its cell, until `session.end()`.

Programs with asyncio write `async with host(…) as session: await session.await_end()` and
`await guest(…).acall_tool(…)`. `python relay.py --help` says what the file does as a command. The logger `relay`
reports what comes and goes at the level INFO, and every call of the relay at the level DEBUG; `relay.calls` has a line
for each call of a tool at the level INFO.
"""

from __future__ import annotations

import atexit
import base64
import contextvars
import dataclasses
import enum
import http.client
import importlib
import inspect
import io
import json
import logging
import math
import operator
import os
import queue
import random
import re
import select
import signal
import socket
import ssl
import sys
import threading
import time
import traceback
import types
import typing
from abc import ABC, abstractmethod
from collections import abc, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import contextmanager, suppress
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import cache, partial
from itertools import chain, count, takewhile
from pathlib import Path, PurePath
from typing import IO, Annotated, Any, Literal, NamedTuple, TextIO, TypeVar, overload
from urllib.parse import SplitResult, quote, unquote, urlsplit

if typing.TYPE_CHECKING:  # imported where they are needed: they take long, and most programs do without them
    import argparse
    import asyncio
    import subprocess

__all__ = ["Guest", "RelayError", "Session", "Tool", "ToolCall", "cancelled", "guest", "host", "progress", "tool"]

_log = logging.getLogger("relay")
_calls_log = logging.getLogger("relay.calls")

_Object = dict[str, Any]  # a JSON object


# Errors


class RelayError(Exception):
    """A call of the relay has failed, or a request.

    Attributes:
        code: The `code` of the relay's problem document, or `timeout` (no answer in time), `unreachable` (no
            connection), `unexpected_answer` (something other than the relay answered), `client_error` (what has
            arrived cannot be used). None if the host has answered with an `error`.
        status: The HTTP status of a refusal, else None.
        retry_after: In how many seconds the relay wants to be called again, at most 60, None if it does not say.
        error: The host's `error`, any JSON.
        final: Whether the same call would fail again.
    """

    def __init__(
        self, message: str = "", code: str = "", status: int = 0, retry_after: float = 0, error: Any = None
    ) -> None:
        super().__init__(message)
        self.code = code or None
        self.status = status or None
        self.retry_after = retry_after or None
        self.error = error
        self.final = code not in _NETWORK and status < 500 and status != 429


_NETWORK = ("unreachable", "unexpected_answer")  # the codes of errors that are not the relay's refusals


# JSON

_SPACE = " \t\n\r"
_MAX_DIGITS = 4300  # what int() takes as Python is set up; the time that it needs grows with the square


class _Unreadable:
    """Stands for a JSON value that Python cannot read."""


def _json(value: Any, *, allow_nan: bool = False) -> str:
    """Write a value as JSON that UTF-8 can encode. Raises TypeError, ValueError or RecursionError if it is not JSON."""
    text = _dumps(value, ensure_ascii=False, allow_nan=allow_nan)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can write
        return _dumps(value, ensure_ascii=True, allow_nan=allow_nan)
    return text


def _dumps(value: Any, *, ensure_ascii: bool, allow_nan: bool) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=allow_nan, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    """Return what is written in place of a value that the module `json` does not know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, abc.Mapping):
        return dict(value)
    if isinstance(value, abc.Set | abc.Iterator | abc.ValuesView | range | deque):
        return _listed(value)
    if type(value).__module__.partition(".")[0] in ("datetime", "decimal", "pathlib", "uuid"):
        return _plain_of_standard_library(value)
    return _plain_of_library(value)


def _listed(values: Iterable[Any]) -> list[Any]:
    """Return values in a list, those of a set in their order if they have one. Stops when nobody waits any more."""
    if isinstance(values, abc.Set):
        with suppress(TypeError):
            return sorted(values)
    over = _cancellation()
    return list(takewhile(lambda _: not over.is_set(), values))


def _plain_of_standard_library(value: Any) -> Any:
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _plain_of_library(value: Any) -> Any:
    """Return what is written in place of a value of pydantic, numpy or pandas, which are not imported for that."""
    of = type(value)
    if hasattr(of, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    if of.__name__ in ("NAType", "NaTType"):  # what is missing in a column of pandas
        return None
    if _is_table(value):
        return _records(_frame_of(value))
    if hasattr(of, "tolist") and hasattr(of, "dtype"):
        return value.tolist()
    if hasattr(of, "isoformat") or hasattr(of, "total_seconds"):  # pandas' times are subclasses of Python's
        return _plain_of_standard_library(value)
    raise TypeError(f"{of.__name__} is no JSON")


def _parse(text: str, depth: int = 0) -> Any:
    """Parse JSON. A number that Python cannot hold is read as its text. Raises ValueError.

    Of a value that is nested too deeply for Python, so many outer levels are read; what is in them, and is still
    nested too deeply, is `_Unreadable`.
    """
    try:
        return json.loads(text, parse_int=_integer, parse_float=_float)
    except RecursionError:
        if not depth:
            return _Unreadable()
    text = text.strip(_SPACE)
    parts = _parts(text)
    if text.startswith("["):
        return [_parse(part, depth - 1) for part in parts]
    return {str(json.loads(name)): _parse(value, depth - 1) for name, value in zip(parts, parts, strict=True)}


def _integer(text: str) -> int | str:
    if len(text) <= _MAX_DIGITS:
        with suppress(ValueError):  # Python may be set up to take fewer digits
            return int(text)
    return text


def _float(text: str) -> float | str:
    number = float(text)
    return text if math.isinf(number) else number


def _parts(text: str) -> Iterator[str]:
    """Yield the text of each element of a JSON array, or of each name and each value of a JSON object in turn.

    Brackets are counted, so that a value may be nested as deeply as it likes. Raises ValueError if the text breaks off.
    """
    at = _skip(text, 1)
    while text[at : at + 1] not in ("]", "}"):
        end = _end_of_value(text, at)
        yield text[at:end]
        at = _skip(text, end)


def _skip(text: str, at: int) -> int:
    """Return the place of the next name, value or closing bracket."""
    while at < len(text) and text[at] in f"{_SPACE},:":
        at += 1
    return at


def _end_of_value(text: str, at: int) -> int:
    depth = 0
    while at < len(text):
        character = text[at]
        if character == '"':
            at = _end_of_string(text, at)
        elif depth or character in "[{":
            depth += (character in "[{") - (character in "]}")
            at += 1
        else:
            at = _end_of_word(text, at)
        if not depth:
            return at
    raise ValueError("the text breaks off")


def _end_of_string(text: str, at: int) -> int:
    """Return the place after a string, of which `at` is the opening quotation mark."""
    while (at := text.find('"', at + 1)) >= 0:
        escapes = at
        while text[escapes - 1] == "\\":
            escapes -= 1
        if (at - escapes) % 2 == 0:
            return at + 1
    raise ValueError("the text breaks off")


def _end_of_word(text: str, at: int) -> int:
    """Return the place after a number, `true`, `false` or `null`."""
    while at < len(text) and text[at] not in f"{_SPACE},:]}}":
        at += 1
    return at


def _excerpt(value: Any) -> str:
    """Return the beginning of a JSON value's text, for people."""
    try:
        return f"{json.dumps(value, ensure_ascii=False, default=str):.100}"
    except RecursionError:
        return "what is nested too deeply"


# Schema: types in


class _Kind(ABC):
    """The values that an annotation allows. A subclass for each kind of annotation describes, checks and converts.

    Models send `"5"` for 5, and `"[1,2]"` for [1, 2]: a text that does not fit is read as JSON, and taken if that fits.
    """

    @abstractmethod
    def schema(self) -> _Object:
        """Return the JSON Schema of the values."""

    def misfits(self, value: Any, where: str) -> list[str]:
        """Return a text for each part of a JSON value that does not fit. `where` is the value's place, as `a.b[0]`."""
        return self._read(value, where)[1]

    def convert(self, value: Any) -> Any:
        """Return the Python value that a fitting JSON value stands for."""
        return self._convert(self._read(value, "")[0])

    def _read(self, value: Any, where: str) -> tuple[Any, list[str]]:
        """Return the JSON value that is meant, and why it does not fit."""
        reasons = list(self._misfits(value, where))
        if reasons and isinstance(value, str):
            meant = _json_or_text(value)
            if not isinstance(meant, str) and not any(self._misfits(meant, where)):
                return meant, []
        return value, reasons

    @abstractmethod
    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        """Yield why a JSON value does not fit, as `misfits` returns it."""

    def _convert(self, value: Any) -> Any:
        return value


class _Anything(_Kind):
    """Any, object, or no annotation at all."""

    def schema(self) -> _Object:
        return {}

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        return iter(())


class _Scalar(_Kind):
    """A text, a number, a truth value or None."""

    def __init__(self, name: str, convert: Callable[[Any], Any] | None = None) -> None:
        self._name = name
        self._converter = convert

    def schema(self) -> _Object:
        return {"type": self._name}

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        if not _is_of_type(self._name, value):
            yield _mistyped(self._name, value, where)

    def _convert(self, value: Any) -> Any:
        return self._converter(value) if self._converter else value


class _Choice(_Kind):
    """Literal, or an Enum. Options are compared as JSON, in which 1 is not true."""

    def __init__(self, options: Iterable[tuple[Any, Any]]) -> None:
        """Take pairs of a JSON value and what it stands for."""
        self._options = {_json(value): meant for value, meant in options}

    def schema(self) -> _Object:
        """Return the options, by type: some clients refuse a whole list of tools for an `enum` without `type`."""
        options: dict[str, list[Any]] = {}
        for option in map(json.loads, self._options):
            options.setdefault(_TYPE_NAMES[type(option)], []).append(option)
        schemas: list[_Object] = [{"type": name, "enum": found} for name, found in options.items()]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        if _json(value) not in self._options:
            yield f"{where or 'this'} must be one of {', '.join(self._options)}, not {_excerpt(value)}"

    def _convert(self, value: Any) -> Any:
        return self._options[_json(value)]


class _Union(_Kind):
    """Union, Optional or `|`. The first alternative that a value fits holds."""

    def __init__(self, alternatives: list[_Kind]) -> None:
        self._alternatives = alternatives

    def schema(self) -> _Object:
        return {"anyOf": [kind.schema() for kind in self._alternatives]}

    def misfits(self, value: Any, where: str) -> list[str]:
        reasons = ["; ".join(kind.misfits(value, where)) for kind in self._alternatives]
        return [", or ".join(reasons)] if all(reasons) else []

    def convert(self, value: Any) -> Any:
        """Take a text as it is, if any alternative does."""
        as_it_is = (kind for kind in self._alternatives if not any(kind._misfits(value, "")))
        in_a_text = (kind for kind in self._alternatives if not kind.misfits(value, ""))
        return next(chain(as_it_is, in_a_text)).convert(value)

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        if all(any(kind._misfits(value, where)) for kind in self._alternatives):
            yield from self.misfits(value, where)


class _Array(_Kind):
    """A list."""

    def __init__(self, element: _Kind) -> None:
        self._element = element

    def schema(self) -> _Object:
        return {"type": "array", "items": self._element.schema()}

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield _mistyped("array", value, where)
            return
        for place, element in enumerate(value):
            yield from self._element.misfits(element, f"{where}[{place}]")

    def _convert(self, value: Any) -> Any:
        return [self._element.convert(element) for element in value]


class _Tuple(_Kind):
    """A tuple of as many elements as it has kinds."""

    def __init__(self, elements: list[_Kind]) -> None:
        self._elements = elements

    def schema(self) -> _Object:
        """Return a schema with `items`, too, without which some clients refuse an array."""
        schemas = [kind.schema() for kind in self._elements]
        size = {"minItems": len(schemas), "maxItems": len(schemas)}
        return {"type": "array", "prefixItems": schemas, "items": {"anyOf": schemas}, **size}

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list) or len(value) != len(self._elements):
            yield f"{where or 'this'} must be an array of {len(self._elements)} elements, not {_excerpt(value)}"
            return
        for place, (kind, element) in enumerate(zip(self._elements, value, strict=True)):
            yield from kind.misfits(element, f"{where}[{place}]")

    def _convert(self, value: Any) -> Any:
        return tuple(kind.convert(element) for kind, element in zip(self._elements, value, strict=True))


class _Mapping(_Kind):
    """A dict, whose keys are texts."""

    def __init__(self, member: _Kind) -> None:
        self._member = member

    def schema(self) -> _Object:
        return {"type": "object", "additionalProperties": self._member.schema()}

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield _mistyped("object", value, where)
            return
        for name, member in value.items():
            yield from self._member.misfits(member, f"{where}.{name}" if where else name)

    def _convert(self, value: Any) -> Any:
        return {name: self._member.convert(member) for name, member in value.items()}


class _Made(_Kind):
    """Values that are made of those of another kind. `make` raises an exception for what does not fit.

    Args:
        source: The kind of JSON values.
        make: Makes a Python value of a value of that kind.
        name: What has to fit, in words.
        keywords: What its JSON Schema has beside that of `source`.
    """

    def __init__(self, source: _Kind, make: Callable[[Any], Any], name: str, **keywords: Any) -> None:
        self._source = source
        self._make = make
        self._name = name
        self._keywords = keywords

    def schema(self) -> _Object:
        return self._source.schema() | self._keywords

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        reasons = self._source.misfits(value, where)
        yield from reasons
        if not reasons:
            try:
                self._convert(value)
            except Exception:  # noqa: BLE001 - each of these types has exceptions of its own
                yield f"{where or 'this'} must be {self._name}, not {_excerpt(value)}"

    def _convert(self, value: Any) -> Any:
        return self._make(self._source.convert(value))


class _Model(_Kind):
    """A model of pydantic, which describes, checks and makes its values itself."""

    def __init__(self, model: Any, known: _Definitions) -> None:
        self._model = model
        self._schema = known.schema_of_model(model)

    def schema(self) -> _Object:
        return dict(self._schema)

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        try:
            self._model.model_validate(value)
        except Exception as error:  # noqa: BLE001 - the class of its errors is in pydantic
            for place, message in _errors_of_model(error):
                yield f"{'.'.join(filter(None, [where, place])) or 'this'}: {message}"

    def _convert(self, value: Any) -> Any:
        return self._model.model_validate(value)


def _errors_of_model(error: Exception) -> list[tuple[str, str]]:
    """Return the place and the text of each error that a model has found."""
    with suppress(AttributeError, TypeError, KeyError):
        return [(".".join(map(str, one["loc"])), str(one["msg"])) for one in error.errors()]  # type: ignore[attr-defined]
    return [("", f"{type(error).__name__}: {error}")]


class _Described(_Kind):
    """A kind with a description: `Annotated`."""

    def __init__(self, kind: _Kind, description: str) -> None:
        self._kind = kind
        self._description = description

    def schema(self) -> _Object:
        return self._kind.schema() | {"description": self._description}

    def misfits(self, value: Any, where: str) -> list[str]:
        return self._kind.misfits(value, where)

    def convert(self, value: Any) -> Any:
        return self._kind.convert(value)

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        return self._kind._misfits(value, where)


class _Constraint(NamedTuple):
    """A constraint of Python values, such as `Ge(0)`, whose limit is 0.

    Attributes:
        keywords: The keyword of JSON Schema that says the same, by the type of the JSON value.
        holds: Whether a value keeps to the limit. Raises TypeError for a value of a type that has no such limit.
        words: What the value must do, followed by the limit, in a message.
        limit: The limit: a number, a date or the like, or a pattern.
    """

    keywords: dict[str, str]
    holds: Callable[[Any, Any], bool]
    words: str
    limit: Any = None

    def schema(self, types_of_value: set[str]) -> _Object:
        """Return the keywords for values of these JSON types, none if JSON has no words for the limit."""
        limit = self.limit.pattern if isinstance(self.limit, re.Pattern) else self.limit
        if type(limit).__name__ == "Decimal":
            limit = float(limit)
        if not isinstance(limit, int | float | str) or (isinstance(limit, float) and not math.isfinite(limit)):
            return {}
        return {keyword: limit for of, keyword in self.keywords.items() if of in types_of_value}

    def is_violated(self, value: Any) -> bool:
        try:
            return not self.holds(value, self.limit)
        except TypeError:  # such as None, where None is allowed, too
            return False

    def __str__(self) -> str:
        limit = self.limit.pattern if isinstance(self.limit, re.Pattern) else self.limit
        return f"must {self.words} {limit}"


def _is_multiple(value: Any, of: Any) -> bool:
    """Tell whether a number is a multiple. 0.3 is one of 0.1, although floats leave a remainder."""
    remainder = abs(value % of)
    if isinstance(remainder, float):
        return bool(min(remainder, abs(of) - remainder) <= abs(of) * 1e-9)
    return bool(remainder == 0)


def _by_number(keyword: str) -> dict[str, str]:
    return {"number": keyword, "integer": keyword}


# Attributes of what annotated_types, pydantic and others put into `Annotated` -> the constraint, without its limit.
_CONSTRAINTS = {
    "ge": _Constraint(_by_number("minimum"), operator.ge, "be at least"),
    "gt": _Constraint(_by_number("exclusiveMinimum"), operator.gt, "be more than"),
    "le": _Constraint(_by_number("maximum"), operator.le, "be at most"),
    "lt": _Constraint(_by_number("exclusiveMaximum"), operator.lt, "be less than"),
    "multiple_of": _Constraint(_by_number("multipleOf"), _is_multiple, "be a multiple of"),
    "min_length": _Constraint(
        {"string": "minLength", "array": "minItems", "object": "minProperties"},
        lambda value, limit: len(value) >= limit,
        "have at least the length",
    ),
    "max_length": _Constraint(
        {"string": "maxLength", "array": "maxItems", "object": "maxProperties"},
        lambda value, limit: len(value) <= limit,
        "have at most the length",
    ),
    "pattern": _Constraint(
        {"string": "pattern"}, lambda value, pattern: bool(pattern.search(value)), "match the pattern"
    ),
}


def _constraints_in(metadata: Iterable[Any]) -> list[_Constraint]:
    """Return the constraints in the metadata of `Annotated`. pydantic's `Field` keeps its own in `metadata`, too."""
    found = []
    for item in metadata:
        inner = getattr(item, "metadata", None)
        for carrier in (item, *(inner if isinstance(inner, list) else [])):
            limits = {name: getattr(carrier, name, None) for name in _CONSTRAINTS}
            found += [
                constraint._replace(limit=_checked_limit(name, limits[name]))
                for name, constraint in _CONSTRAINTS.items()
                if limits[name] is not None and not callable(limits[name])
            ]
    return found


def _checked_limit(name: str, limit: Any) -> Any:
    """Return the limit of a constraint. Raises TypeError for one that no value can be compared with."""
    if name in ("min_length", "max_length") and not isinstance(limit, int):
        raise TypeError(f"{name} has to be a whole number, not {limit!r}")
    if name == "multiple_of" and not limit:
        raise TypeError("multiple_of must not be 0")
    if name != "pattern":
        return limit
    try:
        return re.compile(limit)
    except (re.error, TypeError) as error:
        raise TypeError(f"the pattern {limit!r} cannot be used: {error}") from error


class _Constrained(_Kind):
    """A kind with constraints, which its Python values are checked against."""

    def __init__(self, kind: _Kind, constraints: list[_Constraint]) -> None:
        self._kind = kind
        self._constraints = constraints

    def schema(self) -> _Object:
        schema = self._kind.schema()
        types_of_value = _unconverted_types(schema)
        for constraint in self._constraints:
            schema |= constraint.schema(types_of_value)
        return schema

    def misfits(self, value: Any, where: str) -> list[str]:
        return self._kind.misfits(value, where) or self._violations(value, where)

    def convert(self, value: Any) -> Any:
        return self._kind.convert(value)

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        yield from list(self._kind._misfits(value, where)) or self._violations(value, where)

    def _violations(self, value: Any, where: str) -> list[str]:
        made = self._kind.convert(value)
        broken = [constraint for constraint in self._constraints if constraint.is_violated(made)]
        return [f"{where or 'this'} {constraint}, not {_excerpt(value)}" for constraint in broken]


def _unconverted_types(schema: _Object) -> set[str]:
    """Return the JSON types in a schema whose values are the same in Python: a text in Base64, for example, is not."""
    alternatives = schema.get("anyOf", [schema])
    return {one["type"] for one in alternatives if "type" in one and not one.keys() & {"format", "contentEncoding"}}


class _Reference(_Kind):
    """A type by its name, because it contains itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_used = False
        self.target: _Kind | None = None  # which is set as soon as it is complete

    def schema(self) -> _Object:
        return {"$ref": f"#/$defs/{self.name}"}

    def misfits(self, value: Any, where: str) -> list[str]:
        return self.target.misfits(value, where) if self.target else [f"{self.name} is not complete"]

    def convert(self, value: Any) -> Any:
        return self.target.convert(value) if self.target else value

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        return self.target._misfits(value, where) if self.target else iter([f"{self.name} is not complete"])


class _Definitions:
    """The types of a tool that its schema defines by name, since they contain themselves."""

    def __init__(self) -> None:
        self._references: dict[Any, _Reference] = {}
        self._of_models: dict[str, _Object] = {}

    def kind(self, of: Any, build: Callable[[], _Kind]) -> _Kind:
        """Return the kind of a type that may contain itself, which `build` builds from its parts."""
        if of in self._references:
            reference = self._references[of]
            reference.is_used = True
            return reference
        reference = self._references[of] = _Reference(self._free_name(of))
        reference.target = build()
        if reference.is_used:
            return reference
        del self._references[of]
        return reference.target

    def schema_of_model(self, model: Any) -> _Object:
        """Return the JSON Schema of a model of pydantic. What it defines by name is defined by the tool's schema."""
        prefix = self._free_name(model)
        schema: _Object = model.model_json_schema(ref_template=f"#/$defs/{prefix}.{{model}}")
        self._of_models |= {f"{prefix}.{name}": found for name, found in schema.pop("$defs", {}).items()}
        return schema

    def schemas(self) -> dict[str, _Object]:
        """Return the definitions by name."""
        found = {}
        for reference in self._references.values():
            if reference.target:
                found[reference.name] = reference.target.schema()
        return found | self._of_models

    def _free_name(self, of: Any) -> str:
        name = re.sub(r"\W", "_", of.__name__)
        taken = {reference.name for reference in self._references.values()}
        taken |= {defined.partition(".")[0] for defined in self._of_models}
        candidates = chain([name], (f"{name}{number}" for number in count(2)))
        return next(candidate for candidate in candidates if candidate not in taken)


class _Field(NamedTuple):
    """A parameter of a function, or a field of a dataclass, NamedTuple or TypedDict."""

    kind: _Kind
    required: bool
    default: Any = ...  # which is no JSON, and stands for none
    description: str = ""
    is_passed: bool = False  # whether the default has to be passed, since the function has something else in its place

    def schema(self) -> _Object:
        """Return the JSON Schema of the field's values, with its description and default.

        It names types also where anything goes: without them some clients send every value as a string of JSON.
        """
        schema = self.kind.schema()
        if not schema.keys() - {"description"}:
            schema |= {"anyOf": [{"type": name} for name in _TYPE_NAMES_OF_ANYTHING] + [_ANY_ARRAY]}
        if self.description and not isinstance(self.kind, _Described):
            schema["description"] = self.description
        with suppress(TypeError, ValueError, RecursionError):  # a default that is not JSON is not shown
            schema["default"] = json.loads(_json(self.default))
        return schema


class _Record(_Kind):
    """The parameters of a function, or a dataclass, NamedTuple or TypedDict. `make` is called with a value's members.

    Args:
        make: Takes members by name.
        fields: The members that have a name.
        others: The kind of all other members, None if there may be none.
        description: What the whole is for.
    """

    def __init__(
        self, make: Callable[..., Any], fields: dict[str, _Field], others: _Kind | None, description: str
    ) -> None:
        self.description = description
        self._make = make
        self._fields = fields
        self._others = others

    def schema(self) -> _Object:
        described = {"description": self.description} if self.description else {}
        return described | self.schema_of_members()

    def schema_of_members(self) -> _Object:
        """Return the JSON Schema without the description of the whole."""
        return {
            "type": "object",
            "properties": {name: field.schema() for name, field in self._fields.items()},
            "required": [name for name, field in self._fields.items() if field.required],
            "additionalProperties": self._others.schema() if self._others else False,
        }

    def _misfits(self, value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield _mistyped("object", value, where)
            return
        prefix = f"{where}." if where else ""
        for name, field in self._fields.items():
            if field.required and name not in value:
                yield f"{prefix}{name} is missing"
        for name, member in value.items():
            if name in self._fields:
                yield from self._fields[name].kind.misfits(member, f"{prefix}{name}")
            elif self._others:
                yield from self._others.misfits(member, f"{prefix}{name}")
            else:
                yield f"{prefix}{name} is not known, only {', '.join(self._fields) or 'nothing'}"

    def _convert(self, value: Any) -> Any:
        return self.bind(value)()

    def bind(self, value: Any) -> Callable[[], Any]:
        """Return a function that makes what a fitting JSON object stands for."""
        members = {name: field.default for name, field in self._fields.items() if field.is_passed}
        for name, member in self._read(value, "")[0].items():
            kind = self._fields[name].kind if name in self._fields else self._others
            members[name] = kind.convert(member) if kind else member
        return partial(self._make, **members)


_TYPE_NAMES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
    list: "array",
    dict: "object",
}


_TYPE_NAMES_OF_ANYTHING = ("string", "number", "boolean", "object", "null")
_ANY_ARRAY: _Object = {"type": "array", "items": {}}  # some clients refuse arrays without `items`


def _is_of_type(name: str, value: Any) -> bool:
    """Tell whether a JSON value is of a type of JSON Schema."""
    found = _TYPE_NAMES[type(value)]
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return name == found or (name == "number" and found == "integer")


def _mistyped(name: str, value: Any, where: str) -> str:
    return f"{where or 'this'} must be of the type {name}, not {_excerpt(value)}"


def _kind(hint: Any, known: _Definitions) -> _Kind:
    """Return the kind of an annotation. Raises TypeError if JSON has nothing for it."""
    annotation = _Annotation(hint)
    hint = annotation.type
    kind = _kind_of_special(hint, known) or _kind_of_class(hint, known) or _kind_of_generic(hint, known)
    if not kind:
        raise TypeError(f"for {hint!r} there is no JSON Schema")
    if annotation.constraints:
        kind = _Constrained(kind, annotation.constraints)
    return _Described(kind, annotation.description) if annotation.description else kind


class _Annotation:
    """An annotation without what `Annotated`, `Required` and the like say about its type.

    Attributes:
        type: The annotation's type.
        description: A text in `Annotated`, or the `description` of something there, such as pydantic's `Field`.
        constraints: Those in `Annotated`, such as `Ge(0)` or `Field(ge=0)`.
        marks: Required, NotRequired, ReadOnly or Final, by name.
    """

    def __init__(self, hint: Any) -> None:
        self.description = ""
        self.constraints: list[_Constraint] = []
        self.marks: set[str] = set()
        while True:
            # The module typing has some of them only in newer Pythons, and typing_extensions has its own.
            mark = str(typing.get_origin(hint)).rpartition(".")[2]
            if typing.get_origin(hint) is Annotated:
                self.description = self.description or _description_in(hint.__metadata__)
                self.constraints += _constraints_in(hint.__metadata__)
                hint = hint.__origin__
            elif mark in ("Required", "NotRequired", "ReadOnly", "Final"):
                self.marks.add(mark)
                hint = hint.__args__[0]
            elif isinstance(hint, dataclasses.InitVar):
                hint = hint.type
            else:
                break
        self.type = hint


def _description_in(metadata: tuple[Any, ...]) -> str:
    """Return the last description in the metadata of `Annotated`, empty without one."""
    found = [item if isinstance(item, str) else getattr(item, "description", None) for item in metadata]
    return next((text for text in reversed(found) if isinstance(text, str) and text), "")


def _kind_of_special(hint: Any, known: _Definitions) -> _Kind | None:
    """Return the kind of what only stands for a type, such as an alias, or None."""
    if isinstance(hint, typing.TypeVar):
        return _kind(hint.__bound__ or Any, known)
    if hasattr(hint, "__supertype__"):  # NewType
        return _kind(hint.__supertype__, known)
    if type(hint).__name__ == "TypeAliasType":  # type Name = …
        return known.kind(hint, lambda: _kind(hint.__value__, known))
    return None


def _kind_of_class(hint: Any, known: _Definitions) -> _Kind | None:
    """Return the kind of a class that has a way of its own to be made, or None."""
    of = typing.get_origin(hint) or hint
    if not isinstance(of, type):
        return None
    if hasattr(hint, "model_json_schema") and hasattr(hint, "model_validate"):
        return _Model(hint, known)
    if isinstance(of, enum.EnumMeta):
        return _Choice(_options_of(of))
    if dataclasses.is_dataclass(of) or typing.is_typeddict(of) or (issubclass(of, tuple) and hasattr(of, "_fields")):
        return known.kind(of, lambda: _record(of, known))
    if issubclass(of, PurePath):
        return _Made(_Scalar("string"), of, "a path", format="path")
    make = _CLASSES.get(f"{of.__module__}.{of.__qualname__}")
    return make(of) if make else None


def _options_of(of: enum.EnumMeta) -> list[tuple[Any, Any]]:
    """Return the values of an Enum's members with the members, or the names in place of values that are not JSON."""
    members: dict[str, Any] = dict(of.__members__)
    if all(type(member.value) in (str, int, float, bool, type(None)) for member in members.values()):
        return [(member.value, member) for member in members.values()]
    return list(members.items())


def _kind_of_generic(hint: Any, known: _Definitions) -> _Kind | None:
    """Return the kind of a type that is made of others, or of one of Python's own, or None."""
    origin, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    try:
        make = _KINDS.get(origin)
    except TypeError:  # it is not hashable
        return None
    return make(parts, known) if make else None


def _array(parts: tuple[Any, ...], known: _Definitions) -> _Kind:
    return _Array(_kind(parts[0] if parts else Any, known))


def _set(make: Callable[[Any], Any], parts: tuple[Any, ...], known: _Definitions) -> _Kind:
    for part in parts:
        of = _Annotation(part).type
        if getattr(typing.get_origin(of) or of, "__hash__", None) is None:
            raise TypeError(f"a set has no elements of the type {part!r}, which cannot be hashed")
    return _Made(_array(parts, known), make, "a set of what can be hashed", uniqueItems=True)


def _tuple(parts: tuple[Any, ...], known: _Definitions) -> _Kind:
    if not parts or parts[1:] == (...,):
        return _Made(_array(parts[:1], known), tuple, "an array")
    return _Tuple([_kind(part, known) for part in parts])


def _mapping(parts: tuple[Any, ...], known: _Definitions) -> _Kind:
    keys, members = parts or (str, Any)
    if keys not in (str, Any):
        raise TypeError(f"JSON objects have texts as keys, not {keys!r}")
    return _Mapping(_kind(members, known))


def _union(parts: tuple[Any, ...], known: _Definitions) -> _Kind:
    return _Union([_kind(part, known) for part in parts])


def _literal(parts: tuple[Any, ...], _: _Definitions) -> _Kind:
    options = [(part.value if isinstance(part, enum.Enum) else part, part) for part in parts]
    for value, _part in options:
        if type(value) not in (str, int, bool, type(None)):
            raise TypeError(f"JSON has nothing for {value!r}")
    return _Choice(options)


_Parts = tuple[Any, ...]

# What an annotation is made with -> its kind, from its parts: list, and then (int,), for list[int].
_KINDS: dict[Any, Callable[[_Parts, _Definitions], _Kind]] = {
    Any: lambda *_: _Anything(),
    object: lambda *_: _Anything(),
    str: lambda *_: _Scalar("string"),
    int: lambda *_: _Scalar("integer", int),
    float: lambda *_: _Scalar("number", float),
    bool: lambda *_: _Scalar("boolean"),
    None: lambda *_: _Scalar("null"),
    type(None): lambda *_: _Scalar("null"),
    **dict.fromkeys((list, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection), _array),
    deque: lambda parts, known: _Made(_array(parts, known), deque, "an array"),
    **dict.fromkeys((set, abc.Set, abc.MutableSet), partial(_set, set)),
    frozenset: partial(_set, frozenset),
    tuple: _tuple,
    **dict.fromkeys((dict, abc.Mapping, abc.MutableMapping), _mapping),
    Literal: _literal,
    typing.Union: _union,
    types.UnionType: _union,
}


def _from_iso(of: Any, text: str) -> Any:
    """Return a date or time. The Z for UTC is no part of what Python 3.10 reads."""
    return of.fromisoformat(re.sub("[Zz]$", "+00:00", text))


def _finite_decimal(of: Any, value: Any) -> Any:
    number = of(str(value))
    if not number.is_finite():
        raise ValueError("not finite")
    return number


# Classes by name, so that nobody has to import what he does not use -> their kinds.
_CLASSES: dict[str, Callable[[Any], _Kind]] = {
    "datetime.datetime": lambda of: _Made(
        _Scalar("string"), partial(_from_iso, of), "a date and time such as 2026-01-31T12:00:00Z", format="date-time"
    ),
    "datetime.date": lambda of: _Made(_Scalar("string"), of.fromisoformat, "a date such as 2026-01-31", format="date"),
    "datetime.time": lambda of: _Made(
        _Scalar("string"), partial(_from_iso, of), "a time such as 12:00:00", format="time"
    ),
    "datetime.timedelta": lambda of: _Made(
        _Scalar("number", float), lambda value: of(seconds=value), "a number of seconds", title="seconds"
    ),
    "uuid.UUID": lambda of: _Made(_Scalar("string"), of, "a UUID", format="uuid"),
    "decimal.Decimal": lambda of: _Made(
        _Union([_Scalar("number"), _Scalar("string")]), partial(_finite_decimal, of), "a decimal number"
    ),
    "builtins.bytes": lambda _: _Made(_Scalar("string"), _from_base64, "Base64", contentEncoding="base64"),
    "builtins.bytearray": lambda of: _Made(
        _Scalar("string"), lambda text: of(_from_base64(text)), "Base64", contentEncoding="base64"
    ),
}


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _record(of: Any, known: _Definitions) -> _Record:
    """Return the kind of a dataclass, NamedTuple or TypedDict, or of the arguments of a function."""
    doc = _Docstring(_doc_of(of))
    others = None
    make = of
    if typing.is_typeddict(of):
        fields = _fields_of_typed_dict(of, known)
    else:
        parameters = list(inspect.signature(of).parameters.values())
        fields, others = _fields_of_parameters(parameters, _hints_of(of), known)
        make = _by_name(of, parameters)
    described = {
        name: field._replace(description=field.description or doc.parameters.get(name, ""))
        for name, field in fields.items()
    }
    return _Record(make, described, others, doc.summary)


def _doc_of(of: Any) -> str:
    if not isinstance(of, type):
        return inspect.getdoc(of) or ""
    doc = of.__dict__.get("__doc__") or ""  # not that of its base
    return "" if doc.startswith(f"{of.__name__}(") else doc  # as dataclass() and NamedTuple write it


def _hints_of(of: Any) -> dict[str, Any]:
    return typing.get_type_hints(of, include_extras=True)


def _fields_of_parameters(
    parameters: list[inspect.Parameter], hints: dict[str, Any], known: _Definitions
) -> tuple[dict[str, _Field], _Kind | None]:
    """Return the parameters by name, and the kind of the others that `**` takes."""
    fields = {}
    others = None
    for parameter in parameters:
        kind = _kind(hints.get(parameter.name, Any), known)
        if parameter.kind is parameter.VAR_KEYWORD:
            others = kind
        elif parameter.kind is parameter.VAR_POSITIONAL:
            fields[parameter.name] = _Field(_Array(kind), required=False)
        else:
            fields[parameter.name] = _field_of(parameter, kind)
    return fields, others


def _field_of(parameter: inspect.Parameter, kind: _Kind) -> _Field:
    """Return a parameter that is passed by itself. One whose default is None may be null."""
    default = parameter.default
    if default is parameter.empty:
        return _Field(kind, required=True)
    if hasattr(default, "is_required") and hasattr(default, "get_default"):  # pydantic's Field in the default's place
        description = default.description or ""
        if constraints := _constraints_in([default]):
            kind = _Constrained(kind, constraints)
        if default.is_required():
            return _Field(kind, required=True, description=description)
        default = default.get_default(call_default_factory=True)
        return _Field(_optional(kind, default), False, default, description, is_passed=True)
    return _Field(_optional(kind, default), required=False, default=default)


def _optional(kind: _Kind, default: Any) -> _Kind:
    return _Union([kind, _Scalar("null")]) if default is None and kind.misfits(None, "") else kind


def _by_name(of: Any, parameters: list[inspect.Parameter]) -> Callable[..., Any]:
    """Return a function that takes all parameters by name, also those that `of` takes only by position."""
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    only = [one for one in positional if one.kind is one.POSITIONAL_ONLY]
    rest = next((one.name for one in parameters if one.kind is one.VAR_POSITIONAL), "")
    if not only and not rest:
        return of  # type: ignore[no-any-return]

    def call(**members: Any) -> Any:
        others = members.pop(rest, [])
        first = [members.pop(one.name, one.default) for one in (positional if others else only)]
        return of(*first, *others, **members)

    return call


def _fields_of_typed_dict(of: Any, known: _Definitions) -> dict[str, _Field]:
    fields = {}
    for name, hint in _hints_of(of).items():
        marks = _Annotation(hint).marks
        required = "Required" in marks or ("NotRequired" not in marks and name in of.__required_keys__)
        fields[name] = _Field(_kind(hint, known), required)
    return fields


class _Docstring:
    """What a docstring says in Google's, NumPy's or Sphinx' style.

    Attributes:
        summary: The first paragraph, in one line.
        parameters: The description of each parameter that has one, in one line.
    """

    _SECTION = re.compile(r"\w+:\s*")
    _PARAMETERS = ("Args:", "Arguments:", "Parameters:", "Attributes:")
    _ENTRY = re.compile(r"\*{0,2}(\w+)(?:\s*\(.*?\))?:(.*)")
    _NUMPY_PARAMETERS = ("Parameters", "Other Parameters", "Attributes")
    _UNDERLINE = re.compile("-{3,}")
    _SPHINX_FIELD = re.compile(r":\w+[^:]*:.*")
    _SPHINX_PARAMETER = re.compile(
        r":(?:param|parameter|arg|argument|key|keyword|var|ivar)\s+(?:[^:]*\s)?\\?\*{0,2}(\w+):(.*)"
    )

    def __init__(self, text: str) -> None:
        self._lines = inspect.cleandoc(text).splitlines()
        self.summary = self._find_summary()
        found = self._find_google() | self._find_numpy() | self._find_sphinx()
        self.parameters = {name: " ".join(words) for name, words in found.items() if words}

    def _find_summary(self) -> str:
        words: list[str] = []
        for line, following in self._lines_with_following():
            is_section = self._SECTION.fullmatch(line) or self._SPHINX_FIELD.fullmatch(line)
            if not line.strip() or is_section or self._UNDERLINE.fullmatch(following.strip()):
                break
            words += line.split()
        return " ".join(words)

    def _lines_with_following(self) -> Iterator[tuple[str, str]]:
        return zip(self._lines, [*self._lines[1:], ""], strict=True) if self._lines else iter(())

    def _find_google(self) -> dict[str, list[str]]:
        """Return the words about each parameter."""
        found: dict[str, list[str]] = {}
        is_in_section = False
        entry_indent = -1  # of the entry that a deeper line goes on with, -1 if there is none
        words: list[str] = []
        for line in self._lines:
            indent = len(line) - len(line.lstrip())
            entry = self._ENTRY.fullmatch(line.strip())
            if not line.strip():
                entry_indent = -1
            elif not indent:
                is_in_section = line.rstrip() in self._PARAMETERS
                entry_indent = -1
            elif 0 <= entry_indent < indent:
                words += line.split()
            elif is_in_section and entry:
                words = found[entry[1]] = entry[2].split()
                entry_indent = indent
        return found

    def _find_numpy(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        is_in_section = False
        names: list[str] = []
        for line, following in self._lines_with_following():
            if self._UNDERLINE.fullmatch(following.strip()):
                is_in_section = line.strip() in self._NUMPY_PARAMETERS
            elif not is_in_section or not line.strip() or self._UNDERLINE.fullmatch(line.strip()):
                continue
            elif line[0].isspace():
                for name in names:
                    found[name] += line.split()
            else:
                names = [name.strip().lstrip("*") for name in line.partition(":")[0].split(",")]
                found |= {name: [] for name in names}
        return found

    def _find_sphinx(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        words: list[str] | None = None
        for line in self._lines:
            parameter = self._SPHINX_PARAMETER.fullmatch(line)
            if parameter:
                words = found[parameter[1]] = parameter[2].split()
            elif words is not None and line[:1].isspace() and line.strip():
                words += line.split()
            else:
                words = None
        return found


# Schema: tools, and results out


class Tool:
    """A function with what guests see of it, where that is more than the function's annotations and docstring say.

    Attributes:
        name: The tool's name.
        definition: What guests see of the tool, in the words of MCP.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str = "",
        *,
        title: str = "",
        description: str = "",
        input_schema: dict[str, Any] | None = None,
        output_schema: dict[str, Any] | None = None,
        annotations: dict[str, Any] | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        """Take a function. What is left out comes from the decorator `tool`, or else from the function itself.

        Args:
            function: A function, a method or a coroutine function.
            name: 1 to 128 letters, digits or `_ . -`.
            title: A name for people.
            description: What the tool does, for the agent that chooses among tools.
            input_schema: A JSON Schema of the arguments. With it, the function is called with one dict, the arguments,
                which nobody has checked.
            output_schema: A JSON Schema of the result.
            annotations: Hints for the agent, such as `{"readOnlyHint": True}`.
            meta: The tool's `_meta`.

        Raises:
            TypeError: This cannot be a tool.
        """
        given = {
            "name": name,
            "title": title,
            "description": description,
            "input_schema": input_schema,
            "output_schema": output_schema,
            "annotations": annotations,
            "meta": meta,
        }
        options = getattr(function, _OPTIONS, {}) | _given(**given)
        self.name = str(options.get("name") or getattr(function, "__name__", repr(function)))
        self._function = function
        self._arguments: _Record | None = None
        try:
            self.definition = self._define(options)
            _json(self.definition)
        except (TypeError, ValueError, NameError, AttributeError, RecursionError) as error:
            raise TypeError(f"{self.name} cannot be a tool: {type(error).__name__}: {error}") from error

    def _define(self, options: _Object) -> _Object:
        if not callable(self._function):
            raise TypeError("this is no function")
        if not _TOOL_NAME.fullmatch(self.name):
            raise ValueError("a tool's name has 1 to 128 letters, digits or _ . -")
        definition: _Object = {"name": self.name, "title": options.get("title"), "description": ""}
        if "input_schema" in options:
            definition["inputSchema"] = options["input_schema"]
            definition["description"] = _Docstring(inspect.getdoc(self._function) or "").summary
        else:
            known = _Definitions()
            self._arguments = _record(self._function, known)
            definitions = known.schemas()
            schema = self._arguments.schema_of_members() | ({"$defs": definitions} if definitions else {})
            definition |= {"description": self._arguments.description, "inputSchema": schema}
        definition["description"] = options.get("description") or definition["description"]
        definition["outputSchema"] = options.get("output_schema")
        definition["annotations"] = options.get("annotations")
        definition["_meta"] = options.get("meta")
        return {member: value for member, value in definition.items() if value or member == "inputSchema"}

    def _bind(self, arguments: Any) -> Callable[[], Any]:
        """Return the function with a call's arguments. Raises _Misfit if they do not fit."""
        if not self._arguments:
            if not isinstance(arguments, dict):
                raise _Misfit(f"The arguments do not fit: {_mistyped('object', arguments, '')}.")
            return partial(self._function, arguments)
        if reasons := "; ".join(self._arguments.misfits(arguments, "")):
            raise _Misfit(f"The arguments do not fit: {reasons}.")
        return self._arguments.bind(arguments)


_TOOL_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
_OPTIONS = "__relay_tool__"  # the attribute of a function that keeps what its decorator says


_Function = TypeVar("_Function", bound=Callable[..., Any])


@overload
def tool(function: _Function) -> _Function: ...


@overload
def tool(
    *,
    name: str = "",
    title: str = "",
    description: str = "",
    input_schema: dict[str, Any] | None = None,
    output_schema: dict[str, Any] | None = None,
    annotations: dict[str, Any] | None = None,
    meta: dict[str, Any] | None = None,
) -> Callable[[_Function], _Function]: ...


def tool(
    function: Any = None,
    *,
    name: str = "",
    title: str = "",
    description: str = "",
    input_schema: dict[str, Any] | None = None,
    output_schema: dict[str, Any] | None = None,
    annotations: dict[str, Any] | None = None,
    meta: dict[str, Any] | None = None,
) -> Any:
    """Say more about a function that is to be a tool: a decorator with the arguments of `Tool`.

    The function stays as it is. It is offered where it is passed to `host`, or found in what is passed:

        @tool(title="Free space", annotations={"readOnlyHint": True})
        def free_space(path: str = "/") -> int: ...
    """
    options = _given(
        name=name,
        title=title,
        description=description,
        input_schema=input_schema,
        output_schema=output_schema,
        annotations=annotations,
        meta=meta,
    )

    def decorate(function: Any) -> Any:
        setattr(function, _OPTIONS, options)
        return function

    return decorate(function) if function else decorate


def _given(**options: Any) -> _Object:
    """Return the options of a tool that are not left out."""
    return {option: value for option, value in options.items() if value not in ("", None)}


def _tools_in(tools: Any) -> dict[str, Tool]:
    """Return the tools in what `host` is given, by name.

    Of several functions, those that cannot be tools are left out, with a warning. Raises TypeError if all cannot.
    """
    found: dict[str, Tool] = {}
    errors = []
    for name, function in _named_functions(tools):
        made = _tool_or_error(name, function)
        if isinstance(made, Tool) and made.name in found:
            made = TypeError(f"{made.name} cannot be a tool: another tool has this name")
        if isinstance(made, Tool):
            found[made.name] = made
        else:
            errors.append((function, made))
    if errors and not found:
        raise errors[0][1]
    for function, error in errors:
        _log.warning("%s%s. It is left out.", _place_of(function), error)
    return found


def _tool_or_error(name: str, function: Any) -> Tool | TypeError:
    try:
        return function if isinstance(function, Tool) else Tool(function, name)
    except TypeError as error:
        return error


def _named_functions(tools: Any) -> list[tuple[str, Any]]:
    """Return the functions in what `host` is given. A name is empty if it is the function's own."""
    if isinstance(tools, Tool) or inspect.isroutine(tools) or isinstance(tools, partial):
        return [("", tools)]
    if isinstance(tools, abc.Mapping):
        return [("" if isinstance(value, Tool) else name, value) for name, value in tools.items()]
    if isinstance(tools, types.ModuleType):
        return _functions_of_module(tools)
    if isinstance(tools, type | str | bytes):
        raise TypeError(f"host() takes functions, a module or an object, not {tools!r}")
    if isinstance(tools, abc.Iterable):
        return [("", function) for function in tools]
    public = [name for name in dir(type(tools)) if not name.startswith("_")]
    return [("", getattr(tools, name)) for name in public if inspect.isroutine(getattr(type(tools), name))]


def _functions_of_module(module: types.ModuleType) -> list[tuple[str, Any]]:
    """Return the functions in a module's `__all__`, or else those that it defines, without a leading underscore."""
    values = vars(module)
    functions = {
        name: value
        for name, value in values.items()
        if isinstance(value, Tool) or inspect.isroutine(inspect.unwrap(value))
    }
    defined = [
        name for name, value in functions.items() if isinstance(value, Tool) or value.__module__ == module.__name__
    ]
    public = values.get("__all__", [name for name in defined if not name.startswith("_")])
    found = [(name, functions[name]) for name in public if name in functions]
    return [("" if isinstance(value, Tool) or hasattr(value, _OPTIONS) else name, value) for name, value in found]


def _place_of(function: Any) -> str:
    """Return the file and line of a function, as `file:line: `, empty for one that is not written in Python."""
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    return f"{code.co_filename}:{code.co_firstlineno}: " if code else ""


class _Misfit(Exception):
    """The arguments of a call do not fit its tool."""


def _tool_result(value: Any) -> _Object:
    """Return what a tool has returned in the words of MCP. Raises as `_json` does.

    Numbers that JSON has no words for (NaN, Infinity) are null in `structuredContent`, and named in the text.
    """
    if isinstance(value, abc.Iterator):
        value = _listed(value)
    if blocks := _blocks(value):
        return {"content": blocks}
    if _is_table(value):
        return _table_result(_frame_of(value))
    text = _json(_with_text_keys(value), allow_nan=True)
    plain = _json_without_nan(text)
    if _is_tool_result(plain):
        return _without_nulls(plain) if hasattr(value, "model_dump") else dict(plain)
    if isinstance(plain, str):
        return _text_result(plain)
    return _text_result(text) | {"structuredContent": plain}


def _json_without_nan(text: str) -> Any:
    return json.loads(text, parse_constant=lambda _: None)


def _with_text_keys(value: Any) -> Any:
    """Return a value whose dicts have keys that JSON can have: dates, for example, are written as texts."""
    if isinstance(value, dict):
        return {_text_key(key): _with_text_keys(member) for key, member in value.items()}
    if type(value) in (list, tuple):
        return [_with_text_keys(element) for element in value]
    return value


def _text_key(key: Any) -> Any:
    if isinstance(key, str | int | float | None) and not isinstance(key, enum.Enum):
        return key
    plain = _plain(key) if type(key) is not tuple else key
    if isinstance(plain, str | int | float | None):
        return plain
    raise TypeError(f"{type(key).__name__} cannot be a name in JSON")


def _without_nulls(result: _Object) -> _Object:
    """Return a CallToolResult without the members that the model of a library has, but did not set."""
    given = {name: member for name, member in result.items() if member is not None}
    blocks = [{name: member for name, member in block.items() if member is not None} for block in given["content"]]
    return given | {"content": blocks}


def _is_tool_result(value: Any) -> bool:
    content = value.get("content") if isinstance(value, dict) else None
    return isinstance(content, list) and all(
        isinstance(block, dict) and isinstance(block.get("type"), str) for block in content
    )


def _text_result(text: str) -> _Object:
    return {"content": [{"type": "text", "text": text}]}


def _error_result(text: str) -> _Object:
    return _text_result(text) | {"isError": True}


def _blocks(value: Any) -> list[_Object]:
    """Return the content blocks of images, also in a list beside other values. Empty if there are none."""
    if type(value) in (list, tuple):
        blocks_of_each = [_image_blocks(element) for element in value]
        if not any(blocks_of_each):
            return []
        found = zip(value, blocks_of_each, strict=True)
        return [block for element, blocks in found for block in blocks or _tool_result(element)["content"]]
    return _image_blocks(value)


def _image_blocks(value: Any) -> list[_Object]:
    """Return the content blocks of a figure, an image, or what else notebooks show as one. Empty for other values."""
    of = type(value)
    if hasattr(of, "savefig"):  # a figure of matplotlib, or what seaborn has around one
        return [_image_block(_png_of_figure(value))]
    if hasattr(of, "get_figure") and hasattr(getattr(value, "figure", None), "savefig"):  # a part of it, such as Axes
        return [_image_block(_png_of_figure(value.figure))]
    if hasattr(of, "_repr_mimebundle_"):
        blocks = _blocks_of_bundle(_data_of(value._repr_mimebundle_(include=None, exclude=None)))
        if blocks:
            return blocks
    for name, mime_type in (("_repr_png_", "image/png"), ("_repr_jpeg_", "image/jpeg")):
        if hasattr(of, name) and (data := _data_of(getattr(value, name)())):
            return [_image_block(data, mime_type)]
    return []


def _png_of_figure(figure: Any) -> bytes:
    """Return a figure as a PNG. It is closed then: matplotlib would keep each one as long as the program runs."""
    output = io.BytesIO()
    figure.savefig(output, format="png", bbox_inches="tight")
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot:
        with suppress(TypeError):
            pyplot.close(getattr(figure, "figure", figure))
    return output.getvalue()


def _data_of(shown: Any) -> Any:
    """Return the data that a method for notebooks returns, perhaps in a pair with metadata."""
    return shown[0] if isinstance(shown, tuple) else shown


def _blocks_of_bundle(bundle: Any) -> list[_Object]:
    """Return the image in what notebooks show, or else its text."""
    bundle = bundle if isinstance(bundle, dict) else {}
    for mime_type in ("image/png", "image/jpeg", "image/gif", "image/webp"):
        if data := bundle.get(mime_type):
            return [_image_block(data, mime_type)]
    for mime_type in ("text/markdown", "text/plain"):
        if isinstance(bundle.get(mime_type), str):
            return [{"type": "text", "text": bundle[mime_type]}]
    return []


def _image_block(data: Any, mime_type: str = "image/png") -> _Object:
    """Return a content block for an image: bytes, or Base64."""
    text = data.replace("\n", "") if isinstance(data, str) else base64.b64encode(data).decode()
    return {"type": "image", "data": text, "mimeType": mime_type}


# Schema: tables of pandas, which is not imported for them

_TABLE_ROWS = 50  # in the text
_TABLE_CHARACTERS = 20_000
_RECORDS = 1_000
_RECORDS_CHARACTERS = 500_000  # half of what a relay takes, at most 2 bytes each for most texts


def _is_table(value: Any) -> bool:
    """Tell whether a value is a DataFrame or Series of pandas, or of a class that is made of one."""
    return any(
        base.__name__ in ("DataFrame", "Series") and base.__module__.partition(".")[0] == "pandas"
        for base in type(value).__mro__
    )


def _frame_of(value: Any) -> Any:
    """Return a DataFrame, or a Series as one with a column."""
    if hasattr(value, "to_frame"):
        return value.to_frame("value" if value.name is None else value.name)
    return value


def _table_result(frame: Any) -> _Object:
    """Return a DataFrame as a table in text, and as records, each cut if it is long, which the text says."""
    rows = len(frame)
    in_text = min(rows, _TABLE_ROWS)
    text = frame.head(in_text).to_string()
    if len(text) > _TABLE_CHARACTERS:
        text = f"{text[:_TABLE_CHARACTERS]}\n… (cut: the table is too wide)"
    in_records = min(rows, _RECORDS)
    records = _json(_records(frame.head(in_records)), allow_nan=True)
    while len(records) > _RECORDS_CHARACTERS and in_records:
        in_records //= 2
        records = _json(_records(frame.head(in_records)), allow_nan=True)
    if in_text < rows or in_records < rows:
        text += f"\n\nThe first {in_text:,} of {rows:,} rows. structuredContent has the first {in_records:,}."
    return _text_result(text) | {"structuredContent": _json_without_nan(records)}


def _records(frame: Any) -> list[_Object]:
    """Return the rows of a DataFrame, each with its index if that says more than the row's number."""
    names = [_column_name(column) for column in frame.columns.tolist()]
    columns = [frame.iloc[:, place].tolist() for place in range(len(names))]
    if type(frame.index).__name__ != "RangeIndex":
        levels = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
        plural = len(levels) > 1
        defaults = [f"level_{place}" if plural else "index" for place in range(len(levels))]
        given = zip(frame.index.names, defaults, strict=True)
        names = [default if name is None else _column_name(name) for name, default in given] + names
        columns = [level.tolist() for level in levels] + columns
    names = _distinct(names)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _column_name(column: Any) -> str:
    return " / ".join(map(str, column)) if isinstance(column, tuple) else str(column)


def _distinct(names: list[str]) -> list[str]:
    """Return names of which none comes twice: a, a.2, a.3."""
    found: dict[str, None] = {}
    for name in names:
        candidates = chain([name], (f"{name}.{number}" for number in count(2)))
        found[next(candidate for candidate in candidates if candidate not in found)] = None
    return list(found)


# HTTP

_CALL_SECONDS = 20  # how long a call may take without a byte, in addition to the time that it asks the relay to wait
_END_SECONDS = 5  # … one that says that the caller goes
_MAX_BODY_BYTES = 4_400_000  # more than a relay takes, which is at most 4 MiB; its platform refuses 4.5 MB
_MAX_RETRY_AFTER_SECONDS = 60
_MIN_BYTES_PER_SECOND = 4_000  # what is slower for long is given up
_SEND_BYTES = 16 * 1024
_READ_BYTES = 64 * 1024


class _Relay:
    """The relay, by its HTTP API. Raises ValueError for a relay that is not a URL.

    Each call has a connection of its own. Redirects are not followed, so that a token goes nowhere else.

    Attributes:
        url: The relay's URL, without a slash at its end.
    """

    def __init__(self, relay: str) -> None:
        self.url = (relay or os.environ.get("PARLEY_URL", "")).rstrip("/")
        self._place = _checked_url(self.url)
        self._proxy = _proxy_of(self._place)
        secured = "https" in (self._place.scheme, self._proxy and self._proxy.scheme)
        self._tls = ssl.create_default_context() if secured else None  # made once, since it takes long

    def call(
        self,
        method: str,
        path: str,
        *names: str,
        body: str = "",
        headers: Mapping[str, str] | None = None,
        limit: _TimeLimit | None = None,
        depth: int = 1,
    ) -> _Object:
        """Make a call, and return the answer: an object that has members of these names, empty if none are wanted.

        Without a time limit, `_CALL_SECONDS` may pass without a byte. So many levels of the answer (`depth`) are read
        of one that is nested too deeply, as in `_parse`. Raises RelayError.
        """
        limit = limit or _TimeLimit(_CALL_SECONDS)
        with self.exchange(method, path, body=body, headers=headers, limit=limit) as answer:
            return _checked_answer(answer.text(), *names, depth=depth) if names else {}

    @contextmanager
    def exchange(
        self, method: str, path: str, *, body: str = "", headers: Mapping[str, str] | None = None, limit: _TimeLimit
    ) -> Iterator[_Answer]:
        """Make a call, and give its answer, which is read in the `with` block. Raises RelayError for a refusal."""
        with self.answering(method, path, body=body, headers=headers, limit=limit) as answer:
            if not answer.is_success:
                raise _refusal(answer)
            yield answer

    @contextmanager
    def answering(
        self,
        method: str,
        path: str,
        *,
        body: str = "",
        headers: Mapping[str, str] | None = None,
        limit: _TimeLimit,
        over: _Cancellation | None = None,
    ) -> Iterator[_Answer]:
        """Do as `exchange`, but give an answer of any status. When `over` is set, the call breaks off."""
        data = body.encode()
        if len(data) > _MAX_BODY_BYTES:
            detail = f"The message has {len(data):,} bytes, and no relay takes more than {_MAX_BODY_BYTES:,}."
            raise RelayError(detail, "payload_too_large", 413)
        connection = self._connection(limit.silence)
        try:
            with _network_errors(method, path, self._where()):
                connection.connect()
            with (over or _Cancellation()).stopping(partial(_shut_down, connection.sock)):
                with _network_errors(method, path, self._where()):
                    answer = self._send(connection, method, path, data, headers or {}, limit)
                try:
                    _log.debug("%s %s: %d", method, path, answer.status)
                    yield answer
                finally:
                    answer.close()
        finally:
            connection.close()

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        data: bytes,
        headers: Mapping[str, str],
        limit: _TimeLimit,
    ) -> _Answer:
        """Send a call over a connection, and return the beginning of its answer."""
        sent = {"User-Agent": "relay.py", "Connection": "close", **headers}
        if data:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        target = self._place.path + path
        if self._proxy and self._place.scheme == "http":
            sent |= _proxy_login(self._proxy)
            target = self.url + path
        connected = connection.sock  # which the connection forgets when the answer comes
        connection.request(method, target, _chunks(data, connected, limit) if data else None, sent)
        connected.settimeout(limit.for_beginning())
        return _Answer(connected, connection.getresponse(), limit)

    def _where(self) -> str:
        """Return where the relay is, for people, without the login of a proxy."""
        through = f", through the proxy {self._proxy.hostname}:{self._proxy.port or ''}" if self._proxy else ""
        return f"{self.url}{through}"

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        """Return a connection to the relay, or to the proxy, that is not open yet."""
        place = self._place
        if not self._proxy:
            return self._connection_to(place, place.scheme, seconds)
        if place.scheme == "http":
            return self._connection_to(self._proxy, self._proxy.scheme, seconds)
        connection = self._connection_to(self._proxy, "https", seconds)
        connection.set_tunnel(str(place.hostname), place.port or 443, _proxy_login(self._proxy))
        return connection

    def _connection_to(self, place: SplitResult, scheme: str, seconds: float) -> http.client.HTTPConnection:
        name = str(place.hostname)
        if scheme == "https":
            return http.client.HTTPSConnection(name, place.port or 443, timeout=seconds, context=self._tls)
        return http.client.HTTPConnection(name, place.port or 80, timeout=seconds)


class _TimeLimit:
    """How long a call may take, however large it is.

    For `silence` seconds nothing may come or go. The whole may take as long, and another second for every
    `_MIN_BYTES_PER_SECOND` bytes that have come or gone; of a stream, this holds until it begins. Whatever comes, it
    must not last beyond `until`, on the clock that only goes forward.
    """

    def __init__(self, silence: float, *, until: float = math.inf, is_stream: bool = False) -> None:
        self.silence = silence
        self._until = until
        self._is_stream = is_stream
        self._end = time.monotonic() + silence

    def count(self, size: int) -> None:
        """Allow the time for so many bytes, which have come or gone."""
        self._end += size / _MIN_BYTES_PER_SECOND

    def for_next_part(self) -> float:
        """Return how many seconds the next part may take. Raises TimeoutError if there is no time left."""
        return self.silence if self._is_stream else min(self.silence, self.for_beginning())

    def for_beginning(self) -> float:
        """Return how many seconds the beginning of the answer may take. Raises TimeoutError if there is no time left.

        The system may still be sending the call, all of which it has taken.
        """
        left = min(self._end, self._until) - time.monotonic()
        if left <= 0:
            raise TimeoutError("the call takes too long")
        return left


def _chunks(data: bytes, connected: Any, limit: _TimeLimit) -> Iterator[bytes]:
    """Yield data in parts to be sent one after the other: the time limit of a socket is for a part as a whole."""
    for place in range(0, len(data), _SEND_BYTES):
        connected.settimeout(limit.for_next_part())
        chunk = data[place : place + _SEND_BYTES]
        yield chunk
        limit.count(len(chunk))


class _Answer:
    """An HTTP answer whose body is still to be read."""

    def __init__(self, connected: Any, response: http.client.HTTPResponse, limit: _TimeLimit) -> None:
        self.status = response.status
        self.headers = response.headers
        self.limit = limit
        self._socket = connected
        self._response = response

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def parts(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises RelayError if it breaks off."""
        left = self._response.length  # None if the length is not known before
        while left != 0:
            with _network_errors("reading", "the answer"):
                self._socket.settimeout(self.limit.for_next_part())
                part = self._response.read1(min(left or _READ_BYTES, _READ_BYTES))
                self.limit.count(len(part))
                if not part and left:
                    raise http.client.IncompleteRead(b"", left)
            if not part:
                break
            if left:
                left -= len(part)
            yield part

    def text(self) -> str:
        """Return the whole body. Raises RelayError if it breaks off, or is not UTF-8."""
        try:
            return b"".join(self.parts()).decode()
        except UnicodeDecodeError as error:
            raise _unexpected_answer() from error

    def close(self) -> None:
        self._response.close()


def _shut_down(connected: Any) -> None:
    """Let what a thread reads from a connection, or writes to it, end at once. It is closed by that thread."""
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _checked_url(url: str) -> SplitResult:
    """Return the parts of a relay's URL. Raises ValueError if it is not one."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and parts.port != 0
    except ValueError:  # of the port
        is_url = False
    if not url:
        raise ValueError(
            "the relay's URL is missing: say --relay https://parley.example (relay= in a program), or set PARLEY_URL"
        )
    if not is_url:
        raise ValueError(f"relay, or PARLEY_URL, has to be a URL that begins with https://, not {url!r}")
    return parts


def _proxy_of(place: SplitResult) -> SplitResult | None:
    """Return the proxy that the system has for a URL, None if it has none. What is sent to this machine stays here."""
    if _is_loopback(str(place.hostname)):
        return None
    import urllib.request

    proxy = urllib.request.getproxies().get(place.scheme)
    if not proxy or urllib.request.proxy_bypass(place.netloc):
        return None
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def _is_loopback(name: str) -> bool:
    """Tell whether a host is this machine: localhost, 127.0.0.0/8 or ::1."""
    name = name.rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    with suppress(OSError):
        return socket.inet_aton(name)[0] == 127
    with suppress(OSError):
        address = socket.inet_pton(socket.AF_INET6, name)
        return address == _LOOPBACK_6 or address.startswith(_LOOPBACK_4_IN_6)
    return False


_LOOPBACK_6 = bytes(15) + b"\x01"
_LOOPBACK_4_IN_6 = bytes(10) + b"\xff\xff\x7f"


def _proxy_login(proxy: SplitResult) -> dict[str, str]:
    """Return the header with the name and password that a proxy's URL has."""
    if not proxy.username:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


@contextmanager
def _network_errors(method: str, path: str, place: str = "") -> Iterator[None]:
    """Raise what the network does as a RelayError. `place` says where the relay is."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        why = f"{type(error).__name__}: {error}" + (f" ({place})" if place else "")
        failure = RelayError(f"The relay cannot be reached: {why}", "unreachable")
        _log.debug("%s %s: %s", method, path, failure)
        raise failure from error


def _refusal(answer: _Answer) -> RelayError:
    """Return the error that an answer without success is: the relay's problem, or what else has answered."""
    place = answer.headers.get("Location", "")
    problem = {"code": "unexpected_answer", "detail": f"What answered is not the relay: HTTP {answer.status} {place}"}
    if answer.status == 413:  # if the relay says so, its own detail replaces this one
        detail = "The message is so large that a server in front of the relay refuses it."
        problem = {"code": "payload_too_large", "detail": detail}
    with suppress(RelayError, ValueError):
        found = _parse(answer.text())
        problem |= found if isinstance(found, dict) else {}
    return RelayError(str(problem["detail"]), str(problem["code"]), answer.status, _retry_after(answer.headers))


def _retry_after(headers: Message) -> int:
    """Return in how many seconds an answer wants another call: 0 if it does not say, at most a minute.

    A proxy may say anything, and a client that believes it is silent for hours. A date counts from that of the answer,
    since the clock of this machine may be wrong.
    """
    value = headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            seconds = (parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds()
        except (TypeError, ValueError):
            seconds = 0
    return math.ceil(max(0, min(seconds, _MAX_RETRY_AFTER_SECONDS)))


def _checked_answer(text: str, *names: str, depth: int = 1) -> _Object:
    """Parse an answer, or the data of an event, that has to be an object with members of these names."""
    try:
        found = _parse(text, depth)
    except ValueError as error:
        raise _unexpected_answer() from error
    if not isinstance(found, dict) or not found.keys() >= set(names):
        raise _unexpected_answer()
    return found


def _unexpected_answer() -> RelayError:
    return RelayError("What answered is not the relay, or cannot be read.", "unexpected_answer")


def _readable(value: Any) -> Any:
    """Return a part of an answer. Raises RelayError if Python cannot read it."""
    if isinstance(value, _Unreadable):
        raise _too_deep()
    return value


def _too_deep() -> RelayError:
    return RelayError("This is nested too deeply for Python.", "client_error")


def _backoff(failures: int, error: RelayError) -> float:
    """Return how many seconds to wait after so many failures in a row.

    These are half a second, doubled each time up to 15, at random at most half less, or as many as the relay wants.
    """
    seconds = min(15, 0.5 * 2.0 ** min(failures - 1, 10))
    return max(seconds * random.uniform(0.5, 1), float(error.retry_after or 0))  # noqa: S311 - it keeps nothing secret


# HTTP: server-sent events


class _Event(NamedTuple):
    """A server-sent event. `id` is that of the last event that had one."""

    id: str
    name: str
    data: str


def _events(parts: Iterable[bytes]) -> Iterator[_Event]:
    """Yield the events of a stream that comes in parts.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """
    event_id, name, data = "", "message", list[str]()
    for line in _lines(parts):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            event_id = value
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif not line:
            if data:
                yield _Event(event_id, name, "\n".join(data))
            name, data = "message", []


def _lines(parts: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines that are complete. They end with LF, or CRLF if a proxy has changed them."""
    begun: list[bytes] = []
    for part in parts:
        *ends, rest = part.split(b"\n")
        for end in ends:
            yield b"".join([*begun, end]).removesuffix(b"\r").decode("utf-8", "replace")
            begun = []
        begun.append(rest)


# Threads, and how their work is cancelled


class _Cancellation(threading.Event):
    """Is set when nobody waits for some work any more."""

    def __init__(self) -> None:
        super().__init__()
        self._stops: list[Callable[[], object]] = []

    def set(self) -> None:
        super().set()
        for stop in list(self._stops):
            stop()

    def stops(self, stop: Callable[[], object]) -> None:
        """Let this call `stop` when it is set, at least once, in whichever thread sets it."""
        self._stops.append(stop)
        if self.is_set():
            stop()

    @contextmanager
    def stopping(self, stop: Callable[[], object]) -> Iterator[None]:
        """Do as `stops` while the `with` block runs."""
        self.stops(stop)
        try:
            yield
        finally:
            self._stops.remove(stop)


_current: contextvars.ContextVar[_Cancellation] = contextvars.ContextVar("cancelled")


def cancelled() -> threading.Event:
    """Return an event that is set when nobody waits for this call any more.

    A function that takes long looks at `cancelled().is_set()`, or sleeps with `cancelled().wait(seconds)`. Outside of a
    call the event is never set. Coroutines are cancelled as asyncio does it.
    """
    return _cancellation()


def _cancellation() -> _Cancellation:
    return _current.get(None) or _Cancellation()


class _Reports:
    """Sends reports of a call's progress: at most one each half second, always the latest, and always the last one.

    Whoever reports does not wait. The thread that sends begins with the first report.
    """

    def __init__(self, send: Callable[[_Object], None]) -> None:
        self._send = send
        self._waiting: _Object | None = None
        self._is_running = False
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, report: _Object) -> None:
        """Send a report, unless a later one comes before."""
        with self._changed:
            if self._is_closed:
                return
            self._waiting = report
            self._changed.notify_all()
            if self._is_running:
                return
            self._is_running = True
        _start(_Cancellation(), self._run)

    def close(self) -> None:
        """Take no more reports, and wait until the last one is sent, at most `_LAST_REPORT_SECONDS`."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._is_running, _LAST_REPORT_SECONDS)

    def _run(self) -> None:
        while report := self._next():
            self._send(report)
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, _REPORT_SECONDS)

    def _next(self) -> _Object | None:
        """Return the latest report as soon as there is one, None after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            report, self._waiting = self._waiting, None
            if not report:
                self._is_running = False
                self._changed.notify_all()
            return report


_REPORT_SECONDS = 0.5
_LAST_REPORT_SECONDS = 2
_MESSAGE_CHARACTERS = 1_000
_reports: contextvars.ContextVar[_Reports] = contextvars.ContextVar("reports")


def progress(done: float, total: float | None = None, message: str = "") -> None:
    """Report how far this call of a tool is, to the agent or program that waits for it.

    The report goes out at once, or within half a second after another one, of which only the latest counts. This
    function never waits for that, and never raises. Outside of a call it does nothing, and so it does in threads that a
    function has started itself (but not in those of `asyncio.to_thread`).

    Args:
        done: How much is done, in any unit: a finite number that grows from report to report.
        total: How much there is to do, None if that is not known.
        message: What is being done, in words, at most 1,000 characters.
    """
    reports = _reports.get(None)
    if not reports:
        return
    try:
        report: _Object = {"progress": _finite(done)}
        if total is not None:
            report["total"] = _finite(total)
        if message:
            report["message"] = str(message)[:_MESSAGE_CHARACTERS]
    except Exception as error:  # noqa: BLE001 - a report must not fail the call
        _log.warning("a report of progress is left out: %s", error)
    else:
        reports.put(report)


def _finite(value: Any) -> float:
    """Return a number, which may be of any type. Raises an exception if it is not finite, or no number."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not finite")
    return int(number) if number.is_integer() else number


def _start(over: _Cancellation, work: Callable[[], object]) -> None:
    """Run work in a thread that does not keep the interpreter from ending, and in which `cancelled()` is `over`."""
    context = contextvars.copy_context()
    context.run(_current.set, over)
    threading.Thread(target=context.run, args=[work], daemon=True).start()


async def _in_thread(work: Callable[[], Any]) -> Any:
    """Return what work returns that runs in a thread. When this is cancelled, `cancelled()` is set there."""
    import asyncio

    over = _Cancellation()
    outcome: Future[Any] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the work is waited for
            outcome.set_exception(error)

    _start(over, run)
    try:
        return await asyncio.wrap_future(outcome)
    except asyncio.CancelledError:
        over.set()
        raise


@cache
def _shared_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop for the coroutines of programs without one. It runs in a thread until the program ends."""
    import asyncio

    loop = asyncio.new_event_loop()

    def run() -> None:
        while True:
            with suppress(SystemExit, KeyboardInterrupt):  # which a coroutine may raise
                loop.run_forever()

    threading.Thread(target=run, daemon=True).start()
    return loop


# Host

_STREAM_OPEN_SECONDS = 8  # nothing comes for so long if a proxy buffers the stream
_STREAM_IDLE_SECONDS = 40  # more than two of the relay's keep-alive comments, which it sends every 15 s
_SHORT_STREAM_SECONDS = 5  # a stream that breaks sooner counts as a failure, so that there is a backoff
_POLL_SECONDS = 25  # how long a call asks the relay to wait
_POLLING_SECONDS = 300  # how long to poll before the stream is tried again
_RENEWAL_CHECK_SECONDS = 20
_RENEWAL_RETRY_SECONDS = 15
_QUEUE_PLACES = 100
_SENDERS = 8  # how many answers are sent at once
_ABANDONED_AFTER_SECONDS = 5  # how long a function has to stop after its call was withdrawn
_ABANDONED_PER_WORKER = 3
_SHOW_TOOLS_ATTEMPTS = 5
_SHOWN_AFTER_SECONDS = 2
_EXIT_SECONDS = 2  # how long functions that look at `cancelled()` have to stop when the session ends

_END_REASONS = {  # the codes of problems that end a session, with its `reason`
    "session_ended": "ended",
    "session_not_found": "expired",
    "replaced": "replaced",
    "host_token_required": "host_token_required",
    "host_token_wrong": "host_token_wrong",
}


class _Status:
    """Whether a session is connected, and why it has ended: `state` and `reason` of a Session.

    Attributes:
        over: Is set when the session has ended.
    """

    def __init__(self) -> None:
        self.state = "connecting"
        self.reason = ""
        self.over = _Cancellation()
        self._lock = threading.Lock()

    def change(self, state: str, why: object = "") -> None:
        """Go to a state, unless the session has ended."""
        with self._lock:
            if self.state in (state, "ended"):
                return
            self.state = state
        _log.info("%s %s", state, why)

    def end(self, reason: str) -> None:
        """End the session. The first reason holds."""
        with self._lock:
            if self.reason:
                return
            self.reason = reason
            self.state = "ended"
        _log.info("ended %s", reason)
        self.over.set()


class _HostApi:
    """The calls of a session's host. A refusal that says that the session is over ends it.

    Attributes:
        code: The session's code, empty until it is created.
    """

    def __init__(self, relay: _Relay, status: _Status) -> None:
        self.code = ""
        self._relay = relay
        self._status = status
        self._token = ""

    def create(self) -> _Object:
        """Create the session, and return what the relay says of it."""
        session = self._relay.call("POST", "/api/sessions", "code", "token", "expiresAt", "ttl")
        self.code, self._token = session["code"], session["token"]
        return session

    def call(self, method: str, path: str, *names: str, cursor: str = "", **options: Any) -> _Object:
        """Make a call as `_Relay.call` does, with a path below the session's."""
        with self._ending():
            return self._relay.call(method, self._path(path), *names, headers=self._headers(cursor), **options)

    @contextmanager
    def stream(self, path: str, cursor: str) -> Iterator[_Answer]:
        """Give a stream's answer, which is read in the `with` block."""
        with self._ending():
            limit = _TimeLimit(_STREAM_OPEN_SECONDS, is_stream=True)
            exchange = self._relay.exchange("GET", self._path(path), headers=self._headers(cursor), limit=limit)
            with exchange as answer:
                yield answer

    def _path(self, path: str) -> str:
        return f"/api/sessions/{self.code}{path}"

    def _headers(self, cursor: str) -> dict[str, str]:
        login = {"Authorization": f"Bearer {self._token}"}
        return login | ({"Last-Event-ID": cursor} if cursor else {})

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except RelayError as error:
            if error.code in _END_REASONS:
                self._status.end(_END_REASONS[error.code])
            raise


# Host: tools and approval


class ToolCall(NamedTuple):
    """A call that needs approval.

    Attributes:
        name: The tool's name.
        arguments: The arguments, as the guest has sent them.
        client: The name and version of the guest's program, as far as it says who it is, else "A guest".
        tool: What guests see of the tool.
    """

    name: str
    arguments: Any
    client: str
    tool: dict[str, Any]


Approve = Literal["never", "first", "writes", "each"] | Callable[[ToolCall], Any]
Ask = Callable[[ToolCall], Any]

_ANSWER_SECONDS = 120
_WAITING_FOR_APPROVAL = "Waiting for the person to allow this"


class _Approval:
    """Lets calls of tools run, or asks a person about them, one after the other. Raises TypeError for no policy."""

    def __init__(self, approve: Approve, ask: Ask | None) -> None:
        if not callable(approve) and approve not in ("never", "first", "writes", "each"):
            raise TypeError(f"approve has to be never, first, writes, each or a function, not {approve!r}")
        if not callable(approve) and approve != "never" and not ask and not _has_terminal():
            raise TypeError(f'approve="{approve}" has nobody to ask: there is no terminal, and no function `ask`')
        self._approve = approve
        self._ask = ask or _ask_on_terminal
        self._allowed = set[str]()  # the tools that are allowed for the session
        self._known = set[str]()  # the tools of which a call was allowed
        self._turn = threading.Lock()

    def check(self, call: ToolCall, run: Callable[[Callable[[], Any]], Any]) -> None:
        """Return when a call is allowed. Raises _NotAllowed for another one. `run` calls functions and coroutines."""
        if callable(self._approve):
            if not run(partial(self._approve, call)):
                raise _NotAllowed(call.name)
        elif self._needs_question(call):
            progress(0, message=_WAITING_FOR_APPROVAL)
            with self._turn:
                if self._needs_question(call):  # the answer to the question before may be for this call, too
                    self._question(call, run)

    def _needs_question(self, call: ToolCall) -> bool:
        hints = _object_in(call.tool, "annotations")
        if self._approve == "never" or call.name in self._allowed:
            return False
        if self._approve == "each":
            return True
        if self._approve == "writes":
            if hints.get("destructiveHint") or hints.get("consequentialHint"):
                return True
            if hints.get("readOnlyHint") is True:
                return False
        return call.name not in self._known

    def _question(self, call: ToolCall, run: Callable[[Callable[[], Any]], Any]) -> None:
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        over = _Cancellation()

        def ask() -> None:
            answer = "deny"
            try:
                answer = run(partial(self._ask, call))
            except BaseException:  # noqa: BLE001 - who cannot be asked has not allowed anything
                _log.warning("%s is not allowed, since asking failed", call.name, exc_info=True)
            answers.put(answer)

        withdrawn = _cancellation()
        if withdrawn.is_set():
            raise _NotAllowed(call.name)
        _start(over, ask)
        with withdrawn.stopping(partial(answers.put, "deny")):
            try:
                answer = answers.get(timeout=_ANSWER_SECONDS)
            except queue.Empty:
                raise _NotAllowed(call.name, " There was no answer within two minutes.") from None
            finally:
                over.set()
        if answer not in ("once", "tool"):
            raise _NotAllowed(call.name)
        self._known.add(call.name)
        if answer == "tool":
            self._allowed.add(call.name)


class _NotAllowed(Exception):
    """The person has not allowed a call."""

    def __init__(self, name: str, why: str = "") -> None:
        super().__init__(f"The person did not allow this call of {name}.{why}")


def _has_terminal() -> bool:
    """Tell whether a person can be asked on the terminal of this program."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty())


def _ask_on_terminal(call: ToolCall) -> str:
    """Return the answer of the person at the terminal: `once`, `tool` or `deny`."""
    _forget_what_was_typed()  # since it is no answer to a question that was not there
    arguments = _json(call.arguments)
    left_out = len(arguments) - _SHOWN_ARGUMENTS
    shown = _in_a_line(arguments[:_SHOWN_ARGUMENTS]) + (f"… and {left_out:,} characters more" if left_out > 0 else "")
    _print(f"\n{call.client} calls {_in_a_line(call.name)} with {shown}", sys.stderr)
    print("Allow it? y (this call), t (this tool, for the session), n (no): ", end="", file=sys.stderr, flush=True)
    answer = _line_from_terminal(cancelled()).strip().lower()
    return {"y": "once", "yes": "once", "t": "tool"}.get(answer, "deny")


_SHOWN_ARGUMENTS = 2_000


if sys.platform == "win32":

    def _forget_what_was_typed() -> None:
        import msvcrt

        while msvcrt.kbhit():
            msvcrt.getwch()

    def _line_from_terminal(over: threading.Event) -> str:
        """Return the next line that is typed, or what was typed of it when the event is set."""
        import msvcrt

        line = ""
        while not over.wait(0.05):
            if msvcrt.kbhit():
                line += msvcrt.getwche()
                if line.endswith(("\r", "\n")):
                    print(file=sys.stderr)
                    break
        return line

else:

    def _forget_what_was_typed() -> None:
        import termios

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)

    def _line_from_terminal(over: threading.Event) -> str:
        """Return the next line that is typed, an empty one when the event is set."""
        descriptor = sys.stdin.fileno()
        while not over.is_set():
            if select.select([descriptor], [], [], 0.1)[0]:
                return os.read(descriptor, 4096).decode("utf-8", "replace")
        print(file=sys.stderr)
        return ""


class _Toolbox:
    """What a host answers requests with: tools, and `on_request` for requests that are not calls of tools.

    Attributes:
        loop: The event loop in which coroutines run. Without one they run in the shared loop.
    """

    def __init__(self, tools: Any, on_request: Callable[[Any], Any] | None, approval: _Approval) -> None:
        self._tools = _tools_in(tools)
        self._approval = approval
        self._on_request = on_request
        self.loop: asyncio.AbstractEventLoop | None = None
        if not self._tools and not on_request:
            raise TypeError("host() needs tools, which are public functions, or on_request")

    def definitions(self) -> list[_Object]:
        """Return what guests see of the tools."""
        return [tool.definition for tool in self._tools.values()]

    def become(self, other: _Toolbox) -> None:
        """Have what another toolbox has, but for the event loop."""
        self._approval = other._approval
        self._on_request = other._on_request
        self._tools = other._tools

    def add(self, tool: Tool) -> None:
        """Add a tool. Raises TypeError if there is another one with its name."""
        if tool.name in self._tools:
            raise TypeError(f"there is a tool {tool.name} already: remove_tool takes it away")
        self._tools = {**self._tools, tool.name: tool}

    def remove(self, name: str) -> Tool:
        """Remove a tool, and return it. Raises LookupError if there is none with this name."""
        if name not in self._tools:
            raise LookupError(f"there is no tool {name}")
        self._tools = {**self._tools}
        return self._tools.pop(name)

    def answer(self, payload: Any) -> Any:
        """Return the result of a request. Raises what is its error."""
        call = _call_in(_readable(payload))
        if call:
            return self._call_tool(call["name"], call.get("arguments"), _client_name(payload.get("client")))
        if self._on_request:
            return self._run(partial(self._on_request, payload))
        raise RelayError("This host takes no other requests than the calls of its tools.", "no_handler")

    def _call_tool(self, name: str, arguments: Any, client: str) -> _Object:
        """Return a tool's result, which says in its text what has failed."""
        tool = self._tools.get(name)
        if not tool:
            raise RelayError(error={"code": "unknown_tool", "message": f"There is no tool {name}."})
        try:
            bound = tool._bind({} if arguments is None else arguments)
            self._approval.check(ToolCall(name, arguments, client, tool.definition), self._run)
            return _tool_result(self._run(bound))
        except (_Misfit, _NotAllowed) as error:
            text = str(error)
        except BaseException as error:  # noqa: BLE001 - whatever a function raises is a result that says so
            _log.info("%s failed", name, exc_info=True)
            text = f"{type(error).__name__}: {error}"
        return _error_result(text)

    def _run(self, function: Callable[[], Any]) -> Any:
        """Call a function, and wait for its result. A coroutine runs in an event loop."""
        outcome = function()
        if inspect.isasyncgen(outcome):
            outcome = _collected(outcome)
        if not inspect.iscoroutine(outcome):
            return outcome
        import asyncio

        task = asyncio.run_coroutine_threadsafe(outcome, self.loop or _shared_loop())
        with _cancellation().stopping(task.cancel):
            return task.result()


async def _collected(values: Any) -> list[Any]:
    return [value async for value in values]


def _call_in(payload: Any) -> _Object | None:
    """Return the parameters of the tool call that a payload is, None if it is something else."""
    is_call = isinstance(payload, dict) and payload.get("method") == "tools/call"
    call = payload.get("params") if is_call else None
    return call if isinstance(call, dict) and isinstance(call.get("name"), str) else None


# Host: calls


def _client_name(value: Any) -> str:
    """Return the name and version in a `client` as guests' programs give it, in a line, for people."""
    client = value if isinstance(value, dict) else {}
    words = [part for part in (client.get("name"), client.get("version")) if isinstance(part, str) and part]
    return _in_a_line(" ".join(words)[:100]) or "A guest"


class _Call:
    """A request that a host works on.

    Attributes:
        cursor: The request's place in the session, which tells it from another one with the same id.
        over: Is set when nobody waits for the answer any more.
        reports: The reports of its progress.
        answer: The member of the answer's body, `"result":…` or `"error":…`, empty until it is there.
    """

    def __init__(self, request_id: str, cursor: str, payload: Any, report: Callable[[_Call, _Object], None]) -> None:
        self.id = request_id
        self.cursor = cursor
        self.payload = payload
        self.over = _Cancellation()
        self.reports = _Reports(partial(report, self))
        self.answer = ""


class _Pool:
    """Does some work for calls, in their order: for so many at once (`workers`), each in a thread.

    So many more (`places`) wait. A call that is given up while it waits is dropped. One that is given up while the work
    goes on has some seconds to stop. Then it is abandoned, and makes room for another one; but only so many abandoned
    calls do that, so that the number of threads has a limit.
    """

    def __init__(self, work: Callable[[_Call], None], workers: int, places: float) -> None:
        self._work = work
        self._workers = workers
        self._places = places
        self._waiting: deque[_Call] = deque()
        self._running: dict[_Call, float] = {}  # with the time at which the call counts as abandoned
        self._changed = threading.Condition()
        self._is_closed = False

    def run(self) -> None:
        """Begin the work for one call after the other, until the pool is closed."""
        while call := self._next():
            _start(call.over, partial(self._do, call))

    def put(self, call: _Call) -> bool:
        """Let a call wait for a worker. Returns False if there is no place for it. A closed pool drops it."""
        with self._changed:
            if len(self._waiting) + self._count() >= self._workers + self._places:
                return False
            if not self._is_closed:
                self._waiting.append(call)
                self._changed.notify_all()
            return True

    def give_up(self, call: _Call) -> None:
        """Expect no more work for a call."""
        with self._changed:
            if call in self._waiting:
                self._waiting.remove(call)
            if call in self._running:
                self._running[call] = time.monotonic() + _ABANDONED_AFTER_SECONDS
            self._changed.notify_all()

    def close(self) -> None:
        """Begin with nothing more."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait until nothing runs, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running, seconds)

    def _next(self) -> _Call | None:
        """Return the next call as soon as there is a worker for it, None when the pool is closed."""
        with self._changed:
            while not self._is_closed:
                if self._waiting and self._count() < self._workers:
                    call = self._waiting.popleft()
                    self._running[call] = math.inf
                    return call
                self._changed.wait(self._seconds_to_next_abandonment())
        return None

    def _count(self) -> int:
        """Return how many of the running calls take a worker."""
        abandoned = sum(at <= time.monotonic() for at in self._running.values())
        return len(self._running) - min(abandoned, _ABANDONED_PER_WORKER * self._workers)

    def _seconds_to_next_abandonment(self) -> float | None:
        now = time.monotonic()
        return min((at - now for at in self._running.values() if now < at < math.inf), default=None)

    def _do(self, call: _Call) -> None:
        try:
            self._work(call)
        finally:
            with self._changed:
                del self._running[call]
                self._changed.notify_all()


class _Calls:
    """The requests that a host works on. Each is begun once, and its answer is sent until the relay has it."""

    def __init__(self, api: _HostApi, status: _Status, toolbox: _Toolbox, workers: int) -> None:
        self._api = api
        self._status = status
        self._toolbox = toolbox
        self._work = _Pool(self._answer, workers, _QUEUE_PLACES)
        self._outbox = _Pool(self._send, _SENDERS, math.inf)
        self._accepted = set[tuple[str, str]]()  # id and cursor of all, since the relay may deliver them again
        self._current: dict[str, _Call] = {}  # by id, until the relay has the answer
        self._lock = threading.Lock()
        status.over.stops(self._stop)

    def start(self) -> None:
        """Begin to work."""
        for pool in (self._work, self._outbox):
            _start(self._status.over, pool.run)

    def accept(self, request: _Object, cursor: str) -> None:
        """Begin with a request that the relay has delivered, unless it is known already.

        If a request with its id is under way, that one has been withdrawn: a host that polls gets no notice of it.
        """
        call = _Call(request["id"], cursor, request["payload"], self._report)
        with self._lock:
            if (call.id, call.cursor) in self._accepted or self._status.reason:
                return
            self._accepted.add((call.id, call.cursor))
            predecessor = self._current.get(call.id)
            self._current[call.id] = call
        if predecessor:
            self._give_up(predecessor)
        if not self._work.put(call):
            self._set_error(call, _busy())
            self._outbox.put(call)

    def withdraw(self, request_id: str) -> None:
        """Stop the work on a request. Its id may be used again."""
        with self._lock:
            call = self._current.pop(request_id, None)
        if call:
            self._give_up(call)

    def wait(self, seconds: float) -> None:
        """Wait until no function runs, at most so long."""
        self._work.wait(seconds)

    def _give_up(self, call: _Call) -> None:
        _log.info("withdrawn %s", call.id)
        call.over.set()
        self._work.give_up(call)
        self._outbox.give_up(call)

    def _stop(self) -> None:
        """Stop all work, since the session has ended."""
        self._work.close()
        self._outbox.close()
        with self._lock:
            calls = list(self._current.values())
        for call in calls:
            call.over.set()

    def _answer(self, call: _Call) -> None:
        """Find the answer to a request, and pass it on."""
        _reports.set(call.reports)
        begun = time.monotonic()
        outcome = "done"
        try:
            if _log.isEnabledFor(logging.INFO):
                _log.info("request %s: %s", call.id, _excerpt(call.payload))
            result = self._toolbox.answer(call.payload)
            call.answer = f'"result":{_json(result)}'
            if isinstance(result, dict) and result.get("isError") is True:
                outcome = "failed"
        except BaseException as error:  # noqa: BLE001 - whatever a function raises is an answer
            _log.info("request %s failed", call.id, exc_info=True)
            self._set_error(call, error)
            outcome = "failed"
        call.reports.close()
        _note_end(call, "withdrawn" if call.over.is_set() else outcome, time.monotonic() - begun)
        self._outbox.put(call)

    def _report(self, call: _Call, report: _Object) -> None:
        """Send a report of a call's progress. One that does not arrive is not missed: others follow."""
        if not call.over.is_set():
            with suppress(RelayError):
                self._api.call("POST", "/progress", body=_json({"id": call.id, **report}))

    def _set_error(self, call: _Call, error: BaseException) -> None:
        call.answer = f'"error":{_error_json(error)}'

    def _send(self, call: _Call) -> None:
        """Send an answer until the relay has it, or nobody waits for it."""
        failures = 0
        while not call.over.is_set():
            try:
                self._post(call)
                break
            except RelayError as error:
                failures += 1
                call.over.wait(_backoff(failures, error))
        with self._lock:
            if self._current.get(call.id) is call:
                del self._current[call.id]

    def _post(self, call: _Call) -> None:
        """Send an answer. If the relay refuses it, send that as the answer. Raises RelayError for what may pass."""
        for _ in ("answer", "refusal"):
            _log.info("answer %s: %.100s", call.id, call.answer)
            body = f'{{"id":{_json(call.id)},"cursor":{_json(call.cursor)},{call.answer}}}'
            try:
                self._api.call("POST", "/responses", "status", body=body)
                return
            except RelayError as error:
                if not error.final:
                    raise
                if error.code in ("already_answered", "request_not_found"):
                    return
                self._set_error(call, error)


def _note_end(call: _Call, outcome: str, seconds: float) -> None:
    """Log a line about a request that has ended: who has sent it, for which tool, how it ended, and after how long."""
    payload = call.payload if isinstance(call.payload, dict) else {}
    params = _call_in(payload)
    what = f"called {_in_a_line(params['name'][:100])}" if params else "sent a request"
    _calls_log.info("%s %s: %s after %.2f s", _client_name(payload.get("client")), what, outcome, seconds)


def _busy() -> RelayError:
    return RelayError(f"The host is busy: {_QUEUE_PLACES} requests wait for it already. Try again later.", "busy")


def _error_json(error: BaseException) -> str:
    """Return the `error` that a guest gets for what a host's function has raised."""
    own = error.error if isinstance(error, RelayError) else None
    code = getattr(error, "code", None)
    described = {"name": type(error).__name__, "message": str(error)}
    if isinstance(code, str):
        described["code"] = code
    with suppress(TypeError, ValueError, RecursionError):
        return _json(described if own is None else own)
    return _json(described)


# Host: the session


class _Listener:
    """Brings a session's requests: over a stream, or by polling where a proxy or a busy relay does not let one through.

    Of several hosts the relay prefers the one that came last, and of one host's connections the latest: a host names
    itself, and numbers its attempts. `on_return` is called when there is a connection again after one was lost.
    """

    def __init__(self, api: _HostApi, status: _Status, calls: _Calls, on_return: Callable[[], object]) -> None:
        self._api = api
        self._status = status
        self._calls = calls
        self._on_return = on_return
        self._name = os.urandom(8).hex()
        self._attempt = 0
        self._cursor = ""
        self._failures = 0
        self._poll_until = 0.0
        self._busy = False  # whether the relay had no place for a call that waits: it has for one that does not
        self._opened_at: float | None = None  # when the stream began
        self._is_lost = False  # whether there was no connection since the last success

    def run(self) -> None:
        """Listen until the session ends."""
        while not self._status.over.is_set():
            self._attempt += 1
            self._opened_at = None
            was_busy = self._busy
            polls = was_busy or time.monotonic() < self._poll_until
            try:
                if polls:
                    self._poll()
                else:
                    self._stream()
                if not was_busy:
                    self._failures = 0
            except RelayError as error:
                self._is_lost = self._is_lost or error.code in _NETWORK
                if polls or error.code not in _NETWORK:
                    self._pause(error)
                else:
                    self._recover(error)

    def _poll(self) -> None:
        """Read requests with a call, which waits for some. The first one does not wait, and shows whether it works."""
        wait = _POLL_SECONDS if self._status.state == "polling" and not self._busy else 0
        found = self._api.call(
            "GET",
            f"/requests?wait={wait}&{self._query()}",
            "requests",
            "cursor",
            cursor=self._cursor,
            limit=_TimeLimit(wait + _CALL_SECONDS),
            depth=3,
        )
        self._busy = False
        self._cursor = found["cursor"]
        self._connected("polling")
        for request in found["requests"]:
            self._calls.accept(request, request["cursor"])

    def _stream(self) -> None:
        """Read a stream until the relay wants another one, or the session ends."""
        with self._api.stream(f"/stream?{self._query()}", self._cursor) as answer:
            for event in _events(answer.parts()):
                if event.name == "open":
                    self._opened_at = time.monotonic()
                    answer.limit.silence = _STREAM_IDLE_SECONDS
                self._cursor = event.id
                self._take(event)
                if event.name == "reconnect" or self._status.reason:
                    return
        raise RelayError("The stream broke.", "unreachable")

    def _take(self, event: _Event) -> None:
        if event.name == "open":
            self._connected("connected")
        elif event.name == "request":
            self._calls.accept(_checked_answer(event.data, "id", "payload"), event.id)
        elif event.name == "guest":
            client = _checked_answer(event.data).get("client")
            _calls_log.info("%s has listed the tools", _client_name(client))
        elif event.name == "withdrawn":
            self._calls.withdraw(_checked_answer(event.data, "id")["id"])
        elif event.name == "ended":
            self._status.end(_checked_answer(event.data, "reason")["reason"])

    def _connected(self, state: str) -> None:
        self._status.change(state)
        if self._is_lost:
            self._is_lost = False
            self._on_return()

    def _query(self) -> str:
        return f"host={self._name}&attempt={self._attempt}"

    def _recover(self, error: RelayError) -> None:
        """Go on after a stream that broke, or was not let through."""
        if self._opened_at is None:
            if self._failures or isinstance(error.__cause__, TimeoutError):
                self._poll_until = time.monotonic() + _POLLING_SECONDS
            else:
                self._pause(error)
        elif time.monotonic() - self._opened_at < _SHORT_STREAM_SECONDS:
            self._pause(error)
        else:
            self._failures = 0
            self._status.change("connecting")

    def _pause(self, error: RelayError) -> None:
        """Wait after a failure, the longer the more there were."""
        self._failures += 1
        self._busy = error.code == "busy"
        if not self._busy or self._status.state != "polling":
            self._status.change("disconnected", error)
        self._status.over.wait(_backoff(self._failures, error))


class _Renewal:
    """Renews a session when a third of its time is left, until that has no effect, at the session's greatest age.

    Time is measured with the clock that only goes forward, as somebody may set the other one. But it may stand still
    while the machine sleeps: the session is renewed sooner if the other clock says that it is time, and after a
    connection was lost. Only the relay says that a session has expired.

    Attributes:
        expires_at: When the session expires, as the relay says it.
    """

    def __init__(self, api: _HostApi, status: _Status, *, is_automatic: bool) -> None:
        self.expires_at = ""
        self._api = api
        self._status = status
        self._is_automatic = is_automatic
        self._wake = threading.Event()
        status.over.stops(self._wake.set)

    def begin(self, session: _Object) -> None:
        """Start from what the relay says of the session when it is created, or renewed."""
        self.expires_at = session["expiresAt"]
        self._wait_for(session["ttl"] * 2 / 3)

    @property
    def is_automatic(self) -> bool:
        """Whether the session is renewed without being asked for it."""
        return self._is_automatic

    @is_automatic.setter
    def is_automatic(self, wanted: bool) -> None:
        self._is_automatic = wanted
        self._wake.set()

    def now(self) -> None:
        """Renew. Raises RelayError."""
        self.begin(self._api.call("PATCH", "", "expiresAt", "ttl"))

    def hasten(self) -> None:
        """Renew at once."""
        self._due_in = 0.0
        self._wake.set()

    def run(self) -> None:
        """Renew until the session ends."""
        while not self._status.over.is_set():
            self._wake.wait(min(_RENEWAL_CHECK_SECONDS, self._seconds_left()))
            self._wake.clear()
            if self._seconds_left() == 0 and not self._status.over.is_set() and not self._renew():
                return

    def _renew(self) -> bool:
        """Renew, or try again soon. Returns False if it had no effect."""
        try:
            session = self._api.call("PATCH", "", "expiresAt", "ttl")
        except RelayError:
            self._wait_for(_RENEWAL_RETRY_SECONDS)
            return True
        had_effect = bool(session["expiresAt"] != self.expires_at)
        self.begin(session)
        return had_effect

    def _wait_for(self, seconds: float) -> None:
        self._due_in = seconds
        self._since = time.monotonic(), time.time()

    def _seconds_left(self) -> float:
        if not self._is_automatic:
            return math.inf
        passed = max(time.monotonic() - self._since[0], time.time() - self._since[1])
        return max(0, self._due_in - passed)


class Session:
    """The host's side of a session, which `host` returns. It lasts as long as a `with` or `async with` block.

    In a notebook, or wherever else a block is in the way, it lasts from `start()` to `end()`, or to the program's end.
    """

    def __init__(
        self,
        tools: Any = (),
        on_request: Callable[[Any], Any] | None = None,
        *,
        relay: str = "",
        workers: int = 8,
        auto_renew: bool = True,
        approve: Approve = "never",
        ask: Ask | None = None,
    ) -> None:
        self._relay = _Relay(relay)
        self._status = _Status()
        self._api = _HostApi(self._relay, self._status)
        self._toolbox = tools if isinstance(tools, _Toolbox) else _Toolbox(tools, on_request, _Approval(approve, ask))
        self._tools_lock = threading.Lock()
        self._calls = _Calls(self._api, self._status, self._toolbox, workers)
        self._renewal = _Renewal(self._api, self._status, is_automatic=auto_renew)

    @property
    def code(self) -> str:
        """The code that guests need: eight characters, empty before the block begins."""
        return self._api.code

    @property
    def relay(self) -> str:
        """The URL of the relay."""
        return self._relay.url

    @property
    def mcp_url(self) -> str:
        """The URL of an MCP server with the session's tools, empty before the block begins."""
        return f"{self._relay.url}/mcp/{self.code}" if self.code else ""

    @property
    def state(self) -> str:
        """`connecting`, `connected`, `polling` (without a stream), `disconnected` (and trying again), or `ended`."""
        return self._status.state

    @property
    def reason(self) -> str:
        """Why the session has ended, empty until then.

        It is `ended` (by its host), `expired`, `replaced` (another host has taken the session over), or the code of the
        problem if the relay has refused the host's token.
        """
        return self._status.reason

    @property
    def expires_at(self) -> str:
        """When the session expires if it is not renewed: ISO 8601, UTC. Empty before the block begins."""
        return self._renewal.expires_at

    @property
    def auto_renew(self) -> bool:
        """Whether the session is renewed as long as the block runs."""
        return self._renewal.is_automatic

    @auto_renew.setter
    def auto_renew(self, wanted: bool) -> None:
        self._renewal.is_automatic = wanted

    @property
    def tools(self) -> list[dict[str, Any]]:
        """What guests see of the tools, in the words of MCP."""
        return self._toolbox.definitions()

    def __enter__(self) -> Session:
        """Create the session, and begin to listen. Raises RelayError."""
        try:
            session = self._api.create()
            if self.tools:
                self._show_tools()
        except BaseException:
            self.end()
            raise
        self._calls.start()
        self._renewal.begin(session)
        _start(self._status.over, _Listener(self._api, self._status, self._calls, self._renewal.hasten).run)
        _start(self._status.over, self._renewal.run)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._calls.wait(_EXIT_SECONDS)

    def start(self) -> Session:
        """Do as a `with` block does at its beginning, and return the session, which goes on until `end()`.

        It ends with the program, too. A notebook's cell that is run again gets the session that it has started before,
        with the new functions in place of those that had the same names: the code stays the same. Raises RelayError,
        and ValueError for a session that has ended.
        """
        if self.reason:
            raise ValueError("this session has ended: host() makes another one")
        if self.code:
            return self
        started = _started_before(self)
        if started:
            started._replace_tools(self._toolbox)
            return started
        self.__enter__()
        atexit.register(self.end)
        _started.append(self)
        return self

    def _identity(self) -> tuple[str, list[str]]:
        return self._relay.url, [definition["name"] for definition in self.tools]

    def _replace_tools(self, toolbox: _Toolbox) -> None:
        with self._tools_lock:
            self._toolbox.become(toolbox)
            self._show_tools()

    def __repr__(self) -> str:
        return f"<Session {_for_people(self.code) or 'not begun'}: {self.reason or self.state}>"

    def _repr_html_(self) -> str:
        """Return the session as notebooks show it: its code, its URL, its tools, and the state in which it is now."""
        import html

        self._wait_while_connecting()
        code = html.escape(_for_people(self.code) or "The session has not begun. start() begins it.")
        url = html.escape(self.mcp_url)
        tools = html.escape(", ".join(definition["name"] for definition in self.tools))
        state = html.escape(self.reason or self.state)
        return (
            f'<div><strong style="font-size: 2em; letter-spacing: 0.1em">{code}</strong><br>'
            f'<a href="{url}">{url}</a><br>Tools: {tools}<br>State: {state}</div>'
        )

    def _wait_while_connecting(self) -> None:
        """Give a session that has just begun the time to connect, so that a notebook does not keep its first state."""
        until = time.monotonic() + _SHOWN_AFTER_SECONDS
        while self.code and self.state == "connecting" and time.monotonic() < until:
            time.sleep(0.02)

    async def __aenter__(self) -> Session:
        """Do as `__enter__`. The block's event loop also runs the coroutines among the tools."""
        import asyncio

        self._toolbox.loop = asyncio.get_running_loop()
        await _in_thread(self.__enter__)
        return self

    async def __aexit__(self, *_: object) -> None:
        await _in_thread(self.__exit__)

    def add_tool(self, tool: Tool | Callable[..., Any]) -> None:
        """Offer another tool. Guests see it when this returns.

        Raises TypeError if it cannot be a tool, or another one has its name, and RelayError if the relay refuses it.
        """
        made = tool if isinstance(tool, Tool) else Tool(tool)
        with self._tools_lock:
            self._toolbox.add(made)
            try:
                self._show_tools()
            except RelayError:
                self._toolbox.remove(made.name)
                raise

    def remove_tool(self, name: str) -> None:
        """Offer a tool no longer. Calls of it that run already go on.

        Raises LookupError if there is no such tool, and RelayError if the relay does not learn of it.
        """
        with self._tools_lock:
            removed = self._toolbox.remove(name)
            try:
                self._show_tools()
            except RelayError:
                self._toolbox.add(removed)
                raise

    def _show_tools(self) -> None:
        """Let guests see the tools, if the session has begun. Raises RelayError.

        A call that fails on its way is made again: the relay may have the tools, although its answer was lost.
        """
        if not self.code:
            return
        failures = 0
        while True:
            try:
                self._api.call("PUT", "/tools", body=_json({"tools": self.tools}))
                break
            except RelayError as error:
                failures += 1
                if error.final or error.status == 429 or failures == _SHOW_TOOLS_ATTEMPTS:
                    raise
                self._status.over.wait(_backoff(failures, error))

    def renew(self) -> None:
        """Let the session last for another ten minutes from now. Raises RelayError."""
        self._renewal.now()

    def end(self) -> None:
        """End the session, for its guests too."""
        atexit.unregister(self.end)
        if self.code and not self.reason:
            with suppress(RelayError):
                self._api.call("DELETE", "", limit=_TimeLimit(_END_SECONDS))
        self._status.end("ended")

    def wait(self) -> str:
        """Wait until the session ends, and return the `reason`."""
        while not self._status.over.wait(1):
            pass  # on Windows, Ctrl+C is noticed between two waits
        return self.reason

    async def await_end(self) -> str:
        """Do as `wait`, in asyncio."""
        return str(await _in_thread(self.wait))


_started: list[Session] = []  # with start()


def _started_before(session: Session) -> Session | None:
    """Return the session with tools of the same names that a notebook has started before, and that has not ended."""
    ipython = sys.modules.get("IPython")
    if not ipython or not ipython.get_ipython():
        return None
    _started[:] = [started for started in _started if not started.reason]
    return next((started for started in _started if started._identity() == session._identity()), None)


def _for_people(code: str) -> str:
    """Return a code as people read it out: ABCD-1234."""
    return f"{code[:4]}-{code[4:]}" if code else ""


def host(
    tools: Any = (),
    on_request: Callable[[Any], Any] | None = None,
    *,
    relay: str = "",
    workers: int = 8,
    auto_renew: bool = True,
    approve: Approve = "never",
    ask: Ask | None = None,
) -> Session:
    """Make a session to be used in a `with` or `async with` block, whose guests may call functions of this program.

    Each request is handled once, and beside others: coroutines in the event loop of the `async with` block, else in one
    of this module's, and other functions in threads. The guest learns what a function raises.

    A call whose guest has withdrawn it sets `cancelled()`. If its function goes on for five seconds, another call takes
    its place, as long as no more than three for each worker go on so.

    Args:
        tools: A function or several, a mapping of names to functions, a module (its `__all__`, or else the public
            functions that it defines), or an object (its public methods). A `Tool` may stand for a function.
            Annotations and docstrings say what guests may pass; calls that do not fit are refused. Of several
            functions, those that cannot be tools are left out with a warning. Tools may return JSON, dataclasses,
            models of pydantic, arrays of numpy, tables of pandas, figures of matplotlib and other images, and what MCP
            calls a CallToolResult.
        on_request: Is called with the payload of each request that is not the call of a tool; what it returns is the
            result. Without it, such requests are refused.
        relay: The relay's URL, by default the environment variable PARLEY_URL.
        workers: How many calls run at once. 100 more wait, and others are answered with an error with the code `busy`.
        auto_renew: Whether to renew the session as long as the block runs.
        approve: Which calls of tools need a person's approval: `never` any, the `first` of each tool, `each` call, or
            `writes`: tools with `readOnlyHint` run, those with `destructiveHint` or `consequentialHint` need it each
            time, others for their first call. Or a function of a `ToolCall` that returns whether it may run. The guest
            of a call that is not allowed learns that.
        ask: Asks the person about a `ToolCall`, and returns `once`, `tool` (which allows all calls of the tool), or
            `deny`. No answer within two minutes is a denial, and `cancelled()` is set when the answer is not needed any
            more. By default the terminal asks.

    Raises:
        TypeError: No function can be a tool, or there is nobody to ask.
        ValueError: The relay is not a URL.
    """
    return Session(tools, on_request, relay=relay, workers=workers, auto_renew=auto_renew, approve=approve, ask=ask)


# Guest

_RETRY_SECONDS = 30  # how long a guest tries again without a single success


OnProgress = Callable[[float, float | None, str], object]


class Guest:
    """A guest of a session, which `guest` returns. All methods raise RelayError.

    `arequest`, `acall_tool`, `atools` and `asession` are the same as `request`, `call_tool`, `tools` and `session`, in
    asyncio; when they are cancelled, the request is withdrawn.
    """

    def __init__(self, code: str, *, relay: str = "") -> None:
        self.code = code
        self._relay = _Relay(relay)

    def request(
        self, payload: Any, *, timeout: float | None = None, id: str = "", on_progress: OnProgress | None = None
    ) -> Any:
        """Send a request, and return the host's result.

        The request is withdrawn after the time, at Ctrl+C, and when `on_progress` raises an exception.

        Args:
            payload: Any JSON.
            timeout: How many seconds to wait for the result, by default until the session ends.
            id: 1 to 64 letters, digits or `_ . : -`, by default a random one. The same `id` with the same payload is
                the same request: the host sees it once.
            on_progress: Is called with what the host reports meanwhile, as `progress(done, total, message)` was: how
                much is done, of how much (None if that is not known), and a text.
        """
        request_id = id or os.urandom(8).hex()
        return _PendingRequest(self._relay, self.code, request_id, payload, timeout, on_progress).result()

    def call_tool(
        self,
        name: str,
        arguments: Any = None,
        *,
        timeout: float | None = None,
        id: str = "",
        on_progress: OnProgress | None = None,
    ) -> dict[str, Any]:
        """Call a tool, and return its result in the words of MCP, also one with `isError`.

        Args:
            name: The tool's name.
            arguments: A dict, by default empty.
            timeout: As of `request`.
            id: As of `request`.
            on_progress: As of `request`.
        """
        payload = {"method": "tools/call", "params": {"name": name, "arguments": arguments or {}}}
        result = self.request(payload, timeout=timeout, id=id, on_progress=on_progress)
        try:
            return _tool_result(result)
        except RecursionError:  # to write takes a little more room than to read
            raise _too_deep() from None

    def tools(self) -> list[dict[str, Any]]:
        """Return the tools that the host offers, in the words of MCP: dicts with `name`, `inputSchema` and more."""
        answer = self._relay.call("GET", f"/api/sessions/{quote(self.code, safe='')}/tools", "tools")
        return list(_readable(answer["tools"]))

    def session(self) -> dict[str, Any]:
        """Look the session up.

        The result has `code`, `createdAt` and `expiresAt` (ISO 8601, UTC), `ttl` (the seconds until it expires),
        `active` (whether it has not ended), and `listening`: whether a host listens now.
        """
        return self._relay.call("GET", f"/api/sessions/{quote(self.code, safe='')}", "code", "expiresAt")

    async def arequest(
        self, payload: Any, *, timeout: float | None = None, id: str = "", on_progress: OnProgress | None = None
    ) -> Any:
        """Do as `request`, in asyncio. `on_progress` is called in the event loop."""
        report = on_progress and _in_loop(on_progress)
        return await _in_thread(partial(self.request, payload, timeout=timeout, id=id, on_progress=report))

    async def acall_tool(
        self,
        name: str,
        arguments: Any = None,
        *,
        timeout: float | None = None,
        id: str = "",
        on_progress: OnProgress | None = None,
    ) -> dict[str, Any]:
        """Do as `call_tool`, in asyncio. `on_progress` is called in the event loop."""
        report = on_progress and _in_loop(on_progress)
        call = partial(self.call_tool, name, arguments, timeout=timeout, id=id, on_progress=report)
        return dict(await _in_thread(call))

    async def asession(self) -> dict[str, Any]:
        """Do as `session`, in asyncio."""
        return dict(await _in_thread(self.session))

    async def atools(self) -> list[dict[str, Any]]:
        """Do as `tools`, in asyncio."""
        return list(await _in_thread(self.tools))


class _PendingRequest:
    """A request of a guest, until it is answered or withdrawn."""

    def __init__(
        self,
        relay: _Relay,
        code: str,
        request_id: str,
        payload: Any,
        timeout: float | None,
        on_progress: OnProgress | None,
    ) -> None:
        self._relay = relay
        self._on_progress = on_progress
        self._query = f"code={quote(code)}&id={quote(request_id)}"
        self._post_path = f"/api/sessions/{quote(code, safe='')}/requests"
        self._body = f'{{"id":{_json(request_id)},"payload":{_json(payload)}}}'
        self._until = time.monotonic() + (float("inf") if timeout is None else timeout)
        self._alive_at = time.monotonic()  # when the relay was last heard of
        self._failures = 0
        self._is_accepted = False  # whether the relay has the request
        self._busy = False  # whether the relay had no place for a call that waits: it has for one that does not

    def result(self) -> Any:
        """Send the request, and return the host's result. Raises RelayError."""
        over = _cancellation()
        try:
            with over.stopping(partial(_start, _Cancellation(), self.withdraw)):
                return self._wait(over)
        except BaseException as error:
            if not isinstance(error, RelayError) or error.code == "timeout":
                self.withdraw()
            raise

    def withdraw(self) -> None:
        """Let the relay and the host forget the request, if the relay can be reached."""
        with suppress(RelayError):
            self._relay.call("DELETE", f"/api/requests?{self._query}", limit=_TimeLimit(_END_SECONDS))

    def _wait(self, over: _Cancellation) -> Any:
        while time.monotonic() < self._until and not over.is_set():
            wait = 0 if self._busy else _POLL_SECONDS
            try:
                response = self._ask(wait)
            except RelayError as error:
                self._note_failure(error, wait)
                over.wait(max(0, min(_backoff(self._failures, error), self._until - time.monotonic())))
                continue
            if response["status"] == "answered":
                return _result_of(response)
            self._note_success()
        raise RelayError("The host did not answer in time.", "timeout")

    def _ask(self, wait: int) -> _Object:
        """Make one call that waits for the response. Sending a request again is safe, since its id stays the same."""
        if self._is_accepted:
            call, body = ("GET", f"/api/responses?{self._query}&wait={wait}"), ""
        else:
            call, body = ("POST", f"{self._post_path}?wait={wait}"), self._body
        limit = _TimeLimit(wait + _CALL_SECONDS, until=self._until)
        if not self._on_progress:
            return self._relay.call(*call, "id", "status", body=body, limit=limit)
        headers = {"Accept": "text/event-stream"}
        with self._relay.exchange(*call, body=body, headers=headers, limit=limit) as answer:
            if answer.headers.get_content_type() != "text/event-stream":  # a relay that knows nothing of progress
                return _checked_answer(answer.text(), "id", "status")
            return self._follow(answer, self._on_progress)

    def _follow(self, answer: _Answer, on_progress: OnProgress) -> _Object:
        """Read the events of a call that waits, and return the response with which they end. Raises RelayError."""
        for event in _events(answer.parts()):
            if event.name == "response":
                return _checked_answer(event.data, "id", "status")
            if event.name == "problem":
                raise _problem_error(_checked_answer(event.data, "code", "detail"))
            if event.name == "progress":
                report = _checked_answer(event.data, "progress")
                on_progress(report["progress"], report.get("total"), str(report.get("message") or ""))
        raise RelayError("The answer broke off.", "unreachable")

    def _note_success(self) -> None:
        if not self._busy:
            self._failures = 0
        self._is_accepted = True
        self._busy = False
        self._alive_at = time.monotonic()

    def _note_failure(self, error: RelayError, wait: int) -> None:
        """Raise an error after which another attempt would be of no use."""
        is_limited = error.status == 429
        if error.final or (is_limited and not self._is_accepted and not self._failures):
            raise error
        self._failures += 1
        self._busy = error.code == "busy"
        if is_limited or (self._busy and wait):
            self._alive_at = time.monotonic()
        elif time.monotonic() - self._alive_at > _RETRY_SECONDS and time.monotonic() < self._until:
            raise error


def _problem_error(problem: _Object) -> RelayError:
    """Return the error that a problem document is which comes in a stream."""
    status = problem.get("status")
    return RelayError(str(problem["detail"]), str(problem["code"]), status if isinstance(status, int) else 0)


def _in_loop(on_progress: OnProgress) -> OnProgress:
    """Return a function that lets the event loop that runs now call `on_progress`."""
    import asyncio

    loop = asyncio.get_running_loop()

    def report(done: float, total: float | None, message: str) -> None:
        loop.call_soon_threadsafe(on_progress, done, total, message)

    return report


def _result_of(response: _Object) -> Any:
    """Return the result in a response. Raises the host's error."""
    if "result" in response:
        return _readable(response["result"])
    error = _readable(response.get("error"))
    message = error.get("message") if isinstance(error, dict) else error
    raise RelayError(message if isinstance(message, str) else "The host answered with an error.", error=error)


def guest(code: str, *, relay: str = "") -> Guest:
    """Return a guest of the session that has a code.

    Args:
        code: Eight letters and digits; case, spaces and hyphens do not matter.
        relay: The relay's URL, by default the environment variable PARLEY_URL.

    Raises:
        ValueError: The relay is not a URL.
    """
    return Guest(code, relay=relay)


# MCP server over standard input and output

_VERSION = "3.0.0"
_MODERN = "2026-07-28"
_LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
_META = "io.modelcontextprotocol/"
_SERVER = {"name": "parley", "title": "Parley", "version": _VERSION}
_PARSE_ERROR = -32700
_INVALID_REQUEST = -32600
_METHOD_NOT_FOUND = -32601
_INVALID_PARAMS = -32602
_INTERNAL = -32603
_VERSION_UNSUPPORTED = -32022

_MAX_LINE_BYTES = 16 * 1024 * 1024
_MAX_NAME = 1000  # of a tool, which has to go into a header
_MCP_CALLS = 100  # how many calls of a client may be under way, each in a thread
_MCP_IDLE_SECONDS = 40  # more than two of the comments with which the relay keeps a stream alive
_LAST_SECONDS = 0.5  # how long what is under way may go on after the end of standard input
_GONE = ("session_not_found", "session_ended", "invalid_code")  # the codes of problems with which a session is over

# What the relay's own servers say of themselves, so that it can be said without the network.
_SESSION_INSTRUCTIONS = (
    "These are the tools of one page or program that somebody has paired with you by a code. They change with it: list "
    "them again if a tool is unknown. The pairing ends after ten minutes unless it is renewed on the other side."
)
_FIXED_INSTRUCTIONS = (
    "Somebody who pairs a page or program with you gives you a code of eight letters and digits, like ABC1-2345. List "
    "its tools with list_tools, call one with call_tool, or ask it anything with send_request. A code lives for about "
    "ten minutes."
)


def _fixed_tool(name: str, title: str, description: str, properties: _Object, *required: str) -> _Object:
    """Return the definition of a tool that takes a session's code."""
    code = {"type": "string", "description": "The code that the page or program shows, like ABC1-2345."}
    schema = {
        "type": "object",
        "properties": {"code": code, **properties},
        "required": ["code", *required],
        "additionalProperties": False,
    }
    return {"name": name, "title": title, "description": description, "inputSchema": schema}


# With each type by its name, as the relay has it: there are clients that cannot do without.
_PAYLOAD = {
    "description": "Any JSON value: what to ask the host.",
    "anyOf": [
        {"type": "object"},
        {"type": "array", "items": {}},
        *({"type": kind} for kind in ("string", "number", "boolean", "null")),
    ],
}
_FIXED_TOOLS = [
    _fixed_tool("list_tools", "List a session's tools", "List the tools of the page or program with this code.", {})
    | {"annotations": {"readOnlyHint": True}},
    _fixed_tool(
        "call_tool",
        "Call a session's tool",
        "Call a tool of the page or program with this code, and get its result.",
        {
            "name": {"type": "string", "description": "The tool's name, as list_tools has it."},
            "arguments": {"type": "object", "description": "The tool's arguments, as its inputSchema has them."},
        },
        "name",
    ),
    _fixed_tool(
        "send_request",
        "Send a request",
        "Send any JSON to the page or program with this code, and get what it answers.",
        {"payload": _PAYLOAD},
        "payload",
    ),
]
_FIXED_NAMES = [tool["name"] for tool in _FIXED_TOOLS]

_Id = str | int | None  # of a request; None of a notification, and of a request whose id cannot be read


class _Fault(Exception):
    """What is wrong with a message, in the words of JSON-RPC. `id` is that of a request, None if it has none."""

    def __init__(self, code: int, message: str, request_id: _Id = None, data: Any = None) -> None:
        super().__init__(message)
        self.id = request_id
        self.error = {"code": code, "message": message} | ({} if data is None else {"data": data})


class _Message(NamedTuple):
    """A request of an MCP client, or a notification, which has no `id`. `line` is how the client has written it."""

    id: _Id
    method: str
    params: _Object
    line: str

    @property
    def meta(self) -> _Object:
        return _object_in(self.params, "_meta")

    @property
    def is_modern(self) -> bool:
        """Whether the message follows version 2026-07-28, in which each request names its version."""
        return f"{_META}protocolVersion" in self.meta


def _read_message(line: bytes) -> _Message:
    """Return the message in a line. Raises _Fault."""
    if len(line) > _MAX_LINE_BYTES:
        raise _Fault(_INVALID_REQUEST, f"A line may have at most {_MAX_LINE_BYTES:,} bytes.")
    if line.startswith(b"["):
        raise _Fault(_INVALID_REQUEST, "One message a line is expected, and no batch.")
    try:
        text = line.decode()
        found = _parse(text, 2)
    except ValueError:  # which a UnicodeDecodeError is as well
        raise _Fault(_PARSE_ERROR, "The line is not JSON in UTF-8.") from None
    if not isinstance(found, dict) or found.get("jsonrpc") != "2.0":
        raise _Fault(_INVALID_REQUEST, 'A message is an object in which jsonrpc is "2.0".')
    request_id = found.get("id")
    if "id" in found and not _is_id(request_id):
        raise _Fault(_INVALID_REQUEST, "id must be a string or a whole number.")
    if "method" not in found and found.keys() & {"result", "error"}:
        return _Message(None, "", {}, text)  # a response, and this server asks for nothing
    params = {} if found.get("params") is None else found["params"]
    if not isinstance(found.get("method"), str):
        raise _Fault(_INVALID_REQUEST, "method must be a string.", request_id)
    if not isinstance(params, dict):
        raise _Fault(_INVALID_PARAMS, "params must be an object.", request_id)
    return _Message(request_id, found["method"], params, text)


def _is_id(value: Any) -> bool:
    """Tell whether a JSON value may be an id. A number that Python cannot hold is read as a long text."""
    is_text = isinstance(value, str) and len(value) <= _MAX_DIGITS
    return is_text or (isinstance(value, int) and not isinstance(value, bool))


def _json_rpc(**members: Any) -> str:
    """Return a message of JSON-RPC as one line, without its end."""
    return _one_line(_json({"jsonrpc": "2.0", **members}))


def _one_line(text: str) -> str:
    """Return JSON as one line, also to a reader who takes other characters than LF for the end of a line.

    CR and LF can only stand between values, and the others only in strings.
    """
    text = text.replace("\r", " ").replace("\n", " ")
    for character in "\x85\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _lines_within(stream: IO[bytes], limit: int) -> Iterator[bytes]:
    """Yield the lines of a stream without their ends, and of a line over the limit its beginning, which also is."""
    while line := stream.readline(limit + 2):
        rest = line
        while len(line) > limit and rest and not rest.endswith(b"\n"):
            rest = stream.readline(_READ_BYTES)
        yield line.strip(b"\r\n")


class _Output:
    """Standard output, for messages and nothing else: what anything prints from now on goes to standard error."""

    def __init__(self) -> None:
        self._file = os.dup(1)
        self._lock = threading.Lock()
        with suppress(OSError):  # there may be no standard error
            os.dup2(2, 1)
        sys.stdout = sys.stderr

    def send(self, line: str) -> None:
        """Write a line, unless nobody reads it any more."""
        left = memoryview(f"{line}\n".encode())
        with self._lock, suppress(OSError):
            while left:
                left = left[os.write(self._file, left) :]


class _Forwarded:
    """A request of a client that the relay has to answer. `over` is set when the client has cancelled it."""

    def __init__(self, message: _Message) -> None:
        self.message = message
        self.over = _Cancellation()


class _Received(NamedTuple):
    """A message that the relay has sent: its members, and how it is written, as a line."""

    members: _Object
    line: str


class _McpRelay:
    """The relay's MCP servers: that of a session, and without a code the server with the fixed tools.

    A client of before 2026-07-28 says who it is in `initialize` alone, its handshake. For this the relay, which keeps
    nothing, gives an id that has the client's name in it.
    """

    def __init__(self, relay: _Relay) -> None:
        self._relay = relay
        self._version = _LEGACY[2]  # that of a client which has not said which one it follows
        self._handshake = ""
        self._session_id: str | None = None
        self._introduces_after = 0.0  # after a failure there is a pause, so that calls do not wait for each other's
        self._lock = threading.Lock()

    def begin(self, handshake: str, version: str) -> None:
        """Take note of a client's `initialize`, and of the version with which it was answered."""
        with self._lock:
            self._handshake = handshake
            self._version = version
            self._session_id = None

    def ask(self, code: str, call: _Forwarded, pass_on: Callable[[str], object]) -> _Received:
        """Send a request, and return the response. `pass_on` is called with each notification that comes before.

        Raises RelayError, also for a problem of the relay in the response.
        """
        message = call.message
        headers = {"Accept": "application/json, text/event-stream", **self._headers(code, message)}
        limit = _TimeLimit(_MCP_IDLE_SECONDS, is_stream=True)
        exchange = self._relay.answering(
            "POST", _mcp_path(code), body=message.line, headers=headers, limit=limit, over=call.over
        )
        with exchange as answer:
            for text in _texts(answer):
                received = _Received(_checked_answer(text, "jsonrpc"), _one_line(text))
                if "method" not in received.members:
                    return _checked_response(received, message)
                if "id" not in received.members:
                    pass_on(received.line)
        raise RelayError("The relay's answer broke off.", "unreachable")

    def _headers(self, code: str, message: _Message) -> dict[str, str]:
        if not message.is_modern:
            return self._legacy_headers(code)
        headers = {"MCP-Protocol-Version": _MODERN, "Mcp-Method": message.method}
        if message.method == "tools/call":
            name = base64.b64encode(message.params["name"].encode("utf-8", "replace")).decode()
            headers["Mcp-Name"] = f"=?base64?{name}?="
        return headers

    def _legacy_headers(self, code: str) -> dict[str, str]:
        with self._lock:
            headers = {"MCP-Protocol-Version": max(self._version, _LEGACY[2])}  # before that one there was no header
            if self._handshake and self._session_id is None and time.monotonic() > self._introduces_after:
                self._session_id = self._introduce(code, headers)
                self._introduces_after = time.monotonic() + _RETRY_SECONDS
            return headers | ({"Mcp-Session-Id": self._session_id} if self._session_id else {})

    def _introduce(self, code: str, headers: dict[str, str]) -> str | None:
        """Return the id that the relay gives for the handshake, empty if it gives none, None if it is out of reach."""
        headers = {"Accept": "application/json, text/event-stream", **headers}
        limit = _TimeLimit(_END_SECONDS)
        exchange = self._relay.exchange("POST", _mcp_path(code), body=self._handshake, headers=headers, limit=limit)
        try:
            with exchange as answer:
                return answer.headers.get("Mcp-Session-Id", "")
        except RelayError:
            return None


def _mcp_path(code: str) -> str:
    return f"/mcp/{quote(code, safe='')}" if code else "/mcp"


def _texts(answer: _Answer) -> Iterator[str]:
    """Yield the messages in an answer of an MCP server: of a stream each as it comes. Raises RelayError."""
    kind = answer.headers.get_content_type()
    if kind == "text/event-stream":
        for event in _events(answer.parts()):
            yield event.data
    elif kind == "application/json":
        yield answer.text()
    else:
        raise _refusal(answer)


def _checked_response(received: _Received, to: _Message) -> _Received:
    """Return the response to a request, under the request's id.

    Raises RelayError if the relay reports a problem, or if what it has sent is no response.
    """
    error = _object_in(received.members, "error")
    problem = _object_in(error, "data")
    if isinstance(problem.get("code"), str):
        raise RelayError(str(error.get("message")), problem["code"])
    if received.members.get("id") == to.id and ("result" in received.members or error):
        return received
    if error:  # the relay could not read the request, nor the id in it
        return received._replace(line=_json_rpc(id=to.id, error=error))
    raise _unexpected_answer()


class _ListWatch:
    """Learns from the relay when the tools of a session change (`on_change`), and when it is over (`on_end`)."""

    def __init__(self, relay: _Relay, code: str, on_change: Callable[[], object], on_end: Callable[[], object]) -> None:
        self._relay = relay
        self._code = code
        self._on_change = on_change
        self._on_end = on_end
        # The session's tools, as JSON of the relay's, when the client last listed them. None after a notification that
        # they have changed; empty if the client got other tools in their place.
        self._known: str | None = None
        self._is_running = False

    def expect_list(self) -> None:
        """Look at the tools before the client lists them, so that no change after that is missed."""
        if self._known and self._is_running:
            return
        try:
            self._known = self._tools()
        except RelayError:
            self.expect_other_list()

    def expect_other_list(self) -> None:
        """Take note that the client is shown other tools in place of the session's."""
        self._known = ""

    def run(self) -> None:
        """Watch until the session is over, or nobody is interested any more."""
        self._is_running = True
        over = _cancellation()
        failures = 0
        while not over.is_set():
            began = time.monotonic()
            try:
                self._compare()
                self._listen(over)
                error = RelayError("The stream has ended.", "unreachable")
            except RelayError as failure:
                error = failure
            if error.code in _GONE:
                self._on_end()
                return
            failures = 1 if time.monotonic() - began > _SHORT_STREAM_SECONDS else failures + 1
            over.wait(_POLLING_SECONDS if error.final else _backoff(failures, error))

    def _listen(self, over: _Cancellation) -> None:
        """Read the stream on which the relay says that the tools have changed. Raises RelayError."""
        limit = _TimeLimit(_MCP_IDLE_SECONDS, is_stream=True)
        headers = {"Accept": "text/event-stream"}
        with self._relay.answering("GET", _mcp_path(self._code), headers=headers, limit=limit, over=over) as answer:
            if not answer.is_success:
                raise _refusal(answer)
            self._compare()
            for text in _texts(answer):
                if _checked_answer(text, "jsonrpc").get("method") == "notifications/tools/list_changed":
                    self._known = None
                    self._on_change()

    def _compare(self) -> None:
        """Look whether the tools have changed while nobody listened. Raises RelayError."""
        tools = self._tools()
        has_changed = self._known not in (None, tools)
        self._known = tools
        if has_changed:
            self._on_change()

    def _tools(self) -> str:
        path = f"/api/sessions/{quote(self._code, safe='')}/tools"
        with self._relay.exchange("GET", path, limit=_TimeLimit(_CALL_SECONDS)) as answer:
            return answer.text()


class _McpServer:
    """An MCP server for one client, which writes to standard output.

    It has the tools of a session, whose calls go to the relay. Without a code, and once the session is over, or as long
    as the relay is out of reach, it has the fixed tools, which take a code.
    """

    def __init__(self, relay: _Relay, code: str, output: _Output) -> None:
        self._given_code = code
        self._code = code  # empty once the session is over
        self._shows_fixed = not code  # whether the client was last shown the fixed tools
        self._output = output
        self._mcp = _McpRelay(relay)
        self._watch = _ListWatch(relay, code, self._notify, self._end_session)
        self._is_watching = False
        self._is_legacy = False  # whether the client takes notifications that it has not asked for
        self._subscriptions: list[_Id] = []
        self._calls: dict[_Id, _Forwarded] = {}
        self._changed = threading.Condition()  # guards `_calls` and `_subscriptions`
        self._over = _Cancellation()

    def run(self, stream: IO[bytes]) -> None:
        """Answer what comes on a stream until it ends. Then what is under way is withdrawn."""
        for line in _lines_within(stream, _MAX_LINE_BYTES):
            if line.strip():
                self._take(line)
        with self._changed:
            self._changed.wait_for(lambda: not self._calls, _LAST_SECONDS)
            calls = list(self._calls.values())
        self._over.set()
        for call in calls:
            call.over.set()

    def _take(self, line: bytes) -> None:
        try:
            message = _read_message(line)
        except _Fault as fault:
            self._refuse(fault.id, fault)
            return
        try:
            if message.id is not None:
                self._answer(message)
            elif message.method == "notifications/cancelled":
                self._cancel(message.params.get("requestId"))
        except _Fault as fault:
            self._refuse(message.id, fault)

    def _answer(self, request: _Message) -> None:
        """Answer a request at once, or let a thread do that. Raises _Fault."""
        if request.is_modern:
            _check_modern(request)
        with self._changed:
            if request.id in self._calls or request.id in self._subscriptions:
                raise _Fault(_INVALID_REQUEST, "The id is that of another request which is under way.")
        match request.method, request.is_modern:
            case "initialize", False:
                self._initialize(request)
            case "ping", False:
                self._send_result(request)
            case "server/discover", True:
                members = {"supportedVersions": [_MODERN, *_LEGACY], **self._description()}
                self._send_result(request, **members, **_UNCACHED)
            case "subscriptions/listen", True:
                self._subscribe(request)
            case "tools/list", _:
                self._list(request)
            case "tools/call", _:
                _check_call(request)
                self._queue(request)
            case _:
                raise _Fault(_METHOD_NOT_FOUND, f"There is no method {request.method[:64]}.")

    def _description(self) -> _Object:
        if self._code:
            return {"capabilities": {"tools": {"listChanged": True}}, "instructions": _SESSION_INSTRUCTIONS}
        return {"capabilities": {"tools": {}}, "instructions": _FIXED_INSTRUCTIONS}

    def _initialize(self, request: _Message) -> None:
        wanted = request.params.get("protocolVersion")
        version = wanted if isinstance(wanted, str) and wanted in _LEGACY else _LEGACY[0]
        self._mcp.begin(request.line, version)
        self._send_result(request, protocolVersion=version, serverInfo=_SERVER, **self._description())
        self._is_legacy = True
        self._start_watching()

    def _subscribe(self, request: _Message) -> None:
        """Tell a modern client from now on when the tools change. If they never will, that is said at once."""
        is_wanted = self._code and _object_in(request.params, "notifications").get("toolsListChanged") is True
        identity = {f"{_META}subscriptionId": request.id}
        honored = {"toolsListChanged": True} if is_wanted else {}
        params = {"_meta": identity, "notifications": honored}
        self._output.send(_json_rpc(method="notifications/subscriptions/acknowledged", params=params))
        if is_wanted:
            with self._changed:
                self._subscriptions.append(request.id)
            self._start_watching()
        else:
            self._send_end_of_subscription(request.id)

    def _send_end_of_subscription(self, request_id: _Id) -> None:
        result = {"resultType": "complete", "_meta": {f"{_META}subscriptionId": request_id}}
        self._output.send(_json_rpc(id=request_id, result=result))

    def _start_watching(self) -> None:
        if self._code and not self._is_watching:
            self._is_watching = True
            _start(self._over, self._watch.run)

    def _notify(self) -> None:
        """Say that the tools have changed."""
        changed = "notifications/tools/list_changed"
        if self._is_legacy:
            self._output.send(_json_rpc(method=changed))
        with self._changed:
            subscriptions = list(self._subscriptions)
        for subscription in subscriptions:
            params = {"_meta": {f"{_META}subscriptionId": subscription}}
            self._output.send(_json_rpc(method=changed, params=params))

    def _end_session(self) -> None:
        """Go on with the fixed tools, which do not change any more."""
        with self._changed:
            was_open, self._code = self._code, ""
        if was_open:
            _log.warning("the session %s is over", was_open)
            self._notify()
            with self._changed:
                subscriptions, self._subscriptions = self._subscriptions, []
            for subscription in subscriptions:
                self._send_end_of_subscription(subscription)

    def _list(self, request: _Message) -> None:
        if self._code:
            self._queue(request)
        elif request.params.get("cursor"):
            raise _Fault(_INVALID_PARAMS, "There is one page: leave the cursor out.")
        else:
            self._send_fixed_tools(request)

    def _send_fixed_tools(self, request: _Message) -> None:
        self._shows_fixed = True
        self._send_result(request, tools=_FIXED_TOOLS, **(_UNCACHED if request.is_modern else {}))

    def _queue(self, request: _Message) -> None:
        """Let a thread forward a request, if there are not too many."""
        call = _Forwarded(request)
        with self._changed:
            is_accepted = len(self._calls) < _MCP_CALLS
            if is_accepted:
                self._calls[request.id] = call
        if is_accepted:
            _start(call.over, partial(self._forward, call))
        else:
            self._send_failure(call, RelayError(f"{_MCP_CALLS} calls are under way. Try again later.", "busy"))

    def _cancel(self, request_id: Any) -> None:
        """Withdraw a request, or end a subscription, neither of which gets an answer."""
        if not _is_id(request_id):
            return
        with self._changed:
            call = self._calls.get(request_id)
            if request_id in self._subscriptions:
                self._subscriptions.remove(request_id)
        if call:
            call.over.set()
            self._finish(call)

    def _finish(self, call: _Forwarded) -> None:
        with self._changed:
            if self._calls.get(call.message.id) is call:
                del self._calls[call.message.id]
            self._changed.notify_all()

    def _forward(self, call: _Forwarded) -> None:
        """Answer a request with what the relay answers."""
        try:
            if call.message.method == "tools/list":
                self._forward_list(call)
            else:
                self._forward_call(call)
        except Exception as error:  # noqa: BLE001 - whatever happens, the client waits for an answer
            _log.warning("%s has failed", call.message.method, exc_info=True)
            self._send_failure(call, error)
        finally:
            self._finish(call)

    def _forward_list(self, call: _Forwarded) -> None:
        """Answer with the session's tools, or if it is over, or the relay is out of reach, with the fixed ones."""
        self._watch.expect_list()  # also if nothing watches yet: the client may subscribe to changes of what it gets
        try:
            answer = self._mcp.ask(self._code, call, partial(self._send, call))
        except RelayError as error:
            if not call.over.is_set():
                _log.warning("the tools of the session cannot be listed: %s", error)
                self._watch.expect_other_list()
                if error.code in _GONE:
                    self._end_session()
                self._send_fixed_tools(call.message)
            return
        self._shows_fixed = False
        self._send(call, answer.line)

    def _forward_call(self, call: _Forwarded) -> None:
        is_fixed = self._shows_fixed and call.message.params["name"] in _FIXED_NAMES
        code = "" if is_fixed else self._given_code
        try:
            self._send(call, self._mcp.ask(code, call, partial(self._send, call)).line)
        except RelayError as error:
            self._send_failure(call, _with_doubt(error))

    def _send(self, call: _Forwarded, line: str) -> None:
        """Send what belongs to a call, unless that is withdrawn."""
        if not call.over.is_set():
            self._output.send(line)

    def _send_failure(self, call: _Forwarded, error: Exception) -> None:
        """Answer a call with a result that says to a model what has failed, and another request with an error."""
        if call.over.is_set():
            return
        if call.message.method == "tools/call":
            self._send_result(call.message, **_text_result(str(error)), isError=True)
        else:
            self._refuse(call.message.id, _Fault(_INTERNAL, str(error)))

    def _send_result(self, request: _Message, **members: Any) -> None:
        if request.is_modern:
            members = {"resultType": "complete", **members, "_meta": {f"{_META}serverInfo": _SERVER}}
        self._output.send(_json_rpc(id=request.id, result=members))

    def _refuse(self, request_id: _Id, fault: _Fault) -> None:
        """Answer with an error. Its id is left out if that of the request could not be read."""
        identity = {} if request_id is None else {"id": request_id}
        self._output.send(_json_rpc(**identity, error=fault.error))


_UNCACHED = {"ttlMs": 0, "cacheScope": "private"}


def _with_doubt(error: RelayError) -> RelayError:
    """Return the error of a call, which says so if the tool may have run nevertheless."""
    was_sent = not isinstance(error.__cause__, ConnectionRefusedError | socket.gaierror)
    if error.code not in _NETWORK or not was_sent:
        return error
    return RelayError(f"{error} Whether the tool has run is not known.", str(error.code))


def _check_modern(request: _Message) -> None:
    """Look whether a modern request is complete. Raises _Fault."""
    version = request.meta[f"{_META}protocolVersion"]
    if not isinstance(version, str):
        raise _Fault(_INVALID_PARAMS, f"{_META}protocolVersion must be a string.")
    if version != _MODERN:
        data = {"supported": [_MODERN, *_LEGACY], "requested": version[:64]}
        raise _Fault(_VERSION_UNSUPPORTED, "This protocol version is not supported.", data=data)
    if not isinstance(request.meta.get(f"{_META}clientCapabilities"), dict):
        raise _Fault(_INVALID_PARAMS, f"params._meta lacks {_META}clientCapabilities, an object.")


def _check_call(request: _Message) -> None:
    """Look whether the call of a tool can be forwarded. Raises _Fault."""
    name = request.params.get("name")
    if not isinstance(name, str):
        raise _Fault(_INVALID_PARAMS, "name must be a string.")
    if len(name) > _MAX_NAME:
        raise _Fault(_INVALID_PARAMS, f"Unknown tool: {name[:128]}")


# MCP server of another program

_PROGRAM_START_SECONDS = 60  # how long a program may take to answer for the first time
_DISCOVER_SECONDS = 10  # … until it is asked in the way of before 2026-07-28 as well
_PROGRAM_STOP_SECONDS = 1  # how long it has to end after the end of its standard input, and again after SIGTERM
_QUICK_DEATH_SECONDS = 30  # a program that lives longer may be started again without end
_QUICK_DEATHS = 5
_MOST_PAGES = 100
_UNREAD_LINES = 64  # how many lines may wait for a program that does not read
_ERROR_LINES = 20
_ERROR_CHARACTERS = 1000
_LENT_WORKERS = 16
_RELAYED_FIELDS = ("name", "title", "description", "inputSchema", "outputSchema", "annotations", "_meta")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_CLIENT = {"name": "relay.py", "title": "Parley", "version": _VERSION}


class _ProgramError(RelayError):
    """A program that serves MCP has failed, and is of no use any more."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "program_failed")


class _Process:
    """A running program, with what it has started itself, and lines to it and from it.

    `on_line` is called with each line of its standard output, and `on_end` when that has ended, in a thread. Raises
    _ProgramError if the program cannot be started.

    Attributes:
        errors: The last lines of its standard error.
    """

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        folder: str | None,
        on_line: Callable[[bytes], object],
        on_end: Callable[[], object],
    ) -> None:
        self.errors: deque[str] = deque(maxlen=_ERROR_LINES)
        self._on_line = on_line
        self._on_end = on_end
        self._unread: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._is_over = False
        self._buried = threading.Event()
        self._process = _popen(command, environment, folder)
        self._error_reader = threading.Thread(target=self._read_errors, daemon=True)

    def listen(self) -> None:
        """Begin to read and to write. What is called then may use this object."""
        self._error_reader.start()
        for work in (self._read, self._write, self._bury):
            threading.Thread(target=work, daemon=True).start()

    def send(self, line: str) -> None:
        """Let a line be written. Raises _ProgramError if the program does not read what it gets."""
        with self._changed:
            if len(self._unread) >= _UNREAD_LINES:
                raise _ProgramError("The program does not read what it is sent.")
            self._unread.append(f"{line}\n".encode())
            self._changed.notify_all()

    def stop(self) -> None:
        """End the program and what it has started: it may end by itself, then it is asked to, and then it is killed."""
        with self._changed:
            self._is_over = True
            self._unread.clear()
            self._changed.notify_all()
        for name in ("SIGTERM", "SIGKILL"):
            if self._buried.wait(_PROGRAM_STOP_SECONDS):
                return
            _signal_group(self._process, name)
        self._buried.wait(_PROGRAM_STOP_SECONDS)

    def _bury(self) -> None:
        """When the program ends, end what it has started as well, which may still hold its standard output.

        That is done at once, as later its number may be that of others.
        """
        self._process.wait()
        _signal_group(self._process, "SIGKILL")
        self._buried.set()

    def _write(self) -> None:
        """Write what is sent. This waits as long as the program does not read."""
        stream = self._process.stdin
        with suppress(OSError, ValueError):
            while stream and (line := self._next()):
                stream.write(line)
                stream.flush()
        with suppress(OSError):
            if stream:
                stream.close()

    def _next(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._unread or self._is_over)
            return b"" if self._is_over else self._unread.popleft()

    def _read(self) -> None:
        try:
            if self._process.stdout:
                with suppress(OSError, ValueError), self._process.stdout as stream:
                    for line in _lines_within(stream, _MAX_LINE_BYTES):
                        self._on_line(line)
        finally:
            self._error_reader.join(_PROGRAM_STOP_SECONDS)  # it reads what the program has said last
            self._on_end()

    def _read_errors(self) -> None:
        if self._process.stderr:
            with suppress(OSError, ValueError), self._process.stderr as stream:
                for line in _lines_within(stream, _ERROR_CHARACTERS):
                    text = line[:_ERROR_CHARACTERS].decode("utf-8", "replace")
                    self.errors.append(text)
                    _log.info("%s", text)


def _popen(command: list[str], environment: Mapping[str, str], folder: str | None) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own. Raises _ProgramError."""
    import shutil
    import subprocess

    found = shutil.which(command[0], path=environment.get("PATH")) or command[0]  # Windows finds npx.cmd only so
    try:
        return subprocess.Popen(
            [found, *command[1:]],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # which Windows does not know, and ignores
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    except (OSError, ValueError) as error:
        raise _ProgramError(f"{command[0]} cannot be started: {error}") from error


def _signal_group(process: subprocess.Popen[bytes], name: str) -> None:
    """Send a signal to a program and what it has started."""
    if sys.platform == "win32":
        import subprocess

        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False)  # noqa: S607
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, getattr(signal, name))


class _Program:
    """An MCP server over standard input and output, as its client sees it.

    `on_change` is called when its list of tools changes, and `on_end` when it has ended, in a thread.

    Attributes:
        is_known: Whether it has answered anything.
        end: Why nothing more will come of it, None as long as it lives.
    """

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        folder: str | None,
        on_change: Callable[[], object],
        on_end: Callable[[], object],
    ) -> None:
        self.is_known = False
        self._on_change = on_change
        self._on_end = on_end
        self._is_modern = True
        self._has_changes = False  # whether it says when its list of tools changes, to a modern client that asks
        self._last_id = 0
        self._waiting: dict[int, Future[Any]] = {}
        self._progress: dict[int, Callable[[_Object], object]] = {}
        self._lock = threading.Lock()
        self.end: _ProgramError | None = None
        self._process = _Process(command, environment, folder, self._take, self._ended)
        self._process.listen()

    def begin(self, seconds: float, *, asks_first: bool) -> None:
        """Agree on a version of the protocol, within some time. Raises RelayError.

        Without `asks_first` the first message is `initialize`: there are programs that end at any other.
        """
        until = time.monotonic() + seconds
        if not asks_first or not self._discover(min(seconds, _DISCOVER_SECONDS)):
            self._initialize(until)
        if self._is_modern and self._has_changes:
            self._send("subscriptions/listen", {"notifications": {"toolsListChanged": True}})

    def tools(self) -> list[_Object]:
        """Return all tools. Raises RelayError."""
        found: list[_Object] = []
        cursor: _Object = {}
        for _ in range(_MOST_PAGES):
            page = self.request("tools/list", cursor, seconds=_PROGRAM_START_SECONDS)
            if not isinstance(page.get("tools"), list):
                raise _ProgramError("The program has answered with something else than its list of tools.")
            found += [tool for tool in page["tools"] if isinstance(tool, dict)]
            if not page.get("nextCursor"):
                return found
            cursor = {"cursor": page["nextCursor"]}
        raise _ProgramError(f"The list of tools has more than {_MOST_PAGES} pages.")

    def call(self, name: str, arguments: _Object, report: Callable[[_Object], object]) -> _Object:
        """Call a tool, and return its result. `report` is called with the reports of its progress.

        When this thread's work is cancelled, the program gets `notifications/cancelled`. Raises RelayError.
        """
        return self.request("tools/call", {"name": name, "arguments": arguments}, report=report)

    def request(
        self,
        method: str,
        params: _Object,
        *,
        seconds: float | None = None,
        report: Callable[[_Object], object] | None = None,
    ) -> _Object:
        """Send a request, and return its result. Raises RelayError, `timeout` after so many seconds."""
        request_id, answer = self._send(method, params, report)
        try:
            with _cancellation().stopping(partial(self._cancel, request_id)):
                if not wait_for([answer], seconds).done:
                    self._cancel(request_id, "The program does not answer.")
            result = answer.result()
        finally:
            with self._lock:
                self._progress.pop(request_id, None)
        if not isinstance(result, dict):
            raise RelayError("The program has answered with a result that is no object.", "client_error")
        return result

    def stop(self) -> None:
        """End the program, and whatever it has started."""
        self._process.stop()

    def _discover(self, seconds: float) -> bool:
        """Ask in the way of 2026-07-28. Returns whether the program answers so. Raises _ProgramError."""
        try:
            result = self.request("server/discover", {}, seconds=seconds)
        except _ProgramError:
            raise
        except RelayError as error:
            data = _object_in(error.error, "data") if isinstance(error.error, dict) else {}
            versions = data.get("supported")
            if isinstance(versions, list) and not set(map(str, versions)) & set(_LEGACY):
                raise _ProgramError(f"The program follows other versions of MCP: {_excerpt(versions)}.") from error
            return False
        self._has_changes = _object_in(_object_in(result, "capabilities"), "tools").get("listChanged") is True
        versions = result.get("supportedVersions")
        return isinstance(versions, list) and _MODERN in versions

    def _initialize(self, until: float) -> None:
        """Ask in the way of before 2026-07-28. Raises RelayError."""
        self._is_modern = False
        params = {"protocolVersion": _LEGACY[0], "capabilities": {}, "clientInfo": _CLIENT}
        try:
            result = self.request("initialize", params, seconds=max(0, until - time.monotonic()))
        except RelayError as error:
            code = error.error.get("code") if isinstance(error.error, dict) else None
            if code != _VERSION_UNSUPPORTED:
                raise
            self._is_modern = True  # it had only been slow to answer the first question
            if not self._discover(max(0, until - time.monotonic())):
                raise
            return
        if result.get("protocolVersion") not in _LEGACY:
            raise _ProgramError(f"The program follows another version of MCP: {_excerpt(result)}.")
        self._notify("notifications/initialized", {})

    def _send(
        self, method: str, params: _Object, report: Callable[[_Object], object] | None = None
    ) -> tuple[int, Future[Any]]:
        """Send a request, and return its id, and what will have its result. Raises _ProgramError."""
        answer: Future[Any] = Future()
        with self._lock:
            if self.end:
                raise self.end
            self._last_id += 1
            request_id = self._last_id
            self._waiting[request_id] = answer
            if report:
                self._progress[request_id] = report
        meta = self._meta() | ({"progressToken": request_id} if report else {})
        params = params | ({"_meta": meta} if meta else {})
        try:
            self._process.send(_json_rpc(id=request_id, method=method, params=params))
        except _ProgramError:
            self._resolve(request_id)
            raise
        return request_id, answer

    def _notify(self, method: str, params: _Object) -> None:
        meta = self._meta()
        with suppress(_ProgramError):
            self._process.send(_json_rpc(method=method, params=params | ({"_meta": meta} if meta else {})))

    def _meta(self) -> _Object:
        if not self._is_modern:
            return {}
        return {
            f"{_META}protocolVersion": _MODERN,
            f"{_META}clientCapabilities": {},
            f"{_META}clientInfo": _CLIENT,
        }

    def _cancel(self, request_id: int, reason: str = "The guest has withdrawn the call.") -> None:
        """Expect no answer to a request any more, and tell that to the program."""
        if answer := self._resolve(request_id):
            answer.set_exception(RelayError(reason, "timeout"))
            self._notify("notifications/cancelled", {"requestId": request_id, "reason": reason})

    def _resolve(self, request_id: Any) -> Future[Any] | None:
        """Return what waits for the answer to a request, None if nothing does. Whoever gets it has to set it."""
        with self._lock:
            return self._waiting.pop(request_id, None) if isinstance(request_id, int) else None

    def _take(self, line: bytes) -> None:
        """Take a line that the program has written. One that is no message is only logged."""
        if len(line) > _MAX_LINE_BYTES:
            text = f"The program has written a line of more than {_MAX_LINE_BYTES:,} bytes, which may be the answer."
            self._fail_all(RelayError(text, "client_error"))
            return
        try:
            message = _parse(line.decode(), 3)
        except ValueError:
            message = None
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            _log.info("no message: %.200r", line)
        elif not isinstance(message.get("method"), str):
            self._answered(message)
        elif "id" in message:
            self._asked(message["id"], message["method"])
        else:
            self._notified(message["method"], _object_in(message, "params"))

    def _answered(self, message: _Object) -> None:
        self.is_known = True
        answer = self._resolve(message.get("id"))
        if not answer:
            return
        if "result" in message:
            answer.set_result(message["result"])
        else:
            error = _object_in(message, "error")
            answer.set_exception(RelayError(str(error.get("message", "The program has failed.")), error=error))

    def _asked(self, request_id: Any, method: str) -> None:
        """Answer what the program asks its client, which has no roots, no model and no person to ask."""
        refusal = _Fault(_METHOD_NOT_FOUND, "This client has nothing of that.")
        answer: _Object = {"result": {}} if method == "ping" else {"error": refusal.error}
        with suppress(_ProgramError, TypeError, ValueError, RecursionError):  # of an id that cannot be written
            self._process.send(_json_rpc(id=request_id, **answer))

    def _notified(self, method: str, params: _Object) -> None:
        if method == "notifications/tools/list_changed":
            self._on_change()
        elif method == "notifications/progress":
            token = params.get("progressToken")
            with self._lock:
                report = self._progress.get(token) if isinstance(token, int) else None
            if report:
                report(params)

    def _ended(self) -> None:
        said = "\n".join(self._process.errors)
        end = _ProgramError(f"The program has ended. It said last:\n{said}" if said else "The program has ended.")
        with self._lock:
            self.end = end
        self._fail_all(end)
        self._on_end()

    def _fail_all(self, error: RelayError) -> None:
        with self._lock:
            answers, self._waiting = list(self._waiting.values()), {}
        for answer in answers:
            answer.set_exception(error)


class _LentTools(_Toolbox):
    """The tools of a program that serves MCP, as those of a host. The program is started again when it dies.

    It is started in another thread than the main one, so that no signal comes between its start and the note that there
    is something to stop.

    Attributes:
        failure: Why the program is not started any more, empty as long as it is.
    """

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        folder: str | None,
        seconds: float,
        approval: _Approval,
    ) -> None:
        self.loop = None
        self.failure = ""
        self._approval = approval
        self._start_program = partial(_Program, command, environment, folder)
        self._seconds = seconds
        self._asks_first = True
        self._tools: dict[str, Any] = {}
        self._left_out = set[str]()  # the names of tools that are not offered, which is said once
        self._publish: Callable[[], object] | None = None
        self._give_up: Callable[[], object] = lambda: None
        self._is_published = True  # whether the relay has the tools as they are
        self._program: _Program | None = None
        self._has_ended = self._has_changed = self._is_stopped = False
        self._changed = threading.Condition()

    def begin(self) -> None:
        """Start the program for the first time. Raises RelayError."""
        outcome: Future[None] = Future()

        def run() -> None:
            try:
                self._launch()
            except Exception as error:  # noqa: BLE001 - it is raised where the program is waited for
                outcome.set_exception(error)
                return
            outcome.set_result(None)
            self._supervise()

        _start(_Cancellation(), run)
        while not wait_for([outcome], 1).done:
            pass  # on Windows, Ctrl+C is noticed between two waits
        outcome.result()

    def lend(self, publish: Callable[[], object], give_up: Callable[[], object]) -> None:
        """From now on call `publish` when the tools have changed, and `give_up` when the program keeps dying."""
        with self._changed:
            self._publish = publish
            self._give_up = give_up
            self._changed.notify_all()

    def stop(self) -> None:
        """End the program for good."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
            program = self._program
        if program:
            program.stop()

    def definitions(self) -> list[_Object]:
        """Return what guests see of the tools."""
        return list(self._tools.values())

    def answer(self, payload: Any) -> Any:
        """Return the result of a request, which has to be the call of a tool. Raises what is its error."""
        call = _call_in(_readable(payload))
        if not call:
            raise RelayError("This host takes no other requests than the calls of its tools.", "no_handler")
        if call["name"] not in self._tools:
            raise RelayError(error={"code": "unknown_tool", "message": f"There is no tool {call['name']}."})
        arguments = {} if call.get("arguments") is None else call["arguments"]
        asked = ToolCall(call["name"], arguments, _client_name(payload.get("client")), self._tools[call["name"]])
        try:
            self._approval.check(asked, self._run)
            return self._call(call["name"], arguments)
        except (RelayError, _NotAllowed) as error:
            return _error_result(str(error))

    def _call(self, name: str, arguments: _Object) -> _Object:
        program = self._program
        if not program or self._has_ended:
            raise _ProgramError("The program has ended, and is started again. Try again in a moment.")
        result = program.call(name, arguments, _reporter())
        if result.get("resultType", "complete") != "complete":
            raise _ProgramError("The tool asks for more than its arguments, which is not possible here.")
        return {field: value for field, value in result.items() if field != "resultType"}

    def _launch(self) -> None:
        """Start the program, and list its tools. Raises RelayError."""
        mark = object()  # what an earlier program notes is not of this one
        with self._changed:
            if self._is_stopped:
                raise _ProgramError("The program is not to be started any more.")
            self._has_ended = self._has_changed = False
            self._mark = mark
            program = self._start_program(partial(self._note_change, mark), partial(self._note_end, mark))
            self._program = program
        try:
            program.begin(self._seconds, asks_first=self._asks_first)
            self._set_tools(program.tools())
        except _ProgramError:
            program.stop()
            if not self._asks_first or program.is_known:
                raise
            self._asks_first = False
            self._launch()
        except BaseException:
            program.stop()
            raise

    def _note_change(self, mark: object) -> None:
        with self._changed:
            self._has_changed = self._has_changed or mark is self._mark
            self._changed.notify_all()

    def _note_end(self, mark: object) -> None:
        with self._changed:
            self._has_ended = self._has_ended or mark is self._mark
            self._changed.notify_all()

    def _supervise(self) -> None:
        """Publish the tools when they change, and start the program again when it has died, until it is stopped."""
        deaths = 0
        begun = time.monotonic()
        while self._waits_for_event():
            if not self._has_ended:
                self._refresh()
                continue
            deaths = deaths + 1 if time.monotonic() - begun < _QUICK_DEATH_SECONDS else 1
            try:
                self._restart(deaths)
                begun = time.monotonic()
            except RelayError as error:
                if deaths >= _QUICK_DEATHS:
                    self.failure = str(error)
                    self._give_up()
                    return
                _log.warning("%s", error)
                self._has_ended = True
                begun = math.inf  # it has not lived at all

    def _waits_for_event(self) -> bool:
        """Wait until there is something to do. Returns False when the program is not wanted any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or self._has_ended or (self._publish and self._has_changed))
            return not self._is_stopped

    def _restart(self, deaths: int) -> None:
        """Start the program again after a pause, the longer the more often it has died. Raises RelayError."""
        if self._program:
            self._program.stop()
            end = self._program.end
            if end and deaths >= _QUICK_DEATHS:
                raise end
            _log.warning("%s", end)
        with self._changed:
            if self._changed.wait_for(lambda: self._is_stopped, 0.5 * 2.0**deaths):
                return
        self._launch()
        self._has_changed = True

    def _refresh(self) -> None:
        """List the tools again, and publish them if they are others."""
        self._has_changed = False
        try:
            if self._program:
                self._set_tools(self._program.tools())
            if not self._is_published and self._publish:
                self._publish()
                self._is_published = True
        except RelayError as error:
            _log.warning("the tools cannot be listed again: %s", error)
            with self._changed:
                if not error.final and not self._changed.wait_for(lambda: self._is_stopped, _RENEWAL_RETRY_SECONDS):
                    self._has_changed = True

    def _set_tools(self, tools: list[_Object]) -> None:
        """Take the tools as they are, without what the relay would refuse."""
        offered: dict[str, Any] = {}
        for tool in tools:
            name = _excerpt(tool.get("name"))
            obstacle = _obstacle(tool) or ("another one has its name" if tool["name"] in offered else "")
            if not obstacle:
                offered[tool["name"]] = {field: tool[field] for field in _RELAYED_FIELDS if tool.get(field) is not None}
            elif name not in self._left_out:
                self._left_out.add(name)
                _log.warning("the tool %s is not offered: %s", name, obstacle)
        if offered != self._tools:
            self._tools = offered
            self._is_published = self._publish is None


def _obstacle(tool: _Object) -> str:
    """Return why the relay would not take a tool, or guests could not call it. Empty if nothing is in the way."""
    if not isinstance(tool.get("name"), str) or not _TOOL_NAME.fullmatch(tool["name"]):
        return "a name may have 1 to 128 letters, digits and _ . -"
    if _object_in(tool, "inputSchema").get("type") != "object":
        return "its inputSchema is not that of an object"
    if _object_in(tool, "execution").get("taskSupport") == "required":
        return "it can only be called as a task"
    return ""


def _reporter() -> Callable[[_Object], object]:
    """Return a function that passes on what a program reports of this thread's call, in whichever thread."""
    context = contextvars.copy_context()

    def report(params: _Object) -> None:
        context.run(progress, params.get("progress", math.nan), params.get("total"), params.get("message") or "")

    return report


# Command


def main() -> int:
    """Run the command, and return its exit status."""
    parser = _parser()
    options = vars(parser.parse_args())
    log = logging.StreamHandler()
    log.setFormatter(_LogFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(handlers=[log])
    _log.setLevel(logging.DEBUG if "verbose" in options else logging.WARNING)
    _calls_log.setLevel(logging.WARNING if options.get("quiet") else logging.INFO)
    try:
        options["run"](options)
    except (TypeError, ValueError) as error:
        parser.error(_for_stream(str(error), sys.stderr))
    except RelayError as error:
        is_of_host = error.code is None
        _print(error.error if is_of_host and error.error is not None else str(error), sys.stderr)
        return 1 if is_of_host else 3
    except KeyboardInterrupt:
        return 3
    return 0


def _parser() -> argparse.ArgumentParser:
    import argparse

    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--relay", metavar="URL", help="default: PARLEY_URL")
    common.add_argument("--verbose", action="store_true", help="show what comes and goes")
    common.add_argument("--timeout", type=float, metavar="SECONDS", help="how long ask and call wait for an answer")
    parser = argparse.ArgumentParser("relay.py", parents=[common], description="Offer or use functions over a relay.")
    parser.epilog = "Exit status: 1 for an error of the host or tool, 2 for wrong usage, 3 for a refusal or no answer."
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    def add(name: str, run: Callable[[_Object], None], description: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=description, description=description, parents=[common])
        command.set_defaults(run=run)
        return command

    offered = "offer the public functions of a Python file, or what an MCP server has, as tools, until Ctrl+C"
    host_ = add("host", _host, offered)
    host_.add_argument("file", metavar="FILE", nargs="?")
    policies = ("never", "first", "writes", "each")
    host_.add_argument("--approve", choices=policies, default="never", help="which calls to ask about on the terminal")
    host_.add_argument("--qr", action="store_true", help="show a QR code of the link for a guest")
    host_.add_argument("--quiet", action="store_true", help="print no line for each call")
    mcp_help = "instead of a file: start an MCP server with this command, the last option"
    host_.add_argument("--mcp", metavar="COMMAND", nargs=argparse.REMAINDER, help=mcp_help)
    host_.add_argument("--env", metavar="NAME=VALUE", action="append", help="with --mcp: a variable of its environment")
    host_.add_argument("--cwd", metavar="FOLDER", help="with --mcp: where to start it")
    ask = add("ask", _ask, "send a request (JSON, else text), and print its result")
    ask.add_argument("code", metavar="CODE")
    ask.add_argument("payload", metavar="PAYLOAD")
    tools = add("tools", _tools, "list the tools of a session")
    tools.add_argument("code", metavar="CODE")
    call = add("call", _call, "call a tool (with JSON, else text), and print its result")
    call.add_argument("code", metavar="CODE")
    call.add_argument("name", metavar="NAME")
    call.add_argument("arguments", metavar="ARG=VALUE", nargs="*")
    mcp = add("mcp", _mcp, "be an MCP server over standard input and output, for clients that start a command")
    mcp.add_argument("code", metavar="CODE", nargs="?", default="")
    return parser


def _host(options: _Object) -> None:
    """Offer the public functions that a file defines until Ctrl+C. What they print goes to standard error."""
    if options.get("mcp") is not None:
        _lend(options)
        return
    if not options["file"]:
        raise ValueError("host needs a FILE, or --mcp COMMAND")
    output, sys.stdout = sys.stdout, sys.stderr
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    path = Path(options["file"])
    try:
        session = Session(_imported(path), relay=options.get("relay", ""), approve=options["approve"])
    except (Exception, SystemExit) as error:
        raise ValueError(_error_of_file(path, error)) from error
    with suppress(KeyboardInterrupt), session:
        _show_session(session, options, output)
        session.wait()
    if session.reason not in ("", "ended"):
        raise RelayError(f"The session has ended: {session.reason}.", session.reason)


def _show_session(session: Session, options: _Object, output: TextIO) -> None:
    """Print a session's code and URL, and what it offers."""
    code = _for_people(session.code)
    _print(f"{code}\n{session.mcp_url}", output)
    if output.isatty():
        _print(f"\n{_large(code)}\n", output)
    if options["qr"]:
        _print(_drawn(_qr_code(f"{session.relay}/#{code}")), sys.stderr)
    names = ", ".join(tool["name"] for tool in session.tools)
    _print(f"Offers {names}. Ctrl+C ends the session.", sys.stderr)


def _lend(options: _Object) -> None:
    """Offer the tools of a program that serves MCP, until Ctrl+C. None of its processes is left then."""
    output, sys.stdout = sys.stdout, sys.stderr
    for number in _ENDING_SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, signal.default_int_handler)
    command = options["mcp"][options["mcp"][:1] == ["--"] :]
    if not command or options["file"]:
        raise ValueError("--mcp needs a command, and is given instead of a FILE")
    environment = {**os.environ, **_named(options["env"] or [])}
    approval = _Approval(options["approve"], None)
    seconds = options.get("timeout", _PROGRAM_START_SECONDS)
    tools = _LentTools(command, environment, options["cwd"], seconds, approval)
    session = Session(tools, relay=options.get("relay", ""), workers=_LENT_WORKERS)
    try:
        tools.begin()
        with session:
            tools.lend(session._show_tools, session.end)
            try:
                _show_session(session, options, output)
                session.wait()
            finally:
                _stop(tools)
    except KeyboardInterrupt:
        pass
    finally:
        _stop(tools)
    if tools.failure:
        raise _ProgramError(f"It is given up after {_QUICK_DEATHS} quick ends. {tools.failure}")
    if session.reason not in ("", "ended"):
        raise RelayError(f"The session has ended: {session.reason}.", session.reason)


_ENDING_SIGNALS = [number for number in signal.Signals if number.name in ("SIGTERM", "SIGHUP")]


def _stop(tools: _LentTools) -> None:
    """End a program, and let no further signal keep this from being done."""
    for number in (signal.SIGINT, *_ENDING_SIGNALS):
        signal.signal(number, signal.SIG_IGN)
    tools.stop()


def _imported(path: Path) -> types.ModuleType:
    """Return the module that a file is. Raises whatever importing it raises, and ValueError if it offers nothing."""
    if not path.exists():
        raise FileNotFoundError("there is no such file")
    if not path.is_file():
        raise ImportError("this is no Python file")
    sys.modules["relay"] = sys.modules[__name__]  # for `from relay import cancelled`
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules.pop(path.stem, None)  # another module of that name
    module = importlib.import_module(path.stem)
    if not _functions_of_module(module):
        raise ValueError(
            "host() needs tools, which are public functions: there is none in this file. They are defined in it, and "
            "their names do not begin with an underscore; or its `__all__` names them."
        )
    return module


def _error_of_file(path: Path, error: BaseException) -> str:
    """Return what is wrong with a file of tools, and in which of its lines."""
    found = f"{path}: {type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}" if error.filename else f"line {error.lineno}"
        return f"{found} ({place}): {(error.text or '').strip()}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame for frame in frames if Path(frame.filename) == path.resolve()]
    return f"{found} (line {lines[-1].lineno}): {lines[-1].line}" if lines else found


def _large(text: str) -> str:
    """Return a text of capital letters, digits and hyphens in letters of five lines, to be read from afar."""
    rows = ["".join(_GLYPHS[character][row] + "  " for character in text) for row in range(5)]
    return "\n".join(row.rstrip() for row in rows)


def _glyph(rows: str) -> list[str]:
    """Return the lines of a letter, of which each digit is a row of three dots, in binary."""
    return ["".join("██" if int(row) & 4 >> place else "  " for place in range(3)) for row in rows]


_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-"
_ROWS = (
    "25552 26227 61247 61216 55711 74616 34757 71244 25252 75716 25755 65656 34443 65556 74647 74644 34553 55755 72227 "
    "11152 55655 44447 57755 65555 75557 65644 25573 65655 34216 72222 55557 55552 55775 55255 55222 71247 00700"
)
_GLYPHS = dict(zip(_LETTERS, map(_glyph, _ROWS.split()), strict=True))


def _ask(options: _Object) -> None:
    asking = Guest(options["code"], relay=options.get("relay", ""))
    _print(asking.request(_json_or_text(options["payload"]), timeout=options.get("timeout")), sys.stdout)


def _tools(options: _Object) -> None:
    _print(Guest(options["code"], relay=options.get("relay", "")).tools(), sys.stdout)


def _call(options: _Object) -> None:
    """Print the result of a tool: its JSON, or else its text. Raises RelayError for one with `isError`."""
    given = _named(options["arguments"])
    calling = Guest(options["code"], relay=options.get("relay", ""))
    texts = _text_parameters(calling.tools(), options["name"])
    arguments = {name: value if name in texts else _json_or_text(value) for name, value in given.items()}
    show = _ProgressLine(sys.stderr) if sys.stderr.isatty() else None
    try:
        result = calling.call_tool(options["name"], arguments, timeout=options.get("timeout"), on_progress=show)
    finally:
        if show:
            show.erase()
    blocks = result["content"]
    is_text = all(block["type"] == "text" for block in blocks)
    shown = "\n".join(str(block.get("text")) for block in blocks) if is_text else result
    if result.get("isError"):
        raise RelayError(error=shown)
    _print(result.get("structuredContent", shown), sys.stdout)


class _ProgressLine:
    """A line of a terminal that each report of progress writes anew."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._is_empty = True

    def __call__(self, done: float, total: float | None, message: str) -> None:
        share = f"{done:g}" if total is None else f"{done:g}/{total:g}"
        import shutil

        columns = shutil.get_terminal_size().columns - 1
        self._write(f"{_in_a_line(f'{share} {message}')}"[:columns])

    def erase(self) -> None:
        """Leave the line empty."""
        if not self._is_empty:
            self._write("")

    def _write(self, text: str) -> None:
        self._is_empty = not text
        encoding = self._terminal.encoding or "utf-8"
        shown = text.encode(encoding, "backslashreplace").decode(encoding)
        print(f"\r\x1b[K{shown}", end="", file=self._terminal, flush=True)


def _mcp(options: _Object) -> None:
    """Serve the MCP client that has started this command, until it closes standard input."""
    relay = _Relay(options.get("relay", ""))
    _McpServer(relay, options["code"], _Output()).run(sys.stdin.buffer)


def _named(arguments: list[str]) -> dict[str, str]:
    """Return the values of arguments that are written as NAME=VALUE. Raises ValueError for others."""
    for argument in arguments:
        if "=" not in argument:
            raise ValueError(f"{argument} is not ARG=VALUE")
    return dict(argument.split("=", 1) for argument in arguments)


def _text_parameters(tools: list[_Object], name: str) -> set[str]:
    """Return the parameters of a tool that are texts, so that their values are not read as JSON."""
    for tool in tools:
        if tool.get("name") == name:
            properties = _object_in(_object_in(tool, "inputSchema"), "properties")
            return {parameter for parameter in properties if _object_in(properties, parameter).get("type") == "string"}
    return set()


def _object_in(value: _Object, name: str) -> _Object:
    """Return the object that is the member of an object. Something else says nothing, such as the schema `true`."""
    member = value.get(name)
    return member if isinstance(member, dict) else {}


def _json_or_text(text: str) -> Any:
    """Return the JSON value that a text is, else the text."""
    with suppress(ValueError, RecursionError):
        return json.loads(text, parse_constant=int)  # which raises ValueError: NaN is no JSON
    return text


def _print(value: Any, stream: TextIO) -> None:
    """Print a text as it is, or any other value as JSON."""
    text = _for_stream(value if isinstance(value, str) else _json(value), stream)
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def _for_stream(text: str, stream: TextIO) -> str:
    """Return a text as it is, but with visible control characters for a terminal, which they would control."""
    return text.translate(_VISIBLE_CONTROLS) if stream.isatty() else text


def _in_a_line(text: str) -> str:
    """Return a text that somebody else has written so that it stays in a line, and controls no terminal."""
    return text.translate(_VISIBLE_CONTROLS | _VISIBLE_LINE_ENDS)


# All control characters of Unicode except tab and LF, and those that change the direction of what follows.
_CONTROLS = (*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0))
_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_VISIBLE_CONTROLS = {code: f"\\x{code:02x}" for code in _CONTROLS} | {code: f"\\u{code:04x}" for code in _DIRECTIONS}


_VISIBLE_LINE_ENDS = {ord("\t"): "\\t", ord("\n"): "\\n", 0x2028: "\\u2028", 0x2029: "\\u2029"}


class _LogFormatter(logging.Formatter):
    """Writes a line for standard error."""

    def format(self, record: logging.LogRecord) -> str:
        return _for_stream(super().format(record), sys.stderr)


# Command: QR codes, ISO/IEC 18004, of versions 1 to 5 with error correction level L and mask 0

_QR_DATA_BYTES = (19, 34, 55, 80, 108)  # in each version, with 2 for the length and the kind of data
_QR_CHECK_BYTES = (7, 10, 15, 20, 26)
_QR_FORMAT = 0b111011111000100  # for level L and mask 0


def _qr_code(text: str) -> list[list[bool]]:
    """Return the dark and light modules of a QR code, row by row. Raises ValueError for more than 106 bytes."""
    data = text.encode()
    fitting = [version for version, size in enumerate(_QR_DATA_BYTES, 1) if len(data) <= size - 2]
    if not fitting:
        raise ValueError(f"the link is too long for a QR code: {text}")
    version = fitting[0]
    modules = _qr_patterns(version)
    bits = _qr_bits(data, version)
    for row, column in _qr_places(len(modules)):
        if modules[row][column] is None:
            modules[row][column] = next(bits, False) ^ ((row + column) % 2 == 0)
    return [[bool(module) for module in row] for row in modules]


def _qr_bits(data: bytes, version: int) -> Iterator[bool]:
    """Yield the bits of the data, and of what corrects errors in it."""
    size = _QR_DATA_BYTES[version - 1]
    number = (0b0100 << 8 | len(data)) << 8 * len(data) + 4 | int.from_bytes(data, "big") << 4
    padding = bytes(0x11 if place % 2 else 0xEC for place in range(size - len(data) - 2))
    codewords = number.to_bytes(len(data) + 2, "big") + padding
    for codeword in codewords + _reed_solomon(codewords, _QR_CHECK_BYTES[version - 1]):
        for place in range(7, -1, -1):
            yield bool(codeword >> place & 1)


def _reed_solomon(codewords: bytes, count: int) -> bytes:
    """Return so many check bytes: the remainder of the division by (x - 2⁰)(x - 2¹)… in the field."""
    divisor = [0] * (count - 1) + [1]
    root = 1
    for _ in range(count):
        for place in range(count):
            divisor[place] = _product(divisor[place], root)
            if place + 1 < count:
                divisor[place] ^= divisor[place + 1]
        root = _product(root, 2)
    remainder = [0] * count
    for codeword in codewords:
        factor = codeword ^ remainder.pop(0)
        remainder.append(0)
        remainder = [kept ^ _product(coefficient, factor) for kept, coefficient in zip(remainder, divisor, strict=True)]
    return bytes(remainder)


def _product(a: int, b: int) -> int:
    """Return the product of two elements of the field with 256 elements, modulo x⁸ + x⁴ + x³ + x² + 1."""
    product = 0
    for place in range(7, -1, -1):
        product = (product << 1) ^ (product >> 7) * 0x11D
        product ^= (b >> place & 1) * a
    return product


def _qr_patterns(version: int) -> list[list[bool | None]]:
    """Return the modules that do not depend on the data, and None for the others."""
    size = 17 + 4 * version
    modules: list[list[bool | None]] = [[None] * size for _ in range(size)]
    for place in range(size):
        modules[6][place] = modules[place][6] = place % 2 == 0
    for row, column in ((3, 3), (3, size - 4), (size - 4, 3)):
        _draw_rings(modules, row, column, 4, (2, 4))
    if version > 1:
        _draw_rings(modules, size - 7, size - 7, 2, (1,))
    bits = [bool(_QR_FORMAT >> place & 1) for place in range(15)]
    around_corner = [(row, 8) for row in (0, 1, 2, 3, 4, 5, 7, 8)] + [(8, column) for column in (7, 5, 4, 3, 2, 1, 0)]
    at_edges = [(8, size - 1 - place) for place in range(8)] + [(size - 15 + place, 8) for place in range(8, 15)]
    for places in (around_corner, at_edges):
        for (row, column), bit in zip(places, bits, strict=True):
            modules[row][column] = bit
    modules[size - 8][8] = True
    return modules


def _draw_rings(modules: list[list[bool | None]], row: int, column: int, radius: int, light: tuple[int, ...]) -> None:
    """Draw squares around a place, as far as they are within the code: those at these distances are light."""
    for down in range(-radius, radius + 1):
        for right in range(-radius, radius + 1):
            if 0 <= row + down < len(modules) and 0 <= column + right < len(modules):
                modules[row + down][column + right] = max(abs(down), abs(right)) not in light


def _qr_places(size: int) -> Iterator[tuple[int, int]]:
    """Yield the places of the bits: pairs of columns from right to left, up and down in turn."""
    rights = [*range(size - 1, 6, -2), *range(5, 0, -2)]  # without the column of the timing pattern
    for turn, right in enumerate(rights):
        for row in range(size) if turn % 2 else range(size - 1, -1, -1):
            yield row, right
            yield row, right - 1


def _drawn(modules: list[list[bool]]) -> str:
    """Return modules with a border, in half blocks. Light ones are filled, for terminals whose ground is dark."""
    width = len(modules) + 4
    light = [[False] * width] * 2
    rows = [*light, *([False, False, *row, False, False] for row in modules), *light, [True] * width]
    pairs = zip(rows[::2], rows[1::2], strict=False)
    return "\n".join("".join("█▄▀ "[2 * below + above] for above, below in zip(*pair, strict=True)) for pair in pairs)


if __name__ == "__main__":
    sys.exit(main())
