"""One home with private servers and two workers, and ``ngb`` as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from fix_servers import private_settings, short_folder
from forked_python import ForkedPython
from neural_gpu_bus import DataPlane, embedded
from neural_gpu_bus.embedded.handover import to_environment
from neural_gpu_bus.settings import Settings

Ngb = Callable[..., "subprocess.CompletedProcess[str]"]

COMMAND = [sys.executable, "-m", "neural_gpu_bus"]


@pytest.fixture(scope="session")
def home_settings() -> Iterator[Settings]:
    """Settings of a running home with two workers that lose a job after one silent second."""
    with short_folder() as folder:
        settings = private_settings(folder / "home", workers=2, job_lease_s=1.0)
        with embedded.attach(settings):
            yield settings
            embedded.stop(settings)


@pytest.fixture(scope="session")
def forked_python() -> Iterator[ForkedPython]:
    """Runs Python programs in processes that need not import."""
    python = ForkedPython()
    yield python
    python.close()


@pytest.fixture
def ngb(home_settings: Settings, tmp_path: Path, forked_python: ForkedPython) -> Ngb:
    """Runs ``ngb`` in a process of its own; keyword arguments are further environment variables."""

    def run(*arguments: object, **environment: object) -> subprocess.CompletedProcess[str]:
        return forked_python.run(
            [*COMMAND[1:], *map(str, arguments)],
            cwd=tmp_path,
            env=ngb_environment(home_settings, **environment),
            timeout=120,
        )

    return run


def ngb_environment(settings: Settings, **environment: object) -> dict[str, str]:
    """With those settings, 200 columns wide and without colours."""
    own = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    given = {name: str(value) for name, value in environment.items()}
    return {**to_environment(settings, os.environ), **own, **given}


def run_ngb(
    settings: Settings, folder: Path, *arguments: object, **environment: object
) -> subprocess.CompletedProcess[str]:
    """``ngb`` with those settings, in that folder, in a process from its first import on."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=ngb_environment(settings, **environment),
        timeout=120,
        check=False,
    )


@pytest.fixture
def plane(home_settings: Settings) -> Iterator[DataPlane]:
    with DataPlane(home_settings, embedded.attach(home_settings)) as plane:
        yield plane


@pytest.fixture
def table(plane: DataPlane) -> Iterator[str]:
    name = f"prices_{uuid.uuid4().hex[:12]}"
    yield name
    dsn = plane.addresses.postgres_dsn.get_secret_value()
    with psycopg.connect(dsn) as connection:
        for suffix in ("", "_risk"):
            connection.execute(f'DROP TABLE IF EXISTS "{name}{suffix}"')
