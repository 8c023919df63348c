"""Fixtures that every kind of test shares; servers are in ``fix_servers``."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from compiled_first import compile_first

pytest_plugins = [
    "fix_actors",
    "fix_memory",
    "fix_reader",
    "fix_servers",
    "fix_stores",
    "fix_postgres_extras",
    "fix_write_behind",
    "fix_replication",
]


@pytest.fixture(autouse=True)
def _interrupts_are_pythons() -> None:
    """adbc_driver_manager 1.13 leaves its handler in place after a fetch, without Python's
    knowledge; no SIGINT of the process is a KeyboardInterrupt from then on.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Before other processes are started, and only then: one compiles what it needs by itself."""
    if not hasattr(config, "workerinput") and config.getoption("numprocesses", default=None):
        compile_first()


#: Files that mostly wait, and for long: begun last they would run alone.
BEGUN_FIRST = ("tests/integration/test_live_oracle.py",)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """By file, as asked for; pytest-xdist itself begins with the files of most tests."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class BeginsWithLong(LoadFileScheduling):
        def _assign_work_unit(self, node: Any) -> None:
            for file in BEGUN_FIRST:
                if file in self.workqueue:
                    self.workqueue.move_to_end(file, last=False)
            super()._assign_work_unit(node)

    return BeginsWithLong(config, log)
