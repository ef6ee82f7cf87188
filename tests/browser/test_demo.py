"""public/demo.html: an agent's tools for a table and a plot, in a real Chromium."""

import asyncio
import base64
import io
from typing import Any

import pytest
from mcp import Client
from PIL import Image
from playwright.sync_api import Browser, Request, expect

from tests.browser.conftest import Beside, Window
from tests.browser.test_page import LOOKS, SCREENSHOTS, check_look, clipboard, in_each_look, tab_to
from tests.browser.test_tools import call
from tests.support.deployments import Parley
from tests.support.tools import long, wait_until

PLANETS = [
    {"planet": "Venus", "radius": 6052, "moons": 0},
    {"planet": "Jupiter", "radius": 69911, "moons": 97},
    {"planet": "Saturn", "radius": 58232, "moons": 274},
]


class Desk:
    """The page, and an agent's calls of its tools."""

    def __init__(self, window: Window, site: Parley, approve: str = "never") -> None:
        self.site = site
        self.page = window.open(f"{site.url}/demo.html")
        self.page.get_by_label("Ask me before a tool runs").select_option(approve)
        expect(self.page.locator("#state")).to_have_text("connected")
        self.code = self.page.locator("#code").inner_text().replace("-", "")
        self.count = 0

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        self.count += 1
        result: dict[str, Any] = call(self.site, self.code, name, arguments, f"q{self.count}")["result"]
        return result

    def told(self, name: str, **arguments: Any) -> str:
        """Call a tool that says what it did."""
        result = self.call(name, **arguments)
        assert not result.get("isError"), result
        return str(result["content"][0]["text"])

    def refused(self, name: str, **arguments: Any) -> str:
        result = self.call(name, **arguments)
        assert result["isError"]
        return str(result["content"][0]["text"])

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("get_data")["structuredContent"]
        return found

    def rows(self) -> list[list[str]]:
        """Return what the page shows of each row."""
        rows = self.page.locator("tbody tr")
        return [rows.nth(index).locator("td").all_inner_texts() for index in range(rows.count())]


@pytest.fixture
def desk(window: Window, site: Parley) -> Desk:
    return Desk(window, site)


def test_get_data(desk: Desk) -> None:
    data = desk.data()
    assert data["columns"] == ["planet", "radius", "moons"]
    assert data["rows"][1] == {"planet": "Earth", "radius": 6371, "moons": 1}
    assert (data["selected"], data["plot"]["type"]) == ([], "bar")
    expect(desk.page.locator("#calls summary")).to_have_text(["get_data: Done."])
    expect(desk.page.locator("#undo")).to_be_disabled()


def test_add_rows(desk: Desk) -> None:
    assert desk.told("add_rows", rows=PLANETS) == "The table has 6 rows now."
    assert desk.rows()[3:] == [
        ["4", "Venus", "6,052", "0"],
        ["5", "Jupiter", "69,911", "97"],
        ["6", "Saturn", "58,232", "274"],
    ]
    expect(desk.page.locator("rect")).to_have_count(6)
    assert "planet, radius, moons" in desk.refused("add_rows", rows=[{"planet": "X", "mass": 1}])
    assert "list of objects" in desk.refused("add_rows", rows=[1])
    assert "list of objects" in desk.refused("add_rows")
    assert "no more than 500 rows" in desk.refused("add_rows", rows=[{}] * 500)
    expect(desk.page.locator("tbody tr")).to_have_count(6)


def test_set_columns(desk: Desk) -> None:
    assert desk.told("set_columns", columns=["planet", "mass"]) == "The columns are: planet, mass."
    expect(desk.page.locator("th")).to_have_text(["#", "planet", "mass"])
    assert desk.rows()[0] == ["1", "Mercury", ""]
    desk.told("add_rows", rows=[{"mass": 5}])
    desk.told("select", rows=[1, 4])
    desk.told("set_columns", columns=["mass"])
    assert desk.rows() == [["1", "5"]], "rows without any value go"
    assert desk.data()["selected"] == [1]
    desk.told("set_columns", columns=["planet", "mass"])
    expect(desk.page.locator("#plot")).to_have_text("There is nothing to plot yet.")
    for columns in ["planet", ["a", "a"], ["a", 1], [""]]:
        assert "list of different names" in desk.refused("set_columns", columns=columns)
    assert desk.data()["columns"] == ["planet", "mass"]


