"""public/relay.py: types beyond those of JSON, as people write them in their functions."""

import collections
import datetime as dt
import decimal
import enum
import sys
import uuid
from collections import abc
from dataclasses import InitVar, dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, NewType, Required, TypedDict, TypeVar

import jsonschema
import pydantic
import pytest

from tests.clients.test_schemas import ANYTHING, INTEGERS, Point, call, function_of, noted, refused, schema_of, tool


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"
    AZURE = "blue"  # noqa: PIE796 - an alias


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    NUMBER = 1
    TEXT = "one"


class Odd(enum.Enum):
    FIRST = (1, 2)
    SECOND = object()


class Pair(NamedTuple):
    """Two."""

    left: int
    right: str = "r"


@dataclass
class Node:
    """A node."""

    value: int
    children: "list[Node]"
    parent: "Node | None" = None


@dataclass
class Ping:
    pong: "Pong | None" = None


@dataclass
class Pong:
    ping: "Ping | None" = None


class Tree(TypedDict, total=False):
    name: Required[Annotated[str, "what it is called"]]
    kids: list["Tree"]


@dataclass
class Scaled:
    value: int
    factor: InitVar[int] = 1

    def __post_init__(self, factor: int) -> None:
        self.value *= factor


class Address(pydantic.BaseModel):
    street: str
    number: int = pydantic.Field(default=1, ge=1)


class Person(pydantic.BaseModel):
    """Somebody."""

    name: str
    home: Address
    friends: list["Person"] = []


class Meta:
    description = "of a kind"


UserId = NewType("UserId", int)
Bound = TypeVar("Bound", bound=int)
type Json = dict[str, Json] | list[Json] | int | None

