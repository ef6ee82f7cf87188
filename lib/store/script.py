"""Scripts: Lua that runs inside the store, each in one call, with the API's refusals as exceptions."""

import hashlib
import re
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from lib.kv import Store
from lib.problems import REFUSED_BY_SCRIPTS, StoreUnavailable

_FOLDER = Path(__file__).with_name("scripts")
# What scripts share, in an order in which each file uses only what those before it have.
_COMMON = ("clock", "counters", "session", "listeners", "messages")


class Script:
    """A script of `lib/store/scripts`, read when it first runs. Its header lists keys, arguments and replies."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def text(self) -> str:
        """Return what the store runs."""
        code = _code(self._name)
        return "\n".join([*_needed(code), code])

    @cached_property
    def digest(self) -> str:
        """Return the SHA-1 by which EVALSHA names the script."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def run(self, store: Store, keys: Sequence[str], arguments: Sequence[str | int | bytes]) -> list[Any]:
        """Return the reply, whose first element is the outcome. Raises the refusal that it names, or a StoreProblem.

        A script may run twice, if its answer was lost: each is written for that.
        """
        reply = store.evaluate(self.text, self.digest, keys, arguments)
        if not isinstance(reply, list) or not reply:
            raise StoreUnavailable(f"a script's reply is {type(reply).__name__}")
        if refusal := REFUSED_BY_SCRIPTS.get(reply[0]):
            raise refusal(*reply[1:])
        return reply


def unreadable(reply: list[Any]) -> StoreUnavailable:
    """Return the problem of a reply that its script does not have: another program has written to the store."""
    return StoreUnavailable(f"a script's reply is {reply[0]!r:.40}")


def _needed(code: str) -> list[str]:
    """Return what a script uses of `scripts/common/`, and what that uses in turn, in order."""
    needed = set()
    new = _used(code)
    while new:
        needed |= new
        new = {name for known in new for name in _used(_common()[known])} - needed
    return [text for name, text in _common().items() if name in needed]


def _used(code: str) -> set[str]:
    return _common().keys() & set(re.findall(r"\w+", code))


@cache
def _common() -> dict[str, str]:
    """Return the functions and constants (names in capitals) of `scripts/common/`: name -> text."""
    code = "\n".join(_code(f"common/{name}") for name in _COMMON)
    texts = re.split(r"\n(?=local (?:function |[A-Z_]+ = ))", code)
    return {re.findall(r"\w+", text.removeprefix("local ").removeprefix("function "))[0]: text for text in texts}


def _code(name: str) -> str:
    """Return a file without comments and indents."""
    lines = (line.strip() for line in (_FOLDER / f"{name}.lua").read_text("utf-8").splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("--"))