def test_plot(desk: Desk) -> None:
    desk.told("add_rows", rows=[*PLANETS, {"planet": "Vulcan", "radius": "unknown"}])
    told = desk.told("plot", type="scatter", x="radius", y="moons", title="Moons by size")
    assert told == "The plot shows 6 of 7 rows."
    picture = desk.page.get_by_role("img", name="Moons by size, a plot of 6 values")
    expect(picture.locator("circle")).to_have_count(6)
    places = [
        [float(mark.get_attribute(name) or "nan") for name in ("cx", "cy")] for mark in picture.locator("circle").all()
    ]
    jupiter, saturn = places[4], places[5]
    assert jupiter[0] > saturn[0] > places[1][0], "by radius"
    assert saturn[1] < jupiter[1] < places[1][1], "by moons, upwards"
    assert desk.told("plot", type="bar", x="planet", y="radius") == "The plot shows 6 of 7 rows."
    picture = desk.page.get_by_role("img", name="radius by planet")
    heights = [float(mark.get_attribute("height") or "nan") for mark in picture.locator("rect").all()]
    assert heights[4] == max(heights)
    assert heights[1] / heights[4] == pytest.approx(6371 / 69911, rel=0.01)
    for arguments, told in [
        ({"type": "pie", "x": "planet", "y": "moons"}, "type has to be bar or scatter."),
        ({"type": "bar", "x": "planet", "y": "mass"}, "x and y have to be of: planet, radius, moons."),
        ({"type": "scatter", "x": "planet", "y": "moons"}, "No row has numbers there."),
    ]:
        assert desk.refused("plot", **arguments) == told


@pytest.mark.parametrize("kind", ["bar", long("scatter")])
def test_plot_of_any_numbers(desk: Desk, kind: str) -> None:
    """All marks are inside the picture."""
    cases: list[list[Any]] = [[0], [5], [-3], [1, 1], [-2, 7], [1e-9, 2e-9], [1e300, 3e300], [1, None, "x"]]
    for number, values in enumerate(cases):
        x, y = f"x{number}", f"y{number}"  # new columns, in which the rows before have nothing
        desk.told("set_columns", columns=[x, y])
        desk.told("add_rows", rows=[{x: value, y: value} for value in values])
        desk.told("plot", type=kind, x=x, y=y)
        marks = desk.page.locator("#plot .mark").evaluate_all(
            """(marks) => marks.map((mark) => {
              const { x, y, width, height } = mark.getBBox();
              return [x, y, x + width, y + height];
            })"""
        )
        assert len(marks) == sum(isinstance(value, int | float) for value in values)
        for left, top, right, bottom in marks:
            assert 50 <= left <= right <= 470
            assert 20 <= top <= bottom <= 270


def test_select(desk: Desk) -> None:
    """The agent points at rows, and so does the person."""
    assert desk.told("select", rows=[1, 3]) == "Selected: 1, 3."
    expect(desk.page.locator("tr.selected td:nth-child(2)")).to_have_text(["Mercury", "Mars"])
    expect(desk.page.locator(".mark.selected")).to_have_count(2)
    desk.page.get_by_label("2", exact=True).check()
    desk.page.get_by_label("1", exact=True).uncheck()
    expect(desk.page.get_by_label("1", exact=True)).to_be_focused()
    assert sorted(desk.data()["selected"]) == [2, 3]
    for rows in ([0], [4], [1.5], ["1"], "1", None):
        assert desk.refused("select", rows=rows) == "rows has to be a list of numbers from 1 to 3."


def test_walk_through(desk: Desk, beside: Beside) -> None:
    """The person follows, and so does the agent."""
    reports: list[Any] = []

    def note(request: Request) -> None:
        if request.url.endswith("/progress"):
            reports.append(request.post_data_json)

    desk.page.on("request", note)
    walked = beside(desk.call, "walk_through", seconds=0.6)
    expect(desk.page.locator("#calls li").first).to_contain_text("2 of 3, row 2")
    expect(desk.page.locator("tr.selected td:nth-child(2)")).to_have_text(["Earth"])
    wait_until(lambda: bool(desk.page.evaluate("1")) and walked.done())
    assert walked.result()["content"][0]["text"] == "The person has seen 3 rows."
    assert reports[-1] == {"id": "q1", "progress": 3, "total": 3, "message": "row 3"}
    assert "number up to 10" in desk.refused("walk_through", seconds=11)