STRING = {"type": "string"}
NODE = {"$ref": "#/$defs/Node"}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (Annotated[int, "how many"], {"type": "integer", "description": "how many"}),
        (Annotated[int, Meta()], {"type": "integer", "description": "of a kind"}),
        (Annotated[int, pydantic.Field(description="how many")], {"type": "integer", "description": "how many"}),
        (Annotated[int, 5, "first", None], {"type": "integer", "description": "first"}),
        (list[Annotated[int, "each"]], {"type": "array", "items": {"type": "integer", "description": "each"}}),
        (Annotated[Any, "whatever"], ANYTHING | {"description": "whatever"}),
        (Color, {"type": "string", "enum": ["red", "blue"]}),
        (Level, {"type": "integer", "enum": [1, 2]}),
        (Mixed, {"anyOf": [{"type": "integer", "enum": [1]}, {"type": "string", "enum": ["one"]}]}),
        (Odd, {"type": "string", "enum": ["FIRST", "SECOND"]}),
        (Literal[Color.RED, "x"], {"type": "string", "enum": ["red", "x"]}),
        (Path, {"type": "string", "format": "path"}),
        (dt.datetime, {"type": "string", "format": "date-time"}),
        (dt.date, {"type": "string", "format": "date"}),
        (dt.time, {"type": "string", "format": "time"}),
        (dt.timedelta, {"type": "number", "title": "seconds"}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (decimal.Decimal, {"anyOf": [{"type": "number"}, STRING]}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (tuple, {"type": "array", "items": {}}),
        (tuple[int, ...], INTEGERS),
        (
            tuple[int, str],
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, STRING],
                "items": {"anyOf": [{"type": "integer"}, STRING]},
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (set[int], INTEGERS | {"uniqueItems": True}),
        (frozenset, {"type": "array", "items": {}, "uniqueItems": True}),
        (abc.Sequence[int], INTEGERS),
        (abc.Iterable[int], INTEGERS),
        (collections.deque[int], INTEGERS),
        (abc.Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (dict[Any, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (UserId, {"type": "integer"}),
        (Bound, {"type": "integer"}),
        (
            Pair,
            {
                "type": "object",
                "description": "Two.",
                "properties": {"left": {"type": "integer"}, "right": {"type": "string", "default": "r"}},
                "required": ["left"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_schema(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation) == schema


NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)
ID = "00000000-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    ("annotation", "value", "made"),
    [
        (Annotated[int, "how many"], "5", 5),
        (Color, "blue", Color.BLUE),
        (Level, 2, Level.HIGH),
        (Level, "2", Level.HIGH),
        (Mixed, "one", Mixed.TEXT),
        (Odd, "FIRST", Odd.FIRST),
        (Literal[Color.RED, "x"], "red", Color.RED),
        (Path, "/a/b", Path("/a/b")),
        (PurePosixPath, "a", PurePosixPath("a")),
        (dt.datetime, "2026-01-02T12:00:00Z", NOON),
        (dt.datetime, "2026-01-02T12:00:00+00:00", NOON),
        (dt.date, "2026-01-02", dt.date(2026, 1, 2)),
        (dt.time, "12:00", dt.time(12)),
        (dt.timedelta, 90.5, dt.timedelta(seconds=90.5)),
        (dt.timedelta, "90", dt.timedelta(seconds=90)),
        (uuid.UUID, ID, uuid.UUID(ID)),
        (decimal.Decimal, "0.10", decimal.Decimal("0.10")),
        (decimal.Decimal, 0.1, decimal.Decimal("0.1")),
        (bytes, "AAE=", b"\0\1"),
        (bytearray, "", bytearray()),
        (tuple, [1, "x"], (1, "x")),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[int, str], [1, "x"], (1, "x")),
        (tuple[int, str], '[1, "x"]', (1, "x")),
        (set[int], [1, 2, 1], {1, 2}),
        (set[tuple[int, int]], [[1, 2]], {(1, 2)}),
        (frozenset[str], ["a"], frozenset("a")),
        (abc.Sequence[int], [1], [1]),
        (abc.Set[int], [1], {1}),
        (collections.deque[int], [1], collections.deque([1])),
        (abc.Mapping[str, Path], {"a": "b"}, {"a": Path("b")}),
        (int | Path, "5", Path("5")),
        (dt.date | str, "2026-01-02", dt.date(2026, 1, 2)),
        (dt.date | str, "x", "x"),
        (list[Color] | None, ["red"], [Color.RED]),
        (Pair, {"left": 1}, Pair(1, "r")),
        (Scaled, {"value": 2, "factor": 3}, Scaled(6)),
        (Node, {"value": 1, "children": [{"value": 2, "children": []}]}, Node(1, [Node(2, [])])),
        (Ping, {"pong": {"ping": {"pong": None}}}, Ping(Pong(Ping()))),
        (list[Ping] | Pong, {"ping": {}}, Pong(Ping())),
        (Tree, {"name": "a", "kids": [{"name": "b"}]}, {"name": "a", "kids": [{"name": "b"}]}),
        (Json, {"a": [1, None, {"b": []}]}, {"a": [1, None, {"b": []}]}),
        (UserId, 5, 5),
        (Address, {"street": "s", "number": "3"}, Address(street="s", number=3)),
        (
            Person,
            {"name": "a", "home": {"street": "s"}, "friends": [{"name": "b", "home": {"street": "t"}}]},
            Person(name="a", home=Address(street="s"), friends=[Person(name="b", home=Address(street="t"))]),
        ),
        (list[Address], [{"street": "s"}], [Address(street="s")]),
        (Address | None, None, None),
    ],
)
def test_argument(annotation: Any, value: Any, made: Any) -> None:
    function = function_of(annotation)
    schema = tool(function)["inputSchema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    noted.clear()
    result = call(function, {"a": value})
    assert "isError" not in result, result
    assert noted == [made]
    assert type(noted[0]) is type(made)


@pytest.mark.parametrize(
    ("annotation", "value", "why"),
    [
        (Color, "green", 'a must be one of "red", "blue", not "green"'),
        (Color, "RED", 'a must be one of "red", "blue", not "RED"'),
        (Level, True, "a must be one of 1, 2, not true"),
        (Path, 5, "a must be of the type string, not 5"),
        (dt.datetime, "yesterday", "a must be a date and time such as 2026-01-31T12:00:00Z, not"),
        (dt.date, "2026-02-30", 'a must be a date such as 2026-01-31, not "2026-02-30"'),
        (dt.time, "25:00", "a must be a time such as"),
        (dt.timedelta, 1e300, "a must be a number of seconds, not 1e+300"),
        (uuid.UUID, "x", 'a must be a UUID, not "x"'),
        (decimal.Decimal, "NaN", "a must be a decimal number, not"),
        (decimal.Decimal, True, "a must be of the type number, not true, or"),
        (bytes, "ä", "a must be Base64, not"),
        (bytes, "A A=", "a must be Base64, not"),
        (tuple[int, str], [1], "a must be an array of 2 elements, not [1]"),
        (tuple[int, str], ["x", "y"], 'a[0] must be of the type integer, not "x"'),
        (set, [[1]], "a must be a set of what can be hashed, not [[1]]"),
        (Pair, {"right": "x"}, "a.left is missing"),
        (Node, {"value": 1, "children": [{"value": "x"}]}, "a.children[0].children is missing; a.children[0].value"),
        (Ping, {"pong": {"ping": 5}}, "a.pong.ping must be of the type object, not 5"),
        (Tree, {"name": "a", "kids": [{}]}, "a.kids[0].name is missing"),
        (Json, {"a": "x"}, "a must be"),
        (Address, {"street": "s", "number": 0}, "a.number: Input should be greater than or equal to 1"),
        (Address, {}, "a.street: Field required"),
        (list[Address], [5], "a[0]: Input should be"),
    ],
)
def test_argument_that_does_not_fit(annotation: Any, value: Any, why: str) -> None:
    noted.clear()
    assert why in refused(function_of(annotation), {"a": value})
    assert noted == []


def test_types_that_contain_themselves() -> None:
    """They are defined by name, so that the schema is finite, and validators understand it."""

    def function(a: Node, b: Ping, c: Pong, d: list[Node], e: Person, f: Person | None = None) -> None: ...

    schema: Any = tool(function)["inputSchema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["a"] == schema["properties"]["d"]["items"] == NODE
    assert schema["$defs"]["Node"]["properties"]["children"] == {"type": "array", "items": NODE}
    node = {"value": 1, "children": [{"value": 2, "children": []}]}
    person = {"name": "n", "home": {"street": "s"}, "friends": [{"name": "m", "home": {"street": "t"}}]}
    good = {"a": node, "b": {"pong": {"ping": {}}}, "c": {"ping": None}, "d": [node], "e": person, "f": person}
    jsonschema.validate(good, schema)
    for wrong in ({"a": {"value": 1, "children": [{}]}}, {"e": person | {"friends": [{}]}}, {"c": {"ping": 5}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(good | wrong, schema)
        assert refused(function, good | wrong)


def test_types_of_the_same_name() -> None:
    """Each keeps its definition."""

    @dataclass
    class Node:
        text: str
        following: Any = None

    Node.__annotations__["following"] = Node | None
    other = dataclass(Node)

    def function(a: Any, b: Any) -> None: ...

    function.__annotations__.update(a=other, b=globals()["Node"])
    schema: Any = tool(function)["inputSchema"]
    assert schema["properties"] == {"a": NODE, "b": {"$ref": "#/$defs/Node2"}}
    jsonschema.validate(
        {"a": {"text": "t", "following": {"text": "u"}}, "b": {"value": 1, "children": []}},
        schema,
    )


def test_default_of_none() -> None:
    """Whoever passes null means the default."""

    def function(a: int = None, b: Path | None = None, c: Any = None) -> Any:  # type: ignore[assignment] # noqa: RUF013
        return [a, b, c]

    schema: Any = tool(function)["inputSchema"]
    optional = {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}
    assert schema["properties"]["a"] == optional
    assert len(schema["properties"]["b"]["anyOf"]) == 2
    assert call(function, {"a": None, "b": None, "c": None})["structuredContent"] == [None, None, None]
    assert refused(function, {"a": "x"})


def test_field_of_pydantic_as_default() -> None:
    """As users of other frameworks write it: `Field` is not the default, but says what it is."""

    def function(
        a: int = pydantic.Field(description="the first"),
        b: int = pydantic.Field(default=7, description="the second"),
        c: list[int] = pydantic.Field(default_factory=list),  # noqa: B008 - as their users write it
    ) -> Any:
        return [a, b, c]

    schema: Any = tool(function)["inputSchema"]
    assert schema["required"] == ["a"]
    assert schema["properties"] == {
        "a": {"type": "integer", "description": "the first"},
        "b": {"type": "integer", "description": "the second", "default": 7},
        "c": INTEGERS | {"default": []},
    }
    assert call(function, {"a": "1"})["structuredContent"] == [1, 7, []]


def test_descriptions() -> None:
    """What stands beside the type holds before the docstring, and both before a class's own."""

    def function(a: Annotated[int, "beside"], b: Point, c: Point) -> None:
        """Do it.

        Args:
            a: below
            b: the point
        """

    properties: Any = tool(function)["inputSchema"]["properties"]
    assert [properties[name]["description"] for name in "abc"] == ["beside", "the point", "A place."]


NUMPY = """First line
and second.

More.

Parameters
----------
a : int
    The first
    of all.

    Still the first.
b, c : array_like, optional
    The others.
*rest
    More.

Returns
-------
d : int
    Nothing.
"""
SPHINX = """First line
and second.

:param int a: The first
    of all.
:param b: The second: two.
:type b: int
:param list[int] c: The third.

:param \\*rest: More.
:returns: Nothing.
    a: of all
:raises ValueError: never
"""


@pytest.mark.parametrize(
    ("doc", "told"),
    [
        (NUMPY, {"a": "The first of all. Still the first.", "b": "The others.", "c": "The others.", "rest": "More."}),
        (SPHINX, {"a": "The first of all.", "b": "The second: two.", "c": "The third.", "rest": "More."}),
        ("First line and second.\n\nParameters\n----\n", {}),
        ("First line and second.\n:param a: x", {"a": "x"}),
        ("First line and second.\n\n----\n-----\n:param:\n:param : x\n", {}),
        ("First line and second.\n\nParameters\n---\na\n---\nb\n  x", {}),
    ],
)
def test_docstring(doc: str, told: dict[str, str]) -> None:
    def function(a: int, b: int, c: int, *rest: int, d: int = 0) -> None: ...

    function.__doc__ = doc
    definition = tool(function)
    assert definition["description"] == "First line and second."
    properties = definition["inputSchema"]["properties"]
    found = {name: schema["description"] for name, schema in properties.items() if "description" in schema}
    assert found == told


def test_pydantic_is_not_imported() -> None:
    """Its models are known by what they can do."""

    class Model:
        @classmethod
        def model_json_schema(cls, ref_template: str) -> dict[str, Any]:
            return {"type": "integer"}

        @classmethod
        def model_validate(cls, value: Any) -> Any:
            if not isinstance(value, int):
                raise LookupError("no")
            return [value]

    assert schema_of(Model) == {"type": "integer"}
    noted.clear()
    assert "isError" not in call(function_of(Model), {"a": "5"})
    assert noted == [[5]]
    assert refused(function_of(Model), {"a": "x"}) == "a: LookupError: no."
    assert sys.modules["public.relay"].__dict__.get("pydantic") is None
