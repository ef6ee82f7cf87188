"""dev/local: what the platform adds to a function, and what it does when one fails."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from dev.local.deployment import deploy
from dev.local.function import Function, FunctionBroken, from_source
from dev.local.invocation import BODY_LIMIT
from dev.local.platform import Platform
from dev.local.project import Project
from tests.support.commands import running
from tests.support.deployments import clean_environment
from tests.support.tools import wait_until

pytestmark = pytest.mark.usefixtures("usual_signals")

ECHO = """
import json
from http.server import BaseHTTPRequestHandler

class handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = json.dumps({"path": self.path, "headers": dict(self.headers), "size": len(body)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        print("echoed", self.path)
    do_GET = do_POST
"""
STREAM = """
import time
from http.server import BaseHTTPRequestHandler

class handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        try:
            for number in range(int(self.path.partition("n=")[2])):
                self.wfile.write(b"%d\\n" % number)
                time.sleep(0.05)
        except OSError:
            print("left")
"""
FAILING = """
from http.server import BaseHTTPRequestHandler

class handler(BaseHTTPRequestHandler):
    def do_GET(self):
        raise ValueError
"""
CONFIG = {"outputDirectory": "public", "functions": {"api/*.py": {"maxDuration": 2}}}


@dataclass
class Site:
    """A project of three functions that runs, with what its functions print and what the platform complains of."""

    folder: Path
    platform: Platform
    http: httpx.Client
    lines: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def write(self, name: str, source: str) -> None:
        (self.folder / "api" / f"{name}.py").write_text(source)


def project(folder: Path) -> Path:
    (folder / "api").mkdir()
    (folder / "public").mkdir()
    (folder / "public" / "index.html").write_text("<h1>hello</h1>")
    (folder / "vercel.json").write_text(json.dumps(CONFIG))
    for name, source in (("echo", ECHO), ("failing", FAILING), ("stream", STREAM)):
        (folder / "api" / f"{name}.py").write_text(source)
    return folder


@pytest.fixture(scope="module")
def any_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = project(tmp_path_factory.mktemp("site"))
    lines: list[str] = []
    complaints: list[str] = []
    with (
        deploy(folder, clean_environment, log=lines.append, complain=complaints.append) as deployment,
        httpx.Client(base_url=deployment.url, timeout=10) as http,
    ):
        yield Site(folder, deployment.platform, http, lines, complaints)


@pytest.fixture
def site(any_site: Site) -> Site:
    any_site.lines.clear()
    any_site.complaints.clear()
    return any_site


@pytest.fixture
def http(site: Site) -> httpx.Client:
    return site.http


def test_headers_of_the_platform(http: httpx.Client, site: Site) -> None:
    forged = {
        "x-real-ip": "198.51.100.1",
        "X-Forwarded-For": "198.51.100.1",
        "x-forwarded-host": "evil.test",
        "x-vercel-id": "forged",
        "x-vercel-ip-country": "XX",
        "forwarded": "for=198.51.100.1",
        "x-mine": "kept",
    }
    echoed = http.post("/api/echo?a=%20b", headers=forged, content=b"12345").json()
    headers = {name.lower(): value for name, value in echoed["headers"].items()}
    assert echoed["path"] == "/api/echo?a=%20b"
    assert echoed["size"] == 5
    assert headers["x-mine"] == "kept"
    assert headers["x-real-ip"] == headers["x-forwarded-for"] == headers["x-vercel-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-host"] == headers["host"] == http.base_url.netloc.decode()
    assert headers["x-vercel-id"].startswith("local::")
    assert "198.51.100.1" not in str(echoed)
    assert "x-vercel-ip-country" not in headers
    assert not any(name.startswith("x-vercel-internal") for name in headers)
    wait_until(lambda: "echoed /api/echo?a=%20b" in site.lines)


def status_for(http: httpx.Client, host: str | None, target: str = "/api/echo") -> bytes:
    """Return the status line of a request with this `Host`, or none, with HTTP/1.0, which does not demand it."""
    named = f"Host: {host}\r\n" if host is not None else ""
    with socket.create_connection((http.base_url.host, http.base_url.port or 80), 10) as connection:
        connection.sendall(f"GET {target} HTTP/1.0\r\n{named}\r\n".encode("latin-1"))
        return connection.makefile("rb").read()


@pytest.mark.parametrize("host", ["localhost", "LocalHost:3000", "127.0.0.1", "127.8.9.10:1", "[::1]", "[::1]:3000"])
def test_hosts_of_this_machine(http: httpx.Client, host: str) -> None:
    for target in ("/", "/api/echo"):
        assert status_for(http, host, target).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        ":80",
        "page.example",
        "page.example:3000",
        "localhost.page.example",
        "127.0.0.1.page.example",
        "page.example@",
        "192.0.2.1",
        "0.0.0.0",
        "[2001:db8::1]:80",
        "[::1",
        "127.0.0.1, page.example",
    ],
)
def test_hosts_of_others(http: httpx.Client, site: Site, host: str | None) -> None:
    """A page that lets its own name lead here, to spend a visitor's limits, gets nothing but advice."""
    for target in ("/", "/api/echo?for=others", "/nothing"):
        answer = status_for(http, host, target)
        assert answer.startswith(b"HTTP/1.1 421 "), answer
        assert b"\r\ncontent-type: text/plain" in answer
        assert b"start it with that name: python -m dev --host NAME, or make dev ARGS='--host NAME'." in answer
        assert b"page.example" not in answer
    # Of these calls: a function prints after its answer, so that a line of an earlier test may come only now.
    assert [line for line in site.lines if "others" in line] == []


def test_hosts_that_are_named(tmp_path: Path) -> None:
    names = ["laptop.example", "Other.Example"]
    with (
        deploy(project(tmp_path), clean_environment, log=print, complain=pytest.fail, names=names) as deployment,
        httpx.Client(base_url=deployment.url, timeout=10) as http,
    ):
        found = {host: status_for(http, host)[9:12] for host in ("laptop.example:1", "other.example", "x.example")}
        assert found == {"laptop.example:1": b"200", "other.example": b"200", "x.example": b"421"}
        assert status_for(http, "127.0.0.1").startswith(b"HTTP/1.1 200 ")


@pytest.mark.long
def test_hosts_that_are_named_on_the_command_line() -> None:
    with running("--port", "0", "--host", "a.example", "--host", "b.example", until="Try") as (_, printed):
        url = next(word for word in printed.split() if word.startswith("http://"))
        answers = [httpx.get(url, headers={"Host": host}) for host in ("a.example", "b.example:80", "c.example")]
    assert [answer.status_code for answer in answers] == [200, 200, 421]


def test_body_limit(http: httpx.Client) -> None:
    assert http.post("/api/echo", content=b"x" * BODY_LIMIT).json()["size"] == BODY_LIMIT
    refused = http.post("/api/echo", content=b"x" * (BODY_LIMIT + 1))
    assert (refused.status_code, refused.text) == (413, "FUNCTION_PAYLOAD_TOO_LARGE\n")


def test_static_files(http: httpx.Client) -> None:
    assert http.get("/").text == "<h1>hello</h1>"
    assert http.get("/nothing").status_code == 404
    assert http.get("/..%2fvercel.json").status_code == 404
    assert http.get("/api").status_code == 404
    assert http.get("/api/nothing").status_code == 404


def test_stream_comes_as_it_is_written(http: httpx.Client) -> None:
    with http.stream("GET", "/api/stream?n=3") as answer:
        assert [part.strip() for part in answer.iter_raw() if part] == [b"0", b"1", b"2"]


def test_client_that_leaves_a_stream(http: httpx.Client, site: Site) -> None:
    with http.stream("GET", "/api/stream?n=1000") as answer:
        next(answer.iter_raw())
    wait_until(lambda: "left" in site.lines)


def test_time_limit(http: httpx.Client) -> None:
    """A stream that runs into the limit is cut off, so that nobody takes it for complete."""
    with pytest.raises(httpx.RemoteProtocolError), http.stream("GET", "/api/stream?n=1000") as answer:
        answer.read()


def test_function_that_fails(http: httpx.Client) -> None:
    assert http.get("/api/failing").status_code == 500
    assert http.get("/api/echo").status_code == 200


def test_process_that_dies_is_started_again(http: httpx.Client, site: Site) -> None:
    function = site.platform.function("echo")
    os.kill(function.pid, signal.SIGKILL)
    wait_until(lambda: not function.running)
    assert http.get("/api/echo").status_code == 200
    assert site.platform.function("echo").pid != function.pid
    assert not Path(function._folder).exists()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import nothing_like_this", "/api/echo is broken: ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("def handler(:", "/api/echo is broken: SyntaxError"),
        ("import os; os._exit(3)", "/api/echo stopped while it started"),
        ("x = 1", "/api/echo is broken: "),
    ],
)
def test_broken_function(http: httpx.Client, site: Site, source: str, told: str) -> None:
    """One clear line; the others go on; and when it is mended it works."""
    site.write("echo", source)
    site.platform.reload()
    assert len(site.complaints) == 1
    assert site.complaints[0].startswith(told)
    assert "\n" not in site.complaints[0]
    assert http.get("/api/echo").status_code == 500
    assert http.get("/api/stream?n=0").status_code == 200
    site.write("echo", ECHO)
    assert http.get("/api/echo").status_code == 200


def test_nothing_stays_behind(site: Site) -> None:
    functions = [site.platform.function(name) for name in ("echo", "stream")]
    site.platform.reload()
    assert not any(function.running for function in functions)


def test_nothing_stays_behind_after_a_start_that_fails(tmp_path: Path) -> None:
    """As when it is interrupted: the functions that have started are stopped, and none starts after that."""
    started: list[Function] = []

    def start(name: str) -> Function:
        if started:
            raise KeyboardInterrupt
        started.append(from_source(name, tmp_path, clean_environment(), print))
        return started[0]

    platform = Platform(Project(project(tmp_path)), start, pytest.fail)
    with pytest.raises(KeyboardInterrupt), platform:
        pytest.fail("it has started")
    assert [function.running for function in started] == [False]
    with pytest.raises(FunctionBroken):
        platform.function("echo")
