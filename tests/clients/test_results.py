"""public/relay.py: results beyond JSON, with the libraries that make them, none of which the file imports."""

import base64
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import importlib
import io
import json
import subprocess
import sys
import types
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import PIL.Image
import pydantic
import pytest
from mcp.types import CallToolResult, TextContent

from public import relay
from tests.clients.conftest import RELAY_PY
from tests.clients.test_schemas import call, structured, text

mpl.use("Agg")
from matplotlib import pyplot as plt

pd: Any = importlib.import_module("pandas")  # which has no types

PNG = b"\x89PNG\r\n\x1a\n"


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Model(pydantic.BaseModel):
    when: dt.date
    more: list[int] = pydantic.Field(default=[], alias="moreOfThem")


@dataclasses.dataclass
class Holder:
    what: Any


def numbers() -> Iterator[int]:
    yield from range(3)


NAN = float("nan")
DAY = dt.date(2026, 1, 2)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (Color.RED, text("red")),
        (Level.LOW, structured(1)),
        ({"a": Color.RED}, structured({"a": "red"})),
        ({3, 1, 2}, structured([1, 2, 3])),
        (frozenset(), structured([])),
        (b"\0\1", text("AAE=")),
        (bytearray(b"x"), text("eA==")),
        (memoryview(b"x"), text("eA==")),
        ([b"x"], structured(["eA=="])),
        (numbers(), structured([0, 1, 2])),
        ({"a": numbers()}, structured({"a": [0, 1, 2]})),
        (map(str, [1]), structured(["1"])),
        (range(2), structured([0, 1])),
        ({"a": 1}.keys(), structured(["a"])),
        ({"a": 1}.values(), structured([1])),
        (collections.deque([1]), structured([1])),
        (types.MappingProxyType({"a": 1}), structured({"a": 1})),
        (dt.timedelta(minutes=1.5), structured(90.0)),
        (NAN, structured(None, "NaN")),
        ([1, NAN, float("-inf")], structured([1, None, None], "[1,NaN,-Infinity]")),
        ({"a": {"b": NAN}}, structured({"a": {"b": None}}, '{"a":{"b":NaN}}')),
        ({DAY: 1, Color.RED: 2, None: 3}, structured({"2026-01-02": 1, "red": 2, "null": 3})),
        ([{uuid.UUID(int=1): {decimal.Decimal("0.5"): 1}}], structured([{str(uuid.UUID(int=1)): {"0.5": 1}}])),
        ({np.int64(1): 2}, structured({"1": 2})),
        (np.int64(5), structured(5)),
        (np.float32(0.5), structured(0.5)),
        (np.float64("nan"), structured(None, "NaN")),
        (np.bool_(True), structured(True)),
        (np.str_("x"), text("x")),
        (np.datetime64("2026-01-02T03:04:05"), text("2026-01-02T03:04:05")),
        (np.datetime64("NaT", "s"), structured(None)),
        (np.array([[1, 2], [3, 4]]), structured([[1, 2], [3, 4]])),
        (np.array([1.5, np.nan]), structured([1.5, None], "[1.5,NaN]")),
        (np.array([]), structured([])),
        (np.array(5), structured(5)),
        (np.array(["a", None], dtype=object), structured(["a", None])),
        (np.ma.masked_array([1, 2], mask=[False, True]), structured([1, None])),
        ({"a": np.arange(2)}, structured({"a": [0, 1]})),
        (pd.Timestamp("2026-01-02"), text("2026-01-02T00:00:00")),
        (pd.Timedelta("90s"), structured(90.0)),
        (pd.NaT, structured(None)),
        (pd.NA, structured(None)),
        (pd.Index([1, 2]), structured([1, 2])),
        ({"a": pd.DataFrame({"x": [1]})}, structured({"a": [{"x": 1}]})),
        (Model(when=DAY, moreOfThem=[1]), structured({"when": "2026-01-02", "moreOfThem": [1]})),
        ([Model(when=DAY)], structured([{"when": "2026-01-02", "moreOfThem": []}])),
        (Holder(Holder({1})), structured({"what": {"what": [1]}})),
        ("\ud83d", text("\ud83d")),
    ],
)
def test_result(result: Any, told: dict[str, Any]) -> None:
    assert relay._tool_result(result) == told
    json.loads(relay._json(relay._tool_result(told)))


