"""public/relay.py: what functions are as tools, which arguments fit, and what becomes of results."""

import datetime
import decimal
import functools
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict, Union

import jsonschema
import pytest

from public import relay
from public.relay import RelayError


@dataclass
class Point:
    """A place.

    Attributes:
        x: To the right.
    """

    x: float
    y: float = 0.0
    names: list[str] = field(default_factory=list)


@dataclass
class Line:
    start: Point
    end: Point | None = None
    length: float = field(init=False, default=0)


@dataclass
class Positive:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("less than nothing")


class Options(TypedDict):
    """How to do it."""

    deep: bool
    limit: NotRequired[int]


class Loose(TypedDict, total=False):
    deep: bool


POINT = {
    "type": "object",
    "description": "A place.",
    "properties": {
        "x": {"type": "number", "description": "To the right."},
        "y": {"type": "number", "default": 0.0},
        "names": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["x"],
    "additionalProperties": False,
}
ANYTHING = {
    "anyOf": [
        {"type": "string"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "object"},
        {"type": "null"},
        {"type": "array", "items": {}},
    ]
}
INTEGERS = {"type": "array", "items": {"type": "integer"}}


def call(function: Any, arguments: Any) -> Any:
    """Return what a host makes of a call: the result of its tool."""
    session = relay.host([function], relay="https://relay.example")
    name = session._toolbox.definitions()[0]["name"]
    return session._toolbox.answer({"method": "tools/call", "params": {"name": name, "arguments": arguments}})


def refused(function: Any, arguments: Any) -> str:
    """Return why arguments do not fit."""
    result = call(function, arguments)
    assert result["isError"]
    told: str = result["content"][0]["text"]
    assert told.startswith("The arguments do not fit: ")
    return told.removeprefix("The arguments do not fit: ")


def tool(function: Any) -> dict[str, Any]:
    return relay.Tool(function).definition


def function_of(annotation: Any, default: Any = ...) -> Any:
    """Return a function with one parameter, which notes its argument."""

    def function(a: Any) -> None:
        noted.append(a)

    function.__annotations__["a"] = annotation
    if default is not ...:
        function.__defaults__ = (default,)
    return function


noted: list[Any] = []


def schema_of(annotation: Any) -> Any:
    schema: Any = tool(function_of(annotation))["inputSchema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema["properties"]["a"]


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, ANYTHING),
        (object, ANYTHING),
        (list, {"type": "array", "items": {}}),
        (list[int], INTEGERS),
        (dict, {"type": "object", "additionalProperties": {}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (
            Literal["a", 1, True, None, 2],
            {
                "anyOf": [
                    {"type": "string", "enum": ["a"]},
                    {"type": "integer", "enum": [1, 2]},
                    {"type": "boolean", "enum": [True]},
                    {"type": "null", "enum": [None]},
                ]
            },
        ),
        (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045
        (Union[int, str], {"anyOf": [{"type": "integer"}, {"type": "string"}]}),  # noqa: UP007
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Annotated[int, 5], {"type": "integer"}),
        (Point, POINT),
        (
            Line,
            {
                "type": "object",
                "properties": {"start": POINT, "end": {"anyOf": [POINT, {"type": "null"}], "default": None}},
                "required": ["start"],
                "additionalProperties": False,
            },
        ),
        (
            Options,
            {
                "type": "object",
                "description": "How to do it.",
                "properties": {"deep": {"type": "boolean"}, "limit": {"type": "integer"}},
                "required": ["deep"],
                "additionalProperties": False,
            },
        ),
        (
            Loose,
            {
                "type": "object",
                "properties": {"deep": {"type": "boolean"}},
                "required": [],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_schema(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation) == schema


@pytest.mark.parametrize(
    "annotation",
    [
        complex,
        dict[int, str],
        Callable[[], int],
        type,
        [int],
        "Missing",
        set[list[int]],
        set[Point],
        frozenset[dict[str, int]],
        Literal[b"x"],
        memoryview,
        list[complex],
        complex | None,
        Annotated[complex, "x"],
    ],
)
def test_no_schema(annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"^function cannot be a tool: "):
        tool(function_of(annotation))


@pytest.mark.parametrize(
    ("default", "told"),
    [(1, 1), (None, None), ((1, 2), [1, 2]), (Point(1), {"x": 1, "y": 0.0, "names": []})],
)
def test_default(default: Any, told: Any) -> None:
    schema: Any = tool(function_of(Any, default))["inputSchema"]
    assert schema["properties"] == {"a": ANYTHING | {"default": told}}
    assert schema["required"] == []


def test_parameters_without_annotations() -> None:
    """They have types, and take anything."""

    def function(a, b=1): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202

    schema: Any = tool(function)["inputSchema"]
    assert schema["properties"] == {"a": ANYTHING, "b": ANYTHING | {"default": 1}}
    for value in ("x", 1, 1.5, True, None, {"a": [1]}, [1, "x", None, [2]]):
        jsonschema.validate({"a": value}, schema)
        assert "isError" not in call(function, {"a": value})


def test_default_that_is_no_json() -> None:
    schema: Any = tool(function_of(Any, object()))["inputSchema"]
    assert schema == {"type": "object", "properties": {"a": ANYTHING}, "required": [], "additionalProperties": False}


@pytest.mark.parametrize(
    ("annotation", "value", "made"),
    [
        (str, "5", "5"),
        (int, 5, 5),
        (int, 5.0, 5),
        (float, 5, 5.0),
        (bool, True, True),
        (None, None, None),
        (Any, [1, {"a": None}], [1, {"a": None}]),
        (list[float], [1, 2.5], [1.0, 2.5]),
        (dict[str, Point], {"a": {"x": 2}}, {"a": Point(2.0)}),
        (Literal["a", 1, True], True, True),
        (Literal["a", 1, True], 1, 1),
        (list[Point] | Point, {"x": 1}, Point(1.0)),
        (Optional[Line], {"start": {"x": 1}, "end": {"x": 2}}, Line(Point(1.0), Point(2.0))),  # noqa: UP045
        (Options, {"deep": True}, {"deep": True}),
        (Annotated[Point, "which"], {"x": 1}, Point(1.0)),
    ],
)
def test_argument(annotation: Any, value: Any, made: Any) -> None:
    function = function_of(annotation)
    jsonschema.validate({"a": value}, tool(function)["inputSchema"])
    noted.clear()
    assert "isError" not in call(function, {"a": value})
    assert noted == [made]
    assert type(noted[0]) is type(made)


@pytest.mark.parametrize(
    ("annotation", "text", "made"),
    [
        (int, "5", 5),
        (int, " 5 ", 5),
        (float, "5", 5.0),
        (bool, "true", True),
        (None, "null", None),
        (list[int], "[1,2]", [1, 2]),
        (list[int], ["1", 2], [1, 2]),
        (list[list[int]], '["[1]"]', [[1]]),
        (dict[str, int], '{"b": "1"}', {"b": 1}),
        (Point, '{"x": 1}', Point(1.0)),
        (Literal[1, 2], "1", 1),
        (Literal[1, "1"], "1", "1"),
        (str, "5", "5"),
        (int | str, "5", "5"),
        (str | int, "5", "5"),
        (int | None, "5", 5),
        (int | None, "null", None),
        (str | None, "null", "null"),
        (list[int] | int, "[5]", [5]),
        (Any, "5", "5"),
        (list[Any], ["5"], ["5"]),
        (Path, "5", Path("5")),
    ],
)
def test_text_that_is_the_json_of_what_is_wanted(annotation: Any, text: str, made: Any) -> None:
    """It is taken where a text cannot be meant."""
    function = function_of(annotation)
    noted.clear()
    assert "isError" not in call(function, {"a": text})
    assert noted == [made]
    assert type(noted[0]) is type(made)


@pytest.mark.parametrize(
    ("annotation", "value", "why"),
    [
        (str, 5, "a must be of the type string, not 5"),
        (int, "5.5", 'a must be of the type integer, not "5.5"'),
        (int, '"5"', 'a must be of the type integer, not "\\"5\\""'),
        (int, "", 'a must be of the type integer, not ""'),
        (int, "9" * 5_000, 'a must be of the type integer, not "999'),
        (float, "NaN", 'a must be of the type number, not "NaN"'),
        (float, "Infinity", 'a must be of the type number, not "Infinity"'),
        (bool, "True", 'a must be of the type boolean, not "True"'),
        (bool, "1", 'a must be of the type boolean, not "1"'),
        (list[int], "1,2", 'a must be of the type array, not "1,2"'),
        (list[int], "[1,", 'a must be of the type array, not "[1,"'),
        (list[int], "[" * 100_000, 'a must be of the type array, not "[[['),
        (list[int], '["x"]', 'a must be of the type array, not "['),
        (int, True, "a must be of the type integer, not true"),
        (int, 5.5, "a must be of the type integer, not 5.5"),
        (int, float("inf"), "a must be of the type integer, not Infinity"),
        (float, "x", 'a must be of the type number, not "x"'),
        (bool, 1, "a must be of the type boolean, not 1"),
        (None, 0, "a must be of the type null, not 0"),
        (list[int], 1, "a must be of the type array, not 1"),
        (list[list[int]], [[1], ["x"]], 'a[1][0] must be of the type integer, not "x"'),
        (dict[str, int], [], "a must be of the type object, not []"),
        (dict[str, int], {"b": None}, "a.b must be of the type integer, not null"),
        (Literal["x", 1], True, 'a must be one of "x", 1, not true'),
        (int | None, "x", 'a must be of the type integer, not "x", or a must be of the type null, not "x"'),
        (Point, {}, "a.x is missing"),
        (Point, {"x": 1, "z": 2}, "a.z is not known, only x, y, names"),
        (Line, {"start": {"x": "one"}}, 'a.start.x must be of the type number, not "one"'),
        (Options, {"deep": 1, "limit": "x"}, "a.deep must be of the type boolean, not 1; a.limit must be of the type"),
        (int, "x" * 200, 'a must be of the type integer, not "' + "x" * 99 + "."),
    ],
)
def test_argument_that_does_not_fit(annotation: Any, value: Any, why: str) -> None:
    assert refused(function_of(annotation), {"a": value}).startswith(why)


def test_all_that_is_wrong_is_told() -> None:
    def function(a: int, b: int, c: int = 0) -> None: ...

    told = refused(function, {"a": "x", "d": 1})
    assert re.fullmatch(r'b is missing; a must .* "x"; d is not known, only a, b, c\.', told)
    assert refused(function, [1]) == "this must be of the type object, not [1]."


def test_dataclass_that_refuses_its_values() -> None:
    result = call(function_of(Positive), {"a": {"value": -1}})
    assert result == text("ValueError: less than nothing") | {"isError": True}


def test_kinds_of_parameters() -> None:
    """All are passed by name, also those that have none for Python."""

    def function(a: int, /, b: int = 2, *rest: int, c: int = 3, **more: float) -> Any:
        return a, b, rest, c, more

    schema = tool(function)["inputSchema"]
    assert list(schema["properties"]) == ["a", "b", "rest", "c"]
    assert schema["properties"]["rest"] == INTEGERS
    assert schema["required"] == ["a"]
    assert schema["additionalProperties"] == {"type": "number"}
    assert call(function, {"a": 1})["structuredContent"] == [1, 2, [], 3, {}]
    assert call(function, {"a": 1, "b": 5, "c": 6})["structuredContent"] == [1, 5, [], 6, {}]
    assert call(function, {"a": 1, "rest": [7, "8"], "x": 1})["structuredContent"] == [1, 2, [7, 8], 3, {"x": 1.0}]
    assert refused(function, {"a": 1, "rest": ["x"], "y": None}) == (
        'rest[0] must be of the type integer, not "x"; y must be of the type number, not null.'
    )


def test_parameters_by_position_only() -> None:
    def function(a: int = 1, b: int = 2, /) -> Any:
        return a, b

    assert call(function, {"b": "5"})["structuredContent"] == [1, 5]
    assert refused(function, {"c": 1}) == "c is not known, only a, b."


class Callee:
    def method(self, a: int) -> int:
        """Do it."""
        return a


def test_kinds_of_functions() -> None:
    def wrapper(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **named: Any) -> Any:
            return [function(*args, **named)]

        return wrapped

    def plain(a: int, b: int = 1) -> int:
        """Be plain."""
        return a + b

    made: dict[str, Any] = {"method": Callee().method, "plain": wrapper(plain), "cached": functools.lru_cache(plain)}
    told = [relay.Tool(function, name).definition for name, function in made.items()]
    assert [one["description"] for one in told] == ["Do it.", "Be plain.", "Be plain."]
    results = [call(function, {"a": 1}) for function in made.values()]
    assert [result["structuredContent"] for result in results] == [1, [2], 2]
    with pytest.raises(TypeError, match="cannot be a tool"):
        relay.host([functools.partial(plain)], relay="https://relay.example")


def test_names_of_tools() -> None:
    def function() -> None: ...

    session = relay.host({"other.name": function}, relay="https://relay.example")
    assert [definition["name"] for definition in session._toolbox.definitions()] == ["other.name"]
    assert relay.Tool(lambda: None, "named").definition.keys() == {"name", "inputSchema"}


GOOGLE = """First line
    and second.

    More.

    Args:
        a: The first
            of all.
        b (list[int]): The second: two.
        *rest: Others.

    Returns:
        c: Nothing.
    """


def test_docstring() -> None:
    def function(a: Any, b: Any, c: Any) -> None: ...

    function.__doc__ = GOOGLE
    definition = tool(function)
    assert definition["description"] == "First line and second."
    assert definition["inputSchema"]["properties"] == {
        "a": ANYTHING | {"description": "The first of all."},
        "b": ANYTHING | {"description": "The second: two."},
        "c": ANYTHING,
    }


@pytest.mark.parametrize(
    ("doc", "description"),
    [("Args:\n    a: x\n", None), ("", None), ("One.\nArgs:\n  a: x", "One."), ("A: b", "A: b")],
)
def test_docstring_without_first_paragraph(doc: str, description: str | None) -> None:
    def function(a: Any) -> None: ...

    function.__doc__ = doc
    assert tool(function).get("description") == description


def text(value: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}]}


def structured(value: Any, told: str = "") -> dict[str, Any]:
    return text(told or json.dumps(value, separators=(",", ":"))) | {"structuredContent": value}


IMAGE = {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}], "isError": True}


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ("a text", text("a text")),
        ("", text("")),
        (datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC), text("2026-01-02T03:04:00+00:00")),
        (datetime.date(2026, 1, 2), text("2026-01-02")),
        (decimal.Decimal("0.10"), text("0.10")),
        (uuid.UUID(int=1), text("00000000-0000-0000-0000-000000000001")),
        (PurePosixPath("/a/b"), text("/a/b")),
        (None, structured(None)),
        (5, structured(5)),
        (True, structured(True)),
        (0.5, structured(0.5)),
        (2**70, structured(2**70)),
        ({"ü": ["€"]}, structured({"ü": ["€"]}, '{"ü":["€"]}')),
        ({1: 2}, structured({"1": 2})),
        ((1, 2), structured([1, 2])),
        (Point(1, names=["a"]), structured({"x": 1, "y": 0.0, "names": ["a"]})),
        ({"deep": [Point(1)]}, structured({"deep": [{"x": 1, "y": 0.0, "names": []}]})),
        (IMAGE, IMAGE),
        ({"content": []}, {"content": []}),
        ({"content": "no list"}, structured({"content": "no list"})),
        ({"content": [{"kind": "text"}]}, structured({"content": [{"kind": "text"}]})),
    ],
)
def test_result(result: Any, told: dict[str, Any]) -> None:
    assert relay._tool_result(result) == told


