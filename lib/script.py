"""Scripts: Lua that runs inside the store, each in one call, with the API's refusals as exceptions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.kv import Store
from lib.problems import (
    AlreadyAnswered,
    IdConflict,
    Problem,
    RateLimited,
    RequestNotFound,
    SessionEnded,
    SessionFull,
    SessionNotFound,
    StoreUnavailable,
    TooManyPending,
)

_FOLDER = Path(__file__).with_name("scripts")

# A refusal is a reply that begins with the problem's code; what follows are the problem's arguments.
REFUSALS: dict[str, type[Problem]] = {
    problem.code: problem
    for problem in (
        AlreadyAnswered,
        IdConflict,
        RateLimited,
        RequestNotFound,
        SessionEnded,
        SessionFull,
        SessionNotFound,
        TooManyPending,
    )
}


class Script:
    """A script of `lib/scripts`; its header lists keys, arguments and replies."""

    def __init__(self, name: str) -> None:
        self.text = _without_comments("common") + "\n" + _without_comments(name)

    def run(self, store: Store, keys: Sequence[str], arguments: Sequence[str | int]) -> list[Any]:
        """Return the reply, whose first element is the outcome. Raises the refusal that it names, or a StoreProblem."""
        reply = store.evaluate(self.text, keys, arguments)
        if refusal := REFUSALS.get(reply[0]):
            raise refusal(*reply[1:])
        return reply


def unreadable(reply: list[Any]) -> StoreUnavailable:
    """Return the problem of a reply that is none of its script's outcomes: somebody else has written to the store."""
    return StoreUnavailable(f"a script's reply is {reply[0]!r:.40}")


def _without_comments(name: str) -> str:
    lines = (_FOLDER / f"{name}.lua").read_text("utf-8").splitlines()
    return "\n".join(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("--"))