def test_get_picture(desk: Desk) -> None:
    """The agent sees the plot, with its marks and labels."""
    SCREENSHOTS.mkdir(exist_ok=True)
    for kind, x in [("bar", "planet"), ("scatter", "radius")]:
        desk.told("plot", type=kind, x=x, y="moons")
        expect(desk.page.locator("#plot text").filter(has_text="moons").first).to_be_visible()
        (block,) = desk.call("get_picture")["content"]
        assert (block["type"], block["mimeType"]) == ("image", "image/png")
        with Image.open(io.BytesIO(base64.b64decode(block["data"]))) as picture:
            assert picture.size == (960, 640)
            picture.convert("RGB").save(SCREENSHOTS / f"picture-{kind}.png")
            colours = picture.convert("RGB").getcolors(picture.width * picture.height) or []
        assert len(colours) > 20, "text is smoothed"
        assert max(colours)[0] < 0.99 * 960 * 640
    desk.told("set_columns", columns=["planet"])
    assert desk.refused("get_picture") == "There is nothing to plot yet."


def test_calls_unfold(desk: Desk) -> None:
    """Arguments are there to be read, and a failed call looks failed."""
    desk.refused("plot", type="pie", x="planet", y="moons")
    line = desk.page.locator("#calls li").first
    expect(line).to_have_class("failed")
    expect(line.locator("summary")).to_have_text("plot: Failed: type has to be bar or scatter.")
    expect(line.locator("pre")).to_be_hidden()
    line.locator("summary").click()
    expect(line.locator("pre")).to_contain_text('"type": "pie"')


def test_ask_person(desk: Desk, beside: Beside) -> None:
    asked = [beside(desk.call, "ask_person", question=f"Question {number}?") for number in range(2)]
    expect(desk.page.locator("#questions form")).to_have_count(2)
    for number in range(2):
        form = desk.page.locator("#questions form").filter(has_text=f"Question {number}?")
        form.get_by_label(f"Question {number}?").fill(f"Answer {number}")
        form.get_by_role("button", name="Answer").click()
    assert [one.result()["content"][0]["text"] for one in asked] == ["Answer 0", "Answer 1"]
    expect(desk.page.locator("#questions form")).to_have_count(0)
    assert "has to be a text" in desk.refused("ask_person")


def test_agent_that_gives_up_its_question(desk: Desk, beside: Beside) -> None:
    async def run() -> None:
        async with Client(f"{desk.site.url}/mcp/{desk.code}") as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await client.call_tool("ask_person", {"question": "Anybody?"})

    gave_up = beside(asyncio.run, run())
    expect(desk.page.locator("#questions form")).to_have_count(1)
    gave_up.result()
    expect(desk.page.locator("#questions form")).to_have_count(0)
    expect(desk.page.locator("#calls li")).to_contain_text("The guest has withdrawn the request.")


def test_undo(desk: Desk) -> None:
    """What the agent did is taken back, the last change first."""
    before = desk.data()
    desk.told("add_rows", rows=PLANETS)
    desk.told("plot", type="scatter", x="radius", y="moons")
    desk.refused("plot", type="pie", x="radius", y="moons")
    desk.told("select", rows=[5])
    desk.told("set_columns", columns=["moons"])
    undo = desk.page.get_by_role("button", name="Undo")
    for _ in range(2):
        undo.click()
    expect(desk.page.locator("circle")).to_have_count(6)
    expect(desk.page.locator("tr.selected")).to_have_count(0)
    for _ in range(2):
        undo.click()
    expect(undo).to_be_disabled()
    assert desk.data() == before
    undone = desk.page.locator("#calls li").filter(has_text="Undone.")
    expect(undone).to_have_count(4)


def test_question_does_not_get_in_the_way_of_undo(desk: Desk, beside: Beside) -> None:
    asked = beside(desk.call, "ask_person", question="Shall I?")
    expect(desk.page.locator("#questions form")).to_have_count(1)
    desk.told("select", rows=[1])
    desk.page.get_by_label("Shall I?").fill("no")
    desk.page.keyboard.press("Enter")
    asked.result()
    desk.page.get_by_role("button", name="Undo").click()
    expect(desk.page.get_by_role("button", name="Undo")).to_be_disabled()
    expect(desk.page.locator("tr.selected")).to_have_count(0)


def test_reload(desk: Desk) -> None:
    """Session, tools and table are there again."""
    desk.told("add_rows", rows=PLANETS)
    desk.page.reload()
    expect(desk.page.locator("#code")).to_have_text(f"{desk.code[:4]}-{desk.code[4:]}")
    expect(desk.page.locator("tbody tr")).to_have_count(6)
    expect(desk.page.locator("#state")).to_have_text("connected")
    assert len(desk.data()["rows"]) == 6


