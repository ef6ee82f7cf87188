"""One function of the deployment, in a process of its own under Vercel's Python runtime.

The runtime is told of a unix socket (`VERCEL_IPC_PATH`), on which it says where it listens, or why it cannot, and what
the function prints. So it is in production, too; see `vercel_runtime.vc_init`.
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


class FunctionBroken(Exception):
    """The function does not start; the text is one line that says why."""


class Function:
    """A running function: `port` is where it serves HTTP on this machine."""

    def __init__(
        self, name: str, command: list[str], folder: Path, environment: Mapping[str, str], log: Callable[[str], None]
    ) -> None:
        self.name = name
        self._log = log
        # A short path, as a unix socket needs one.
        self._folder = tempfile.mkdtemp(prefix="parley-")
        address = f"{self._folder}/ipc"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(1)
            listener.settimeout(0.1)
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, "VERCEL_IPC_PATH": address},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for the platform, which stops its functions itself
            )
            try:
                messages = _messages(self._accept(listener))
                self.port = self._started(messages)
            except BaseException:
                self.stop()
                raise
        threading.Thread(target=self._listen, args=[messages], daemon=True).start()

    @property
    def pid(self) -> int:
        """Return the process's id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether the process is alive."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process and what belongs to it."""
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
            if message["type"] == "log":
                text = base64.b64decode(message["payload"]["message"]).decode(errors="replace").rstrip()
                if text:
                    self._log(text)


def from_source(
    name: str, project: Path, environment: Mapping[str, str], log: Callable[[str], None] = print
) -> Function:
    """Start `api/{name}.py` of a project from its source. Raises FunctionBroken."""
    entry = f"api/{name}.py"
    return Function(
        f"/api/{name}",
        [sys.executable, "-c", "import vercel_runtime.vc_init"],
        project,
        {
            **environment,
            "__VC_HANDLER_MODULE_NAME": f"api.{name}",
            "__VC_HANDLER_ENTRYPOINT": entry,
            "__VC_HANDLER_ENTRYPOINT_ABS": str(project / entry),
            "__VC_HANDLER_VENDOR_DIR": "",
            "__VC_HANDLER_VARIABLE_NAME": "handler",
        },
        log,
    )


def from_bundle(
    name: str, bundle: Path, environment: Mapping[str, str], log: Callable[[str], None] = print
) -> Function:
    """Start a function that `vercel build` made, as it lies in its folder. Raises FunctionBroken."""
    interpreter = os.path.realpath(sys.executable)
    return Function(f"/api/{name}", [interpreter, "-s", "-E", "vc__handler__python.py"], bundle, environment, log)


def _messages(connection: socket.socket) -> Iterator[dict[str, Any]]:
    with connection, connection.makefile("rb") as stream:
        rest = b""
        while part := stream.read1():
            *whole, rest = (rest + part).split(b"\0")
            for message in whole:
                yield json.loads(message)
