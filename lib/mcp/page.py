"""What a browser shows of an MCP server's URL."""

import html

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>An MCP server</title>
<link rel="stylesheet" href="/style.css">
<main>
<h1>This is an MCP server</h1>
<p>The address of this page is for AI agents, not for browsers: {purpose}</p>
<p>Give it to your agent as a server over HTTP, without authentication. For example:</p>
<pre>claude mcp add --transport http parley {url}
codex mcp add parley --url {url}</pre>
<p>In Claude, add it as a custom connector; in Cursor, VS Code and others, as the <code>url</code> of a server.
<a href="/">Back to Parley</a></p>
</main>
</html>
"""
_SESSION = "whoever is given it can call the tools of one page or program, for as long as that shows its code."
_FIXED = "an agent that has it can be given the code of any session, now or later."


def render(url: str, *, names_session: bool) -> bytes:
    """Return the page for an MCP server's URL."""
    return _PAGE.format(url=html.escape(url), purpose=_SESSION if names_session else _FIXED).encode()
