"""One function of the deployment, in a process of its own under Vercel's Python runtime.

As in production, the runtime connects to a unix socket (`VERCEL_IPC_PATH`) and reports on which port it listens, or why
it cannot start, and then what the function prints. Source: `vercel_runtime.vc_init`.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

_START_SECONDS = 30
_NULL = subprocess.DEVNULL


class FunctionBroken(Exception):
    """The function does not start; the text is one line that says why."""


class Function:
    """A running function: the id of its process, the port where it serves HTTP, and how many calls run in it.

    Raises FunctionBroken.
    """

    def __init__(
        self, name: str, command: list[str], folder: Path, environment: Mapping[str, str], log: Callable[[str], None]
    ) -> None:
        self.name = name
        self.calls = 0
        self._log = log
        # In the system's folder for temporary files, since the path of a unix socket has to be short.
        self._folder = tempfile.mkdtemp(prefix="parley-")
        address = f"{self._folder}/ipc"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(1)
            listener.settimeout(0.1)
            variables = {**environment, "VERCEL_IPC_PATH": address}
            # In a process group of its own, so that Ctrl-C reaches only the platform, which stops its functions itself.
            self._process = subprocess.Popen(
                command, cwd=folder, env=variables, stdin=_NULL, stdout=_NULL, stderr=_NULL, process_group=0
            )
            self.pid = self._process.pid
            try:
                messages = _messages(self._accept(listener))
                self.port = self._started(messages)
            except BaseException:
                self.stop()
                raise
        threading.Thread(target=self._listen, args=[messages], daemon=True).start()

    @property
    def running(self) -> bool:
        """Return whether the process is alive."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Kill the process, and remove its socket."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self, listener: socket.socket) -> socket.socket:
        until = time.monotonic() + _START_SECONDS
        while self.running and time.monotonic() < until:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(None)
            return connection
        raise FunctionBroken(f"{self.name} does not start under Vercel's runtime")

    def _started(self, messages: Iterator[dict[str, Any]]) -> int:
        for message in messages:
            if message["type"] == "server-started":
                return int(message["payload"]["httpPort"])
            if message["type"] == "unrecoverable-error":
                reason = message["payload"]["message"].strip().splitlines()[-1]
                raise FunctionBroken(f"{self.name} is broken: {reason}")
        raise FunctionBroken(f"{self.name} stopped while it started")

    def _listen(self, messages: Iterator[dict[str, Any]]) -> None:
        for message in messages:
            match message["type"]:
                case "handler-started":
                    self.calls += 1
                case "end":
                    self.calls -= 1
                case "log":
                    text = base64.b64decode(message["payload"]["message"]).decode(errors="replace").rstrip()
                    if text:
                        self._log(text)


def start(
    name: str, build: Path | None, project: Path, environment: Mapping[str, str], log: Callable[[str], None]
) -> Function:
    """Start a function from the output of `vercel build`, or if that is None from its source. Raises FunctionBroken."""
    if build:
        return from_bundle(name, build / "functions" / "api" / f"{name}.func", environment, log)
    return from_source(name, project, environment, log)


def from_source(name: str, project: Path, environment: Mapping[str, str], log: Callable[[str], None]) -> Function:
    """Start `api/{name}.py` of a project from its source. Raises FunctionBroken."""
    entry = f"api/{name}.py"
    handler = {
        "__VC_HANDLER_MODULE_NAME": f"api.{name}",
        "__VC_HANDLER_ENTRYPOINT": entry,
        "__VC_HANDLER_ENTRYPOINT_ABS": str(project / entry),
        "__VC_HANDLER_VENDOR_DIR": "",
        "__VC_HANDLER_VARIABLE_NAME": "handler",
    }
    # In the cloud the store's client finds no `rich`, which comes with development tools, and of which it would load a
    # command line of its own: a fifth of the time of a start.
    command = [sys.executable, "-c", "import sys; sys.modules['rich'] = None; import vercel_runtime.vc_init"]
    return Function(f"/api/{name}", command, project, {**environment, **handler}, log)


def from_bundle(name: str, folder: Path, environment: Mapping[str, str], log: Callable[[str], None]) -> Function:
    """Start a function from its folder in the output of `vercel build`. Raises FunctionBroken."""
    command = [os.path.realpath(sys.executable), "-s", "-E", "vc__handler__python.py"]
    return Function(f"/api/{name}", command, folder, environment, log)


def _messages(connection: socket.socket) -> Iterator[dict[str, Any]]:
    with connection, connection.makefile("rb") as stream:
        rest = b""
        while part := stream.read1():
            *whole, rest = (rest + part).split(b"\0")
            for message in whole:
                yield json.loads(message)
