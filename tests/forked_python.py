"""Python processes that have imported the package already: a fresh one imports it for two seconds.

One server process imports; each program runs in a fork of it, with folder, environment, arguments
and outputs of its own, and ends as a program of Python's own does. Nothing of the package runs in
the server, and it has one thread, so that a fork is as good as a fresh process. Tests of what a
process does while it imports, and of signals to it, start a real one.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

#: What most programs import; nothing that makes threads, and no console, whose width and colours
#: are the environment's.
IMPORTED = (
    "typer",
    "rich.progress",
    "rich.table",
    "pyarrow.compute",
    "psycopg.types.numeric",
    "redis",
    "neural_gpu_bus.plane",
    "neural_gpu_bus.bus.runner",
    "neural_gpu_bus.memory.series.writer",
    "neural_gpu_bus.stores.postgres.store",
)
REQUEST_BYTES_MAX = 1 << 20
SERVER = "import forked_python; forked_python.serve()"


class ForkedPython:
    """The server's other end: ``subprocess.run`` for Python, one program at a time."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
                stdin=subprocess.DEVNULL,
            )

    def run(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        timeout: float,
    ) -> subprocess.CompletedProcess[str]:
        """What ``python *command`` does: ``-m module arguments...`` or ``-c program``.

        Raises subprocess.TimeoutExpired, the program killed.
        """
        request = json.dumps({"command": list(command), "cwd": str(cwd), "env": dict(env)})
        assert len(request) < REQUEST_BYTES_MAX
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            files = [output.fileno(), errors.fileno()]
            socket.send_fds(self._socket, [request.encode()], files)
            returncode = self._ended(command, timeout)
            output.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess(
                list(command), returncode, output.read().decode(), errors.read().decode()
            )

    def _ended(self, command: Sequence[str], timeout: float) -> int:
        """The program's exit code; minus the number of the signal that killed it."""
        self._socket.settimeout(timeout)
        pid = int(self._socket.recv(64))
        try:
            return int(self._socket.recv(64))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self._socket.settimeout(None)
            self._socket.recv(64)
            raise subprocess.TimeoutExpired(command, timeout) from None

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._server.wait(30)


def serve() -> None:
    """Fork for each request of the socket that the argument names, until it is closed."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        while True:
            text, files, _, _ = socket.recv_fds(requests, REQUEST_BYTES_MAX, 2)
            if not text:
                return
            pid = os.fork()
            if not pid:
                break
            for file in files:
                os.close(file)
            # The test has a time limit, and may be gone.
            with suppress(BrokenPipeError):
                requests.send(str(pid).encode())
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                requests.send(str(status).encode())
    _become(json.loads(text), files)


def _become(request: dict[str, Any], files: Sequence[int]) -> None:
    """Run the request's program in this process."""
    sys.stdout.flush()
    for target, file in enumerate(files, start=1):
        os.dup2(file, target)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    option, program, *arguments = request["command"]
    sys.path[0] = "" if option == "-c" else request["cwd"]
    if option == "-m":
        sys.argv = [program, *arguments]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [option, *arguments]
        main = sys.modules["__main__"].__dict__
        exec(compile(program, "<string>", "exec"), main)
