"""The documents: what their chapters say to paste, and what they say is printed."""

import re

from tests.support.tools import PROJECT

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *sorted(f"docs/{file.name}" for file in (PROJECT / "docs").glob("*.md")),
)
LOCAL = "http://127.0.0.1:3000"


def read(document: str) -> str:
    return (PROJECT / document).read_text("utf-8")


def chapters(document: str) -> dict[str, str]:
    """Return a document's chapters by their titles."""
    _, *parts = re.split(r"^## (.+)\n", read(document), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def blocks(document: str, title: str, language: str, url: str = LOCAL) -> list[str]:
    """Return a chapter's blocks in a language, for a deployment at this URL."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```$", chapters(document)[title], re.DOTALL | re.MULTILINE)
    return [block.replace(LOCAL, url) for block in found]
