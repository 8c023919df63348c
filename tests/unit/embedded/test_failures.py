"""A server's last words become an error that says what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from neural_gpu_bus.embedded.failures import is_port_taken, start_failure, system_failure
from neural_gpu_bus.errors import DiskFullError, ServerStartError

LOG = Path("/home/of/ngb/log/postgres.log")


@pytest.mark.parametrize(
    "words",
    [
        'FATAL:  could not write lock file "postmaster.pid": No space left on device',
        "could not extend file: Disk quota exceeded",
        'FATAL:  could not extend file "base/1/2675": wrote only 4096 of 8192 bytes at block 0\n'
        "HINT:  Check free disk space.",
    ],
)
def test_no_room(words: str) -> None:
    error = start_failure("postgres", words, LOG)

    assert type(error) is DiskFullError
    assert error.folder == "/home/of/ngb"
    assert "NGB_HOME" in error.hint


def test_no_memory() -> None:
    words = "FATAL:  could not map anonymous shared memory: Cannot allocate memory"

    error = start_failure("postgres", words, LOG)

    assert type(error) is ServerStartError
    assert "too little memory is free" in error.what


def test_anything_else_is_quoted() -> None:
    error = start_failure("compute_redis", "Fatal config file error", LOG)

    assert "Fatal config file error" in error.what
    assert str(LOG) in error.hint
    assert "(nothing)" in start_failure("compute_redis", "", LOG).what


def test_a_port_that_somebody_took_meanwhile() -> None:
    assert is_port_taken("bind: Address already in use")
    assert not is_port_taken("bind: Permission denied")


def test_what_the_system_refuses_is_a_sentence_with_its_place() -> None:
    refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/home/of/ngb/run")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    error = system_failure(refused, LOG.parents[1])

    assert error.what == "the private servers did not start: Permission denied: '/home/of/ngb/run'"
    assert "NGB_HOME" in error.hint
    assert type(system_failure(full, LOG.parents[1])) is DiskFullError
