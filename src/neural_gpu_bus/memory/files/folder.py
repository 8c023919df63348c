"""The memory folder: who owns it, who lives in it, and what the dead left behind.

datasets/<uuid>.arrow             sealed blocks with a name; the index knows each
sessions/<uuid>/<uuid>.arrow      blocks of one living process without a name, or not yet sealed
sessions/<uuid>/lock              held with flock while that process lives: the kernel's word
sessions/<uuid>/maps              what that process has mapped
index/                            LMDB
tables/                           small tables that every process maps: counters, uses
series/                           growing columns
live/                             how far the tables that follow PostgreSQL have come
boot                              the boot these files belong to; memory never outlives one
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

from neural_gpu_bus.errors import BadSettingError, HostError, SharedMemoryFullError
from neural_gpu_bus.memory.files.file_lock import locked_until

DATASETS = "datasets"
SESSIONS = "sessions"
INDEX = "index"
TABLES = "tables"
SERIES = "series"
#: The path of a memory with the device and the inode of its series.
Identity = tuple[Path, int, int]
LIVE = "live"
_PARTS = (DATASETS, SESSIONS, INDEX, TABLES, SERIES, LIVE)
_GROUP_BITS = 0o070

#: Paths of blocks relative to the folder; nothing else is ever opened, moved or removed.
BLOCK_PATH = re.compile(r"(?:datasets|sessions/[0-9a-f]{32})/[0-9a-f]{32}\.arrow")
#: File in a session's corner that its process holds locked.
LOCK = "lock"
_SESSION_NAME = re.compile(r"[0-9a-f]{32}")

#: Longest wait for whoever makes something in a folder, which takes milliseconds.
LOCK_WAIT_S_MAX = 10.0

#: How the kernel says that there is no room: file system, quota, file size limit, memory.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM})


@cache
def host_identity() -> str:
    """This boot of this host: what shared memory belongs to."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    if boot.exists():
        return boot.read_text().strip()
    return f"{platform.node()}-{int(psutil.boot_time())}"


def prepare(folder: Path, group: str | None = None) -> Path:
    """Make the folder and its parts, private to this user; forget what an earlier boot left.

    With ``group`` its members share the folder, as readers and as writers. Raises BadSettingError
    where the folder belongs to somebody else, or others may look in.
    """
    group_id = None if group is None else _group_id(group)
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if group_id is not None:
                os.chown(folder, -1, group_id)
                folder.chmod(0o2770)
        found = folder.stat()
    except OSError as error:
        raise BadSettingError(
            f"memory folder {str(folder)!r} cannot be made: {error.strerror}",
            hint="set NGB_MEMORY_FOLDER to a folder of your own"
            + (f", and be a member of group {group!r}" if group else ""),
            setting="memory_folder",
        ) from None
    _check_owner(folder, found, group_id)
    with folder_locked(folder), no_room_told(folder, 0):
        _forget_other_boots(folder)
        for part in _PARTS:
            if not (folder / part).exists():
                make_directory(folder / part)
    return folder.resolve()


def _group_id(group: str) -> int:
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise BadSettingError(
            f"there is no group {group!r} on this host",
            hint="set NGB_MEMORY_GROUP to a group you are a member of (`id -Gn` lists them)",
            setting="memory_group",
        ) from None


def _check_owner(folder: Path, found: os.stat_result, group_id: int | None) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if group_id is None and found.st_uid == os.geteuid() and not mode & 0o077:
        return
    if group_id is not None and found.st_gid == group_id and mode == 0o2770:
        if os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            return
        raise BadSettingError(
            f"memory folder {str(folder)!r} is for members of group {group_id}, and user "
            f"{os.geteuid()} is none",
            hint="become a member (`usermod -aG`) and log in again, or set NGB_MEMORY_FOLDER",
            setting="memory_group",
        )
    wanted = (
        "yours with mode 700" if group_id is None else f"of group {group_id} with mode 2770, or new"
    )
    raise BadSettingError(
        f"memory folder {str(folder)!r} belongs to user {found.st_uid}, group {found.st_gid}, "
        f"with mode {mode:o}",
        hint=f"it has to be {wanted}; set NGB_MEMORY_FOLDER to another",
        setting="memory_folder",
    )


def identity(folder: Path) -> Identity:
    """Tells a memory from another one that lies at its path later, after its keeper was killed.

    Numbers are 0 where there is none. A microsecond: each reservation asks.
    """
    try:
        found = os.stat(folder / SERIES)  # noqa: PTH116  half the time of Path's
    except FileNotFoundError:
        return folder, 0, 0
    return folder, found.st_dev, found.st_ino


def gone(folder: Path) -> HostError:
    """The error where a folder is not the one that was opened."""
    return HostError(
        f"the memory {str(folder)!r} that this process has open is gone: its keeper has ended",
        hint="open the plane again: ngb.open() finds the memory that is there now",
        folder=str(folder),
    )


def make_directory(path: Path) -> None:
    """A directory with the rights of the one it lies in."""
    path.mkdir(mode=0o700)
    if path.parent.stat().st_mode & _GROUP_BITS:
        path.chmod(0o2770)


def make_file(path: str | Path) -> int:
    """A new file of ours, open for reading and writing: 0600, or the group's where it shares."""
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    if os.stat(os.path.dirname(path)).st_mode & _GROUP_BITS:  # noqa: PTH116, PTH120  (per block)
        os.fchmod(file, 0o660)
    return file


def open_table(path: Path) -> int:
    """A file that all processes write to; made where it is not there.

    HostError for what is no file of ours.
    """
    try:
        with suppress(FileExistsError):
            return make_file(path)
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise foreign_table(path, str(error.strerror)) from None


