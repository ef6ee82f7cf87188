"""lib/problems.py: every refusal has a row of its own, and a place where it is explained."""

import re

from lib import problems
from lib.problems import Problem
from tests.support.tools import PROJECT
from tests.support.values import leaves


def test_each_has_its_own_code() -> None:
    codes = [leaf.code for leaf in leaves(Problem)]
    assert len(codes) == len(set(codes))
    assert all(400 <= leaf.status < 600 for leaf in leaves(Problem))
    assert [leaf.code for leaf in leaves(Problem) if leaf.status == 500] == ["internal_error"]


def test_each_is_explained_where_its_type_points() -> None:
    page = (PROJECT / "public" / "problems.html").read_text("utf-8")
    explained = re.findall(r'<tr id="(\w+)"><th scope="row">\1<td>(\d+)', page)
    assert sorted(explained) == sorted((leaf.code, str(leaf.status)) for leaf in leaves(Problem))
    assert problems.SessionEnded().body()["type"] == "/problems.html#session_ended"
