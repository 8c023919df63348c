"""Leftovers are known by id and start time together; children die with their parent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from neural_gpu_bus.embedded import exec_child
from neural_gpu_bus.embedded.home import ProcessRecord
from neural_gpu_bus.embedded.processes import end_leftovers, living, record_of


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits to be ended."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_leftover_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    record = record_of("postgres", sleeper.pid)
    assert record is not None
    said: list[str] = []

    end_leftovers([record], said.append)

    assert living([record]) == []
    assert said == [f"ending leftover pid {sleeper.pid} of a keeper that was killed"]


def test_another_process_of_that_id_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    started_s = psutil.Process(sleeper.pid).create_time() - 100
    stranger = ProcessRecord("postgres", sleeper.pid, started_s)

    end_leftovers([stranger])

    assert living([stranger]) == []
    assert sleeper.poll() is None


def test_no_program_is_started_for_a_dead_keeper(tmp_path: Path) -> None:
    nobody = 1 << 22  # above the kernel's largest process id
    command = [sys.executable, "-I", "-S", exec_child.__file__, str(nobody), "15"]
    identity = [str(os.geteuid()), str(os.getegid())]

    said = subprocess.run([*command, *identity, "/bin/sh", "-c", f"touch {tmp_path}/ran"])

    assert said.returncode == exec_child.EXIT_NOT_RUNNABLE
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_cannot_run_says_so() -> None:
    command = [sys.executable, "-I", "-S", exec_child.__file__, str(os.getpid()), "15"]
    identity = [str(os.geteuid()), str(os.getegid())]

    said = subprocess.run([*command, *identity, "/no/such"], capture_output=True, text=True)

    assert said.returncode == exec_child.EXIT_NOT_RUNNABLE
    assert said.stderr == "cannot run '/no/such': No such file or directory\n"
