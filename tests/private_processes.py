"""Clients of private servers in processes of their own, and what must be gone after them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from fix_servers import wait_until
from neural_gpu_bus import embedded
from neural_gpu_bus.embedded.account import Account, may_read
from neural_gpu_bus.embedded.handover import to_environment
from neural_gpu_bus.settings import Settings

CLIENT = """
import sys
from neural_gpu_bus import embedded
from neural_gpu_bus.embedded.account import Account, may_read
from neural_gpu_bus.settings import load_settings
with embedded.attach(load_settings()) as attachment:
    print(attachment.status().pid, flush=True)
    sys.stdin.read()
"""

#: The command line; a process of another account finds the package by its PYTHONPATH.
NGB = ("-m", "neural_gpu_bus")


@dataclass(frozen=True)
class Identity:
    """Another account for a process, and a Python with these libraries that it can run."""

    account: Account
    python: str
    python_path: str

    @classmethod
    def of(cls, account: Account) -> Identity:
        """Skips where the account can run no Python of this version."""
        plain = f"python{sys.version_info.major}.{sys.version_info.minor}"
        candidates = [sys.executable, shutil.which(plain, path="/usr/bin:/usr/local/bin")]
        for python in candidates:
            if python and may_read(Path(python).resolve(), account):
                return cls(account, python, os.pathsep.join(path for path in sys.path if path))
        pytest.skip(f"{account.name} can run no Python {plain}")

    def options(self) -> dict[str, Any]:
        """For ``subprocess``."""
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}

    def environment(self) -> dict[str, str]:
        """What its Python needs."""
        return {"PYTHONPATH": self.python_path, "HOME": "/nonexistent"}


class Client:
    """A process that attaches and waits. ``keeper_pid`` is known once it is attached."""

    def __init__(self, settings: Settings, identity: Identity | None = None) -> None:
        self.process = subprocess.Popen(
            [identity.python if identity else sys.executable, "-c", CLIENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env=environment_for(settings, identity),
            **(identity.options() if identity else {}),
        )

    def keeper_pid(self) -> int:
        """Wait until attached."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return int(line)

    def signal(self, number: signal.Signals) -> None:
        """Send it and wait for the process's end."""
        self.process.send_signal(number)
        self.end()

    def end(self) -> tuple[int, str]:
        """Let it close its lease; its exit status and what it said on stderr."""
        said = self.process.communicate(timeout=30)[1]
        return self.process.returncode, said


def environment_for(settings: Settings, identity: Identity | None) -> dict[str, str]:
    """Ours, with these settings, and what another account's Python needs."""
    return to_environment(settings, os.environ) | (identity.environment() if identity else {})


@contextmanager
def client(settings: Settings, identity: Identity | None = None) -> Iterator[Client]:
    """A client that is killed at the end if it still runs; its servers end as well."""
    made = Client(settings, identity)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


def family(pid: int) -> list[psutil.Process]:
    """That process and all below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def lives(process: psutil.Process) -> bool:
    """False for one that is gone or only waits to be collected."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_gone(processes: list[psutil.Process], limit_s: float = 20.0) -> None:
    """Fail with the names of those that stay."""
    wait_until(
        lambda: not any(lives(process) for process in processes),
        f"end of {[process for process in processes if lives(process)]}",
        limit_s,
    )


def assert_nothing_left(settings: Settings, processes: list[psutil.Process]) -> None:
    """No process, no shared memory, no socket."""
    wait_gone(processes)
    wait_until(lambda: not embedded.memory_folder(settings).exists(), "end of the shared memory")


def run_ngb(
    settings: Settings, *arguments: str, identity: Identity | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """One command of the command line, in a process of its own."""
    return subprocess.run(
        [identity.python if identity else sys.executable, *NGB, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        env=environment_for(settings, identity) | {"COLUMNS": "200"} | environment,
        **(identity.options() if identity else {}),
    )


def all_text_of(home: Path) -> str:
    """All logs of a home, and the command lines of all processes."""
    logs = [file.read_text(errors="replace") for file in (home / "log").iterdir()]
    command_lines = [" ".join(process.cmdline()) for process in _running()]
    return "\n".join(logs + command_lines)


def _running() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        if lives(process):
            yield process