@pytest.mark.parametrize(
    ("rows", "columns", "limit"), [(500, 600, "30 columns"), (501, 3, "500 rows"), (100, 30, "200000 characters")]
)
def test_desk_that_would_freeze_the_tab(desk: Desk, rows: int, columns: int, limit: str) -> None:
    """It is refused, and a desk that the tab has from a page without the limit is not shown."""
    names = [f"c{number}" for number in range(columns)]
    row = dict.fromkeys(names, "a text" * 12 if limit.endswith("characters") else 1)
    if columns > 30:
        assert desk.refused("set_columns", columns=names) == f"The desk takes no more than {limit}."
    else:
        desk.told("set_columns", columns=names)
        assert desk.refused("add_rows", rows=[row] * rows) == f"The desk takes no more than {limit}."
    saved = {"columns": names, "rows": [row] * rows, "selected": [], "plot": None}
    desk.page.evaluate("(saved) => sessionStorage.setItem('desk', JSON.stringify(saved))", saved)
    desk.page.reload()
    expect(desk.page.locator("#state")).to_have_text("connected")
    expect(desk.page.locator("th")).to_have_text(["#", "planet", "radius", "moons"])


def test_largest_desk(desk: Desk) -> None:
    """What is allowed is drawn, and the agent can read it."""
    names = [f"c{number}" for number in range(30)]
    desk.told("set_columns", columns=names)
    desk.told("add_rows", rows=[dict.fromkeys(names, number) for number in range(400)])
    desk.told("plot", type="scatter", x="c0", y="c1")
    assert len(desk.data()["rows"]) == 400
    desk.page.reload()
    expect(desk.page.locator("tbody tr")).to_have_count(400)


@pytest.mark.long
def test_list_of_calls_has_an_end(desk: Desk) -> None:
    for _ in range(103):
        desk.told("select", rows=[1])
    expect(desk.page.locator("#calls li")).to_have_count(100)
    undo = desk.page.get_by_role("button", name="Undo")
    for _ in range(100):
        undo.click()
    expect(undo).to_be_disabled()


def test_copy_and_keyboard(window: Window, desk: Desk) -> None:
    window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab_to(desk.page, "Copy")
    desk.page.keyboard.press("Enter")
    assert clipboard(desk.page) == f"{desk.site.url}/mcp/{desk.code}"
    tab_to(desk.page, "2")
    desk.page.keyboard.press("Space")
    expect(desk.page.locator("tr.selected td:nth-child(2)")).to_have_text(["Earth"])
    desk.told("select", rows=[])
    tab_to(desk.page, "Undo")
    desk.page.keyboard.press("Enter")
    expect(desk.page.locator("tr.selected")).to_have_count(1)


def test_hostile_text(desk: Desk) -> None:
    hostile = "<img src=x onerror='window.hacked=1'>"
    desk.told("set_columns", columns=[hostile, "n"])
    desk.told("add_rows", rows=[{hostile: hostile, "n": 1}])
    desk.told("plot", type="bar", x=hostile, y="n", title=hostile)
    expect(desk.page.locator("tbody")).to_contain_text(hostile)
    assert desk.page.locator("img").count() == 0
    assert desk.page.evaluate("window.hacked") is None


def test_relay_that_fails(window: Window, site: Parley) -> None:
    site.store.faults.fail("quota")
    page = window.open(f"{site.url}/demo.html")
    expect(page.locator("#state")).to_contain_text("No session: The operator has to raise the database's limit")
    window.forgive_the_network()


def test_linked_from_the_first_page(window: Window, site: Parley) -> None:
    page = window.open(f"{site.url}/")
    page.get_by_role("link", name="Demo").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("A desk where an agent works with you")


@in_each_look
def test_looks(chromium: Browser, site: Parley, beside: Beside, look: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    with chromium.new_context(**LOOKS[look]) as context:
        window = Window(context)
        desk = Desk(window, site)
        desk.told("add_rows", rows=PLANETS)
        desk.refused("plot", type="pie", x="radius", y="moons")
        desk.told("plot", type="bar", x="planet", y="moons", title="Moons of the planets")
        desk.told("select", rows=[5])
        check_look(desk.page, SCREENSHOTS / f"demo-bars-{look}.png")
        desk.told("plot", type="scatter", x="radius", y="moons", title="Moons by size")
        asked = beside(desk.call, "ask_person", question="Shall I leave Saturn out?")
        expect(desk.page.locator("#questions form")).to_have_count(1)
        check_look(desk.page, SCREENSHOTS / f"demo-points-{look}.png")
        desk.page.locator("#questions input").fill("no")
        desk.page.keyboard.press("Enter")
        asked.result()
        assert window.complaints == []
