"""A home whose tables are live on a server of a test's own, and what may be done to both."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import neural_gpu_bus as ngb
from fix_servers import private_settings, short_folder, wait_until
from neural_gpu_bus import embedded
from own_server import OwnServer, own_server

#: What a server of live tables needs.
LOGICAL = {"wal_level": "logical", "max_connections": "60", "max_prepared_transactions": "5"}
#: A process that was killed is started again after half a second, one, two, ...
RECOVERY_S = 30.0


@dataclass
class LiveHome:
    """``plane`` follows tables of ``server``, maybe through something in between."""

    plane: ngb.DataPlane
    server: OwnServer
    home: Path
    #: What another process opens its plane with.
    settings: dict[str, Any]

    def pid(self) -> int:
        """Of the process that follows the tables; 0 for none that lives."""
        pid = self.plane.live_view.progress().pid
        return pid if pid and Path(f"/proc/{pid}").exists() else 0

    def wait_pid(self, other_than: int = 0) -> int:
        """Once there is one."""
        wait_until(lambda: self.looked() not in {0, other_than}, "a process that follows tables")
        return self.looked()

    def looked(self) -> int:
        """``pid``, also where the state file was made anew."""
        self.plane.live_view.look_again()
        return self.pid()

    def kill(self) -> int:
        """End it as ``kill -9`` does; which it was."""
        pid = self.wait_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.looked() != pid, "its end")
        return pid

    def position(self) -> int:
        """The WAL's end now: whatever was committed lies before."""
        statement = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"
        return int(self.server.run(statement)[0][0])

    def state(self, name: str) -> str:
        """Of one table, with what is told of it."""
        found = self.plane.live_states().get(name)
        return "unknown" if found is None else f"{found.state}: {found.detail}"

    def restart(self, how: signal.Signals = signal.SIGQUIT, down_s: float = 0.0) -> None:
        """The server: SIGQUIT as a crash, SIGINT as its administrator does."""
        self.server.stop(how)
        time.sleep(down_s)
        self.server.start()

    def log(self) -> str:
        """Last lines of the process that follows the tables."""
        files = sorted((self.home / "log").glob("live*"))
        lines = [line for file in files for line in file.read_text().splitlines()]
        return "\n".join(lines[-60:])


@contextmanager
def live_home(
    server: OwnServer,
    *,
    dsn: str = "",
    environment: Mapping[str, str] | None = None,
    **settings: object,
) -> Iterator[LiveHome]:
    """A home of its own whose PostgreSQL is ``server``; ``environment`` is its keeper's too."""
    with ExitStack() as opened:
        folder = opened.enter_context(short_folder())
        opened.enter_context(patch.dict(os.environ, environment or {}))
        given = private_settings(folder / "home", postgres_dsn=dsn or server.dsn(), **settings)
        arguments = given.model_dump(exclude_unset=True)
        plane = opened.enter_context(ngb.open(**arguments))
        opened.callback(embedded.stop, given)
        yield LiveHome(plane, server, folder / "home", arguments)


@contextmanager
def live_server(**settings: str) -> Iterator[OwnServer]:
    """A running server that replicates logically."""
    with own_server(**{**LOGICAL, **settings}) as server:
        yield server