@pytest.mark.parametrize("result", [object(), {(1, 2): 3}, print, int, 1j, [object()], {1: print}])
def test_result_that_is_no_json(result: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        relay._tool_result(result)


def test_json_that_cannot_be_utf_8() -> None:
    """Half of a surrogate pair, as JSON may have it."""
    assert relay._json("\ud83d") == '"\\ud83d"'
    assert json.loads(relay._json(["\ud83d", "ü"])) == ["\ud83d", "ü"]


@pytest.mark.parametrize("url", ["", "nowhere.example:3000", "ftp://nowhere.example", "https://", "http://u:p@host"])
def test_relay_that_is_no_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLEY_URL", url)
    with pytest.raises(ValueError, match="https://"):
        relay.guest("ABC12345")
    with pytest.raises(ValueError, match="https://"):
        relay.host([])


def test_host_needs_something_to_do() -> None:
    with pytest.raises(TypeError, match="needs tools, which are public functions, or on_request"):
        relay.host(relay="https://relay.example")


def test_errors() -> None:
    assert json.loads(relay._error_json(ValueError("no"))) == {"name": "ValueError", "message": "no"}
    assert json.loads(relay._error_json(RelayError(error={"code": 7}))) == {"code": 7}
    assert json.loads(relay._error_json(RelayError("no", "x"))) == {"name": "RelayError", "message": "no", "code": "x"}


def test_cancelled_outside_of_a_call() -> None:
    """So that a function can be tried by itself."""
    assert not relay.cancelled().is_set()
