"""public/relay.py: constraints beside types, of annotated_types, pydantic, and whatever names them the same."""

import datetime as dt
import decimal
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import annotated_types
import jsonschema
import pytest
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MinLen, MultipleOf
from pydantic import Field, PositiveInt, StringConstraints

from public.relay import Tool
from tests.clients.test_schemas import call, function_of, refused, schema_of, tool

INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
STRING = {"type": "string"}
INTEGERS = {"type": "array", "items": INTEGER}
DAY = dt.date(2026, 1, 2)


def plain(**limits: Any) -> Any:
    """Return metadata of no library, with the attributes that those of libraries have."""
    return SimpleNamespace(**limits)


# (annotation, JSON Schema, values that fit, values that do not, with the reason)
CONSTRAINED: list[tuple[Any, dict[str, Any], list[Any], dict[str, Any]]] = [
    (Annotated[int, Ge(0), Le(10)], INTEGER | {"minimum": 0, "maximum": 10}, [0, "10"], {"must be at least 0": -1}),
    (Annotated[int, Field(ge=0, le=10)], INTEGER | {"minimum": 0, "maximum": 10}, [0], {"must be at most 10": "11"}),
    (Annotated[int, plain(ge=0, le=10)], INTEGER | {"minimum": 0, "maximum": 10}, [0], {"must be at most 10": 11}),
    (Annotated[float, Gt(0.5), Lt(2)], NUMBER | {"exclusiveMinimum": 0.5, "exclusiveMaximum": 2}, [1], {}),
    (Annotated[float, Field(gt=0.5)], NUMBER | {"exclusiveMinimum": 0.5}, [0.6], {"must be more than 0.5": 0.5}),
    (Annotated[float, Field(lt=0.5)], NUMBER | {"exclusiveMaximum": 0.5}, [0.4], {"must be less than 0.5": 0.5}),
    (Annotated[int, Interval(gt=1, le=3)], INTEGER | {"exclusiveMinimum": 1, "maximum": 3}, [2, 3], {"more than 1": 1}),
    (PositiveInt, INTEGER | {"exclusiveMinimum": 0}, [1], {"more than 0": 0}),
    (Annotated[int, MultipleOf(3)], INTEGER | {"multipleOf": 3}, [0, -3, 6], {"must be a multiple of 3": 10**30 + 1}),
    (Annotated[float, MultipleOf(0.1)], NUMBER | {"multipleOf": 0.1}, [0.3, 1.1, -0.7], {"a multiple of 0.1": 0.35}),
    (Annotated[str, MinLen(2)], STRING | {"minLength": 2}, ["ab"], {"must have at least the length 2": "a"}),
    (Annotated[str, Field(max_length=2)], STRING | {"maxLength": 2}, ["ab"], {"must have at most the length 2": "abc"}),
    (Annotated[str, Field(pattern="^a")], STRING | {"pattern": "^a"}, ["ab"], {"must match the pattern ^a": "ba"}),
    (Annotated[str, plain(pattern=re.compile("b$"))], STRING | {"pattern": "b$"}, ["ab"], {"the pattern b$": "ba"}),
    (Annotated[str, StringConstraints(min_length=2)], STRING | {"minLength": 2}, ["ab"], {"the length 2": "a"}),
    (Annotated[list[int], Len(1, 2)], INTEGERS | {"minItems": 1, "maxItems": 2}, [[1], "[1]"], {"the length 1": []}),
    (
        Annotated[dict[str, int], MinLen(1)],
        {"type": "object", "additionalProperties": INTEGER, "minProperties": 1},
        [{"a": 1}],
        {"at least the length 1": {}},
    ),
    (
        list[Annotated[int, Ge(1)]],
        {"type": "array", "items": INTEGER | {"minimum": 1}},
        [[1, 2]],
        {"a[1] must be at least 1, not 0": [1, 0]},
    ),
    (
        Annotated[int | None, Ge(1)],
        {"anyOf": [INTEGER, {"type": "null"}], "minimum": 1},
        [1, None],
        {"at least 1": 0},
    ),
    (Annotated[int, Ge(1)] | None, {"anyOf": [INTEGER | {"minimum": 1}, {"type": "null"}]}, [1, None], {"least 1": 0}),
    (Annotated[Literal[1, 2, 3], Le(2)], {"type": "integer", "enum": [1, 2, 3], "maximum": 2}, [2], {"at most 2": 3}),
    # What is another value in Python than in JSON is checked there, and the schema says nothing that is not so.
    (Annotated[bytes, MinLen(2)], STRING | {"contentEncoding": "base64"}, ["YWI="], {"the length 2": "YQ=="}),
    (Annotated[dt.date, Ge(DAY)], STRING | {"format": "date"}, ["2026-01-02"], {"least 2026-01-02": "2026-01-01"}),
    (
        Annotated[decimal.Decimal, Field(gt=decimal.Decimal("0.5"))],
        {"anyOf": [NUMBER, STRING], "exclusiveMinimum": 0.5},
        ["0.6", 1],
        {"more than 0.5": "0.4"},
    ),
    (Annotated[float, Le(float("inf"))], NUMBER, [1e300], {}),
    # What is no constraint changes nothing.
    (Annotated[int, plain(ge=None, pattern=None)], INTEGER, [1], {}),
    (Annotated[int, plain(ge=abs)], INTEGER, [-1], {}),
    (Annotated[str, annotated_types.Predicate(str.islower)], STRING, ["A"], {}),
    (Annotated[int, Field(strict=True)], INTEGER, [1], {}),
]


