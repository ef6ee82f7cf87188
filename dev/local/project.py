"""The project's `vercel.json`: its rewrites, its headers, and its functions' time limits.

Only the syntax that this project uses is implemented; anything else is an error.
Source: https://vercel.com/docs/project-configuration
"""

import fnmatch
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

_PARAMETER = re.compile(r":([A-Za-z]\w*)")


class Route(NamedTuple):
    """The function that a request is for, and the request target that the function gets."""

    function: str
    target: str


class Project:
    """A folder with a `vercel.json`, `api/` and `public/`. Raises ValueError for syntax that is not implemented."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config: dict[str, Any] = json.loads((folder / "vercel.json").read_text("utf-8"))
        self.public = folder / config["outputDirectory"]
        self.functions = sorted(path.stem for path in (folder / "api").glob("*.py") if path.stem[0] not in "_.")
        self._limits: dict[str, int] = {pattern: rule["maxDuration"] for pattern, rule in config["functions"].items()}
        self._rewrites = [(_pattern(rule["source"]), rule["destination"]) for rule in config.get("rewrites", [])]
        self._headers = [
            (_pattern(rule["source"]), {header["key"]: header["value"] for header in rule["headers"]})
            for rule in config.get("headers", [])
        ]

    def route(self, target: str) -> Route | None:
        """Return the route of a request target (path and query, as sent), or None if no function is there.

        A function's own path comes first, then the rewrites, which keep the path and add parameters to the query.
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
        """Return the headers that are added to answers at this path."""
        matching = [headers for source, headers in self._headers if source.fullmatch(path)]
        return {name: value for headers in matching for name, value in headers.items()}

    def max_duration(self, function: str) -> int:
        """Return how many seconds a function may run, by the first pattern that matches."""
        entry = f"api/{function}.py"
        return next((seconds for pattern, seconds in self._limits.items() if fnmatch.fnmatchcase(entry, pattern)), 300)


def _pattern(source: str) -> re.Pattern[str]:
    """Compile a source: `:name` is a segment of the path, `(.*)` the rest, `{/}?` maybe a slash. Raises ValueError."""
    parts = re.split(r"(:[A-Za-z]\w*|\(\.\*\)|\{/\}\?)", source)
    for literal in parts[::2]:
        if re.search(r"[(){}*+?:\\|]", literal):
            raise ValueError(f"vercel.json: {literal!r} in {source!r} is not understood by the local platform")
    parts[1::2] = [{"(.*)": "(.*)", "{/}?": "/?"}.get(part, f"(?P<{part[1:]}>[^/]+?)") for part in parts[1::2]]
    parts[::2] = [re.escape(literal) for literal in parts[::2]]
    return re.compile("".join(parts))
