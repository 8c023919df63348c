"""A client's side of the keeper: attach (starting one if there is none), look, stop."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil
from pydantic import SecretStr

from neural_gpu_bus.embedded.connection import Connection, Report
from neural_gpu_bus.embedded.control import (
    Attach,
    Attached,
    Follow,
    Status,
    StatusReport,
    Stay,
    Stop,
)
from neural_gpu_bus.embedded.handover import existing_address, existing_digests
from neural_gpu_bus.embedded.home import (
    Home,
    named_home,
    open_home,
    read_state,
    remove_folder,
    remove_own_memory,
)
from neural_gpu_bus.embedded.lock import holder, is_kept, take_lock
from neural_gpu_bus.embedded.processes import end_leftovers
from neural_gpu_bus.embedded.records import SERVER_NAMES, Addresses, KeeperStatus, ServerName
from neural_gpu_bus.embedded.start import connect_or_start, start_error
from neural_gpu_bus.errors import HostError, NotRunningError
from neural_gpu_bus.settings import Settings
from neural_gpu_bus.version import __version__

#: Stopping takes as long as PostgreSQL's last checkpoint, see ``processes.STOP_S_MAX``.
STOP_S_MAX: Final = 90.0
#: A process that is killed is gone at once, unless it waits for a broken disk.
KILLED_S_MAX: Final = 10.0
#: Keepers that one client meets: the second for one that was just going, the third for luck.
STARTS_MAX: Final = 3
_POLL_S: Final = 0.01


class Attachment:
    """A lease on the private servers of a home: they run at least until ``close``."""

    def __init__(self, connection: Connection, addresses: Addresses, settings: Settings) -> None:
        self._connection = connection
        self.settings: Final = settings
        #: Where everything is; secrets are hidden from its repr.
        self.addresses: Final = addresses

    def status(self) -> KeeperStatus:
        """How the servers are now. Raises NotRunningError when they are gone."""
        return status(self.settings)

    def stay(self) -> None:
        """Let the servers run on after this and every other client. Raises NotRunningError."""
        self._asked(Stay())

    def follow(self) -> None:
        """Have the keeper run the process of live tables, where it does not yet. Raises
        NotRunningError when it is gone: a keeper that came since has not this client's lease.
        """
        self._asked(Follow())

    def _asked(self, request: Stay | Follow) -> None:
        try:
            self._connection.ask(request)
        except ConnectionError:
            raise _ended(named_home(self.settings)) from None

    def close(self) -> None:
        """Give the lease back; harmless when repeated."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def attach(settings: Settings, *, counted: bool = True, report: Report | None = None) -> Attachment:
    """Connect to the keeper of the settings' home, starting one if there is none; wait until its
    servers are ready.

    ``counted=False``: this client neither starts the servers (NotRunningError) nor keeps them
    alive. ``report`` is told, about each second, what a start is doing. Raises HostError
    (ServerStartError, DiskFullError, MissingDependencyError) when a start fails,
    AlreadyRunningError for a keeper of another version, and BadSettingError for one that was
    started with other servers.
    """
    home = open_home(settings)
    request = Attach(__version__, counted, existing_digests(settings))
    for _ in range(STARTS_MAX):
        connection = connect_or_start(settings, home) if counted else _connect(settings, home)
        try:
            reply = connection.ask(request, report)
            if isinstance(reply, Attached):
                return Attachment(connection, _addresses(settings, reply), settings)
        except ConnectionError:
            connection.close()  # that keeper was just going; the next is ours
            continue
        except BaseException:
            connection.close()
            raise
        connection.close()
    raise start_error(home, "ended while it started")


def status(settings: Settings) -> KeeperStatus:
    """How the private servers of the settings' home are. Raises NotRunningError."""
    home = named_home(settings)
    try:
        with contextlib.closing(_connect(settings, home)) as connection:
            reply = connection.ask(Status())
    except ConnectionError:
        raise _not_running(home) from None
    assert isinstance(reply, StatusReport)  # noqa: S101  (the reply to this request)
    return reply.status


def stop(settings: Settings, report: Report | None = None) -> None:
    """Stop the keeper of the settings' home and all it runs; return when everything is gone. A
    keeper that is stuck is killed.

    Raises NotRunningError when there is none.
    """
    home = named_home(settings)
    if not is_kept(home):
        _remove_leftovers(settings, home)
        raise _not_running(home)
    deadline_s = time.monotonic() + STOP_S_MAX
    with (
        # It is going already, or it is stuck: then it gives no answer until the deadline.
        contextlib.suppress(FileNotFoundError, ConnectionError, HostError),
        contextlib.closing(Connection(home, STOP_S_MAX)) as connection,
    ):
        connection.ask(Stop(), report)
    if not _ends(home, deadline_s):
        _end_stuck(settings, home)


def _ends(home: Home, deadline_s: float) -> bool:
    while is_kept(home):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_POLL_S)
    return True


def _end_stuck(settings: Settings, home: Home) -> None:
    """SIGKILL; what it ran hears of its death as of any other."""
    stuck = holder(home)
    if stuck is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            stuck.kill()
    if not _ends(home, time.monotonic() + KILLED_S_MAX):
        raise start_error(
            home, f"did not stop within {STOP_S_MAX:.0f} s, and SIGKILL did not end it"
        )
    _remove_leftovers(settings, home)


def _connect(settings: Settings, home: Home) -> Connection:
    try:
        return Connection(home, settings.connect_timeout_s)
    except (FileNotFoundError, ConnectionError):
        raise _not_running(home) from None


def _not_running(home: Home) -> NotRunningError:
    return NotRunningError(
        f"the private servers of {str(home.folder)!r} do not run",
        hint="start them with `ngb up`",
        home=str(home.folder),
    )


def _ended(home: Home) -> NotRunningError:
    """Not told by the home: another keeper may be there by now."""
    return NotRunningError(
        f"the keeper of {str(home.folder)!r} that this process was attached to has ended",
        hint="open the plane again: ngb.open() finds the next keeper, or starts it",
        home=str(home.folder),
    )


def _remove_leftovers(settings: Settings, home: Home) -> None:
    """What a killed keeper may have left; its children and its memory are gone with it on Linux.

    Under the keeper's lock: where the next keeper has it already, all this is that one's.
    """
    if not home.folder.exists():
        return
    lock = take_lock(home)
    if lock is None:
        return
    try:
        end_leftovers(read_state(home).processes)
        remove_own_memory(settings)
        remove_folder(home.run)
    finally:
        os.close(lock)


def _addresses(settings: Settings, attached: Attached) -> Addresses:
    def secret(name: ServerName, private: dict[ServerName, str]) -> SecretStr:
        return existing_address(settings, name) or SecretStr(private[name])

    return Addresses(
        postgres_dsn=secret("postgres", attached.addresses),
        compute_redis_url=secret("compute_redis", attached.addresses),
        market_data_redis_url=secret("market_data_redis", attached.addresses),
        engine_logic_redis_url=secret("engine_logic_redis", attached.addresses),
        memory_folder=Path(attached.memory_folder),
        loopback={name: secret(name, attached.loopback) for name in SERVER_NAMES},
    )
