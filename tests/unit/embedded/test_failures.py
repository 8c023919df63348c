"""A server's last words become an error that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from neural_gpu_bus.embedded.failures import is_port_taken, start_failure
from neural_gpu_bus.errors import DiskFullError, ServerStartError

LOG = Path("/home/of/ngb/log/postgres.log")


@pytest.mark.parametrize(
    "words",
    [
        'FATAL:  could not write lock file "postmaster.pid": No space left on device',
        "could not extend file: Disk quota exceeded",
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