@pytest.mark.parametrize(("annotation", "schema", "fitting", "others"), CONSTRAINED)
def test_constraint(annotation: Any, schema: dict[str, Any], fitting: list[Any], others: dict[str, Any]) -> None:
    assert schema_of(annotation) == schema
    jsonschema.Draft202012Validator.check_schema(schema)
    function = function_of(annotation)
    for value in fitting:
        assert "isError" not in call(function, {"a": value}), value
    for reason, value in others.items():
        assert reason in refused(function, {"a": value})


def test_every_reason_is_named() -> None:
    reasons = refused(function_of(Annotated[str, Field(min_length=2, pattern="^a")]), {"a": "b"})
    assert reasons == 'a must have at least the length 2, not "b"; a must match the pattern ^a, not "b".'


def test_beside_a_description() -> None:
    annotation = Annotated[int, Field(description="how many", ge=1)]
    assert schema_of(annotation) == INTEGER | {"description": "how many", "minimum": 1}


def test_field_as_default() -> None:
    def function(a: int = Field(default=3, ge=1), b: str = Field(min_length=1)) -> Any:
        return [a, b]

    schema: Any = tool(function)["inputSchema"]
    assert schema["properties"] == {"a": INTEGER | {"minimum": 1, "default": 3}, "b": STRING | {"minLength": 1}}
    assert schema["required"] == ["b"]
    assert call(function, {"b": "x"})["structuredContent"] == [3, "x"]
    assert refused(function, {"a": 0, "b": "x"}) == "a must be at least 1, not 0."


def function_with(metadata: Any) -> Callable[..., Any]:
    def function(a: Any) -> Any:
        return a

    function.__annotations__["a"] = Annotated[int, metadata]
    return function


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        (plain(pattern="("), "the pattern '\\(' cannot be used"),
        (plain(pattern=5), "the pattern 5 cannot be used"),
        (plain(min_length="2"), "min_length has to be a whole number"),
        (plain(multiple_of=0), "multiple_of must not be 0"),
    ],
)
def test_limit_that_is_none(metadata: Any, why: str) -> None:
    """It is said before any call."""
    with pytest.raises(TypeError, match=why):
        Tool(function_with(metadata))