def foreign_table(path: Path, why: str) -> HostError:
    """The error for a file in ``tables/`` that is none of ours, or not whole."""
    return HostError(
        f"{str(path)!r} is no table of this version: {why}",
        hint="stop what uses it (`ngb down`) and remove that folder; it holds no lasting data",
        folder=str(path.parent.parent),
    )


def seal_file(file: int) -> None:
    """Nobody opens a sealed block for writing by mistake."""
    shared = os.fstat(file).st_mode & _GROUP_BITS
    os.fchmod(file, 0o440 if shared else 0o400)


def _forget_other_boots(folder: Path) -> None:
    """On a disk (macOS has no /dev/shm) files outlive the boot whose index they belong to."""
    boot = folder / "boot"
    if boot.exists() and boot.read_text() == host_identity():
        return
    for part in _PARTS:
        shutil.rmtree(folder / part, ignore_errors=True)
    boot.unlink(missing_ok=True)
    file = make_file(boot)
    try:
        os.write(file, host_identity().encode())
    finally:
        os.close(file)


@contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Held for the moment in which something is made in a folder.

    Raises HostError where another process keeps it for too long.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        raise HostError(
            f"{str(folder)!r} is gone: the keeper of this memory has ended",
            hint="open the plane again: ngb.open() finds the memory that is there now",
            folder=str(folder),
        ) from None
    try:
        if not locked_until(descriptor, time.monotonic() + LOCK_WAIT_S_MAX):
            raise HostError(
                f"another process has had {str(folder)!r} locked for over {LOCK_WAIT_S_MAX:g} s",
                hint="it was stopped while it made something there: `lslocks` or `fuser -v` on "
                "that folder names it; `kill -CONT` lets it go on, `kill -KILL` ends it",
                folder=str(folder),
            )
        yield
    finally:
        os.close(descriptor)


@contextmanager
def no_room_told(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Turn the kernel's refusals for want of room into SharedMemoryFullError."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise memory_full(folder, needed_bytes, str(error.strerror)) from None


def memory_full(
    folder: Path, needed_bytes: int, why: str, *, hint: str = ""
) -> SharedMemoryFullError:
    """The error for a block, or with 0 bytes the index, that does not fit."""
    free = free_bytes(folder)
    what = f"a block of {needed_bytes:,} bytes" if needed_bytes else "the index"
    room = "" if hint else f", which has {free:,} bytes free"  # a budget has its own words
    return SharedMemoryFullError(
        f"{what} does not fit into {str(folder)!r}{room}: {why}",
        hint=hint
        or "drop datasets (`ngb memory` lists them), raise NGB_MEMORY_BYTES_MAX, or give the "
        "file system more room (Docker: --shm-size)",
        needed_bytes=needed_bytes,
        free_bytes=free,
        folder=str(folder),
    )


def free_bytes(folder: Path) -> int:
    """What the file system below can still take."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Session:
    """One living process's own corner. The lock goes with the process, however it ends."""

    def __init__(self, folder: Path) -> None:
        self.pid = os.getpid()
        self.uuid = uuid.uuid4().hex
        self.name = f"{SESSIONS}/{self.uuid}"
        self.path = folder / self.name
        make_directory(self.path)
        self._lock = make_file(self.path / LOCK)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def forget(self) -> None:
        """In a child made by fork: it is the parent's, so give up our share of its lock."""
        os.close(self._lock)

    def close(self) -> None:
        """Leave nothing behind; what is mapped lives on."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def sweep_sessions(folder: Path) -> tuple[set[str], int]:
    """Remove what dead processes left. Only while no session is being made (the index's lock).

    Gives the uuids of the living, and how many were dead.
    """
    living, dead = set(), 0
    for entry in list(os.scandir(folder / SESSIONS)):
        if not _SESSION_NAME.fullmatch(entry.name):
            continue
        if lives(Path(entry.path)):
            living.add(entry.name)
        else:
            shutil.rmtree(entry.path, ignore_errors=True)
            dead += 1
    return living, dead


def living_sessions(folder: Path) -> list[Path]:
    """Corners of the processes that live now."""
    found = [Path(entry.path) for entry in os.scandir(folder / SESSIONS)]
    return [path for path in found if _SESSION_NAME.fullmatch(path.name) and lives(path)]


def lives(session: Path) -> bool:
    """Whether the process of that corner lives, by the kernel's word."""
    try:
        descriptor = os.open(session / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def sweep_datasets(folder: Path, known: set[str]) -> None:
    """Remove blocks that no index entry names. Only while nothing is being published."""
    for entry in list(os.scandir(folder / DATASETS)):
        path = f"{DATASETS}/{entry.name}"
        if BLOCK_PATH.fullmatch(path) and path not in known:
            remove(folder / path)


def uuid_head(uuid: str) -> int:
    """How small tables know a block or a session: the first half of its uuid (32 hex digits)."""
    return int(uuid[:16], 16)


def remove(path: Path) -> None:
    """Unlink; whoever has it mapped keeps it."""
    path.unlink(missing_ok=True)


def remove_own(path: Path, pid: int) -> None:
    """Unlink in the process of that id alone: in a child made by fork the file is the parent's."""
    if os.getpid() == pid:
        remove(path)


def count_unnamed(folder: Path) -> int:
    """Blocks without a name, or not yet sealed, of all processes."""
    count = 0
    for corner in os.scandir(folder / SESSIONS):
        if not _SESSION_NAME.fullmatch(corner.name):
            continue
        with suppress(FileNotFoundError):  # its process ends just now
            count += sum(name.endswith(".arrow") for name in os.listdir(corner.path))  # noqa: PTH208
    return count