@pytest.mark.parametrize("result", [np.array([1j]), np.datetime64, {(1,): 2}, {b"": {frozenset(): 1}}, np, plt])
def test_result_that_is_no_json(result: Any) -> None:
    with pytest.raises(TypeError):
        relay._tool_result(result)


def test_set_without_an_order() -> None:
    assert sorted(relay._tool_result({1, "a"})["structuredContent"], key=str) == [1, "a"]


def test_generator_of_a_tool() -> None:
    """It runs within the call: it may report progress, and its exception is the call's."""

    def fail() -> Iterator[int]:
        yield 1
        raise LookupError("gone")

    async def later() -> AsyncIterator[int]:
        yield 1
        yield 2

    assert call(numbers, {})["structuredContent"] == [0, 1, 2]
    assert call(later, {})["structuredContent"] == [1, 2]
    assert call(fail, {}) == text("LookupError: gone") | {"isError": True}


def test_generator_without_end() -> None:
    """It stops when nobody waits any more."""
    over = relay._Cancellation()

    def forever() -> Iterator[int]:
        number = 0
        while True:
            number += 1
            if number == 1_000:
                over.set()
            yield number

    token = relay._current.set(over)
    try:
        assert len(relay._tool_result(forever())["structuredContent"]) < 1_001
    finally:
        relay._current.reset(token)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (CallToolResult(content=[TextContent(type="text", text="x")]), text("x") | {"isError": False}),
        ({"content": [{"type": "text", "text": "x"}], "isError": True, "_meta": None}, None),
        ({"content": [{"type": "odd", "more": NAN}]}, {"content": [{"type": "odd", "more": None}]}),
    ],
)
def test_call_tool_result(result: Any, told: Any) -> None:
    """It goes out as it is; of a library's model, without what was not set."""
    found = relay._tool_result(result)
    found.pop("resultType", None)
    assert found == (result if told is None else told)


# Tables


def test_frame() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [0.5, np.nan]})
    result = relay._tool_result(frame)
    assert result["content"] == [{"type": "text", "text": frame.to_string()}]
    assert result["structuredContent"] == [{"a": 1, "b": "x", "c": 0.5}, {"a": 2, "b": None, "c": None}]


@pytest.mark.parametrize(
    ("table", "records"),
    [
        (pd.DataFrame(), []),
        (pd.DataFrame({"a": []}), []),
        (pd.DataFrame({"a": [1]}, index=["x"]), [{"index": "x", "a": 1}]),
        (pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="key")), [{"key": "x", "a": 1}]),
        (pd.DataFrame({"index": [1]}, index=["x"]), [{"index": "x", "index.2": 1}]),
        (pd.DataFrame([[1, 2, 3]], columns=["a", "a", 5]), [{"a": 1, "a.2": 2, "5": 3}]),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), [{"a / b": 1}]),
        (
            pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([("x", 2)], names=["k", None])),
            [{"k": "x", "level_1": 2, "a": 1}],
        ),
        (pd.DataFrame({"a": pd.to_datetime(["2026-01-02", None])}), [{"a": "2026-01-02T00:00:00"}, {"a": None}]),
        (pd.DataFrame({"a": pd.Categorical(["x"])}), [{"a": "x"}]),
        (pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), [{"a": 1}, {"a": None}]),
        (pd.DataFrame({"a": [[1, {2}]]}), [{"a": [1, [2]]}]),
        (pd.Series([1, 2]), [{"value": 1}, {"value": 2}]),
        (pd.Series([1], name="n", index=["x"]), [{"index": "x", "n": 1}]),
        (pd.DataFrame({"g": ["x", "x"], "v": [1, 2]}).groupby("g")["v"].sum(), [{"g": "x", "v": 3}]),
    ],
)
def test_records(table: Any, records: list[Any]) -> None:
    assert relay._tool_result(table)["structuredContent"] == records


def test_long_frame() -> None:
    """Text and records are cut, and the text says so."""
    result = relay._tool_result(pd.DataFrame({"a": range(5_000)}))
    told = result["content"][0]["text"]
    assert told.endswith("\n\nThe first 50 of 5,000 rows. structuredContent has the first 1,000.")
    assert len(told.splitlines()) == 53
    assert len(result["structuredContent"]) == 1_000


