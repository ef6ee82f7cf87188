"""What `vercel.json` says of the project: which path leads where, with which headers and limits.

Only what this project uses is understood; anything else is refused rather than guessed at.
Source: https://vercel.com/docs/project-configuration
"""

import fnmatch
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

_PARAMETER = re.compile(r":([A-Za-z]\w*)")


class Route(NamedTuple):
    """Where a request goes: the function, and the request target that it sees."""

    function: str
    target: str


class Project:
    """A folder with a `vercel.json`, `api/` and `public/`. Raises ValueError for what is not understood."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config: dict[str, Any] = json.loads((folder / "vercel.json").read_text("utf-8"))
        self.public = folder / config["outputDirectory"]
        self.functions = sorted(path.stem for path in (folder / "api").glob("*.py") if path.stem[0] not in "_.")
        self._limits = {pattern: rule["maxDuration"] for pattern, rule in config["functions"].items()}
        self._rewrites = [(_pattern(rule["source"]), rule["destination"]) for rule in config.get("rewrites", [])]
        self._headers = [
            (_pattern(rule["source"]), {header["key"]: header["value"] for header in rule["headers"]})
            for rule in config.get("headers", [])
        ]

    def route(self, target: str) -> Route | None:
        """Return the function for a request target (path and query, as sent), and the target as it will see it.

        A function's own path comes first; then the rewrites, which leave the path and add to the query.
        """
        path, _, query = target.partition("?")
        own = re.fullmatch(r"/api/([^/]+?)(?:\.py)?/?", path)
        if own and own[1] in self.functions:
            return Route(own[1], target)
        for source, destination in self._rewrites:
            if match := source.fullmatch(path):
                place, _, added = _PARAMETER.sub(lambda name: match[name[1]], destination).partition("?")
                return Route(place.removeprefix("/api/"), path + "?" + "&".join(filter(None, (query, added))))
        return None

    def headers(self, path: str) -> dict[str, str]:
        """Return the headers that answers at this path get."""
        found: dict[str, str] = {}
        for source, headers in self._headers:
            if source.fullmatch(path):
                found |= headers
        return found

    def max_duration(self, function: str) -> int:
        """Return the seconds that a function may run; the first pattern that matches counts."""
        for pattern, seconds in self._limits.items():
            if fnmatch.fnmatchcase(f"api/{function}.py", pattern):
                return int(seconds)
        return 300


def _pattern(source: str) -> re.Pattern[str]:
    """Compile the part of path-to-regexp that the project uses: `:name` for one segment and `(.*)` for the rest."""
    parts = re.split(r"(:[A-Za-z]\w*|\(\.\*\))", source)
    for literal in parts[::2]:
        if re.search(r"[(){}*+?:\\|]", literal):
            raise ValueError(f"vercel.json: {literal!r} in {source!r} is not understood by the local platform")
    return re.compile(
        "".join(
            "(.*)" if part == "(.*)" else f"(?P<{part[1:]}>[^/]+?)" if part.startswith(":") else re.escape(part)
            for part in parts
        )
    )