def test_large_frame() -> None:
    """Its message is one that a relay takes."""
    wide = pd.DataFrame({f"column {number}": ["ü" * 500] * 100 for number in range(40)})
    result = relay._tool_result(wide)
    assert 0 < len(result["structuredContent"]) < 100
    assert len(relay._json(result).encode()) < 1_048_576
    assert "… (cut: the table is too wide)" in result["content"][0]["text"]
    assert "structuredContent has the first" in result["content"][0]["text"]


# Images


def image_in(result: dict[str, Any], place: int = 0) -> PIL.Image.Image:
    block = result["content"][place]
    assert (block["type"], block["mimeType"]) == ("image", "image/png")
    return PIL.Image.open(io.BytesIO(base64.b64decode(block["data"], validate=True)))


def test_figure() -> None:
    """Whether the figure or a part of it is returned, it is closed afterwards."""
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    assert image_in(relay._tool_result(figure)).width > 100
    assert plt.get_fignums() == []
    _, axes = plt.subplots()
    assert image_in(relay._tool_result(axes)).width > 100
    assert plt.get_fignums() == []


def test_image() -> None:
    assert image_in(relay._tool_result(PIL.Image.new("RGB", (7, 5)))).size == (7, 5)


def test_images_beside_other_values() -> None:
    result = relay._tool_result(["before", PIL.Image.new("L", (3, 3)), {"a": 1}])
    assert [block["type"] for block in result["content"]] == ["text", "image", "text"]
    assert [result["content"][place]["text"] for place in (0, 2)] == ["before", '{"a":1}']
    assert image_in(result, 1).size == (3, 3)


def shown(**methods: Any) -> Any:
    """Return an object that notebooks show with these methods."""
    return type("Shown", (), {name: functools.partial(give, value) for name, value in methods.items()})()


def give(value: Any, *_: Any, **__: Any) -> Any:
    return value


ENCODED = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("value", "block"),
    [
        (shown(_repr_png_=PNG), {"type": "image", "data": ENCODED, "mimeType": "image/png"}),
        (shown(_repr_png_=(PNG, {"width": 5})), {"type": "image", "data": ENCODED, "mimeType": "image/png"}),
        (shown(_repr_png_=f"{ENCODED}\n"), {"type": "image", "data": ENCODED, "mimeType": "image/png"}),
        (shown(_repr_png_=None, _repr_jpeg_=b"x"), {"type": "image", "data": "eA==", "mimeType": "image/jpeg"}),
        (
            shown(_repr_mimebundle_={"text/plain": "a", "image/png": ENCODED}),
            {"type": "image", "data": ENCODED, "mimeType": "image/png"},
        ),
        (
            shown(_repr_mimebundle_=({"image/jpeg": b"x"}, {})),
            {"type": "image", "data": "eA==", "mimeType": "image/jpeg"},
        ),
        (shown(_repr_mimebundle_={"text/plain": "a", "text/markdown": "**a**"}), {"type": "text", "text": "**a**"}),
        (
            shown(_repr_mimebundle_={}, _repr_png_=PNG),
            {"type": "image", "data": ENCODED, "mimeType": "image/png"},
        ),
    ],
)
def test_what_notebooks_show(value: Any, block: dict[str, Any]) -> None:
    assert relay._tool_result(value) == {"content": [block]}


@pytest.mark.parametrize(
    "value", [shown(_repr_png_=None), shown(_repr_mimebundle_=None), shown(_repr_mimebundle_={"text/html": "<b>"})]
)
def test_what_notebooks_show_otherwise(value: Any) -> None:
    with pytest.raises(TypeError, match="Shown is no JSON"):
        relay._tool_result(value)


def test_nothing_is_imported() -> None:
    """What none of these libraries has made is shown without them."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import relay\n"
        "class Model: pass\n"
        "for value in ({1: [1.5]}, {1}, b'', (n for n in 'ab')): relay._tool_result(value)\n"
        "try: relay._tool_result(Model())\n"
        "except TypeError as error: print(error)\n"
        "print({'numpy', 'pandas', 'pydantic', 'matplotlib', 'PIL'} & sys.modules.keys())\n"
    )
    line = [sys.executable, "-S", "-W", "error", "-c", program, str(RELAY_PY.parent)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("Model is no JSON\nset()\n", "")
