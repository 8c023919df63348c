"""The memory folder: who owns it, who lives in it, and what the dead left behind.

datasets/<uuid>.arrow             sealed blocks with a name; the index knows each
sessions/<uuid>/<uuid>.arrow      blocks of one living process without a name, or not yet sealed
sessions/<uuid>/lock              held with flock while that process lives: the kernel's word
index/                            LMDB
boot                              the boot these files belong to; memory never outlives one
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

from neural_gpu_bus.errors import BadSettingError, SharedMemoryFullError

DATASETS = "datasets"
SESSIONS = "sessions"

#: Paths of blocks relative to the folder; nothing else is ever opened, moved or removed.
BLOCK_PATH = re.compile(r"(?:datasets|sessions/[0-9a-f]{32})/[0-9a-f]{32}\.arrow")
_SESSION_NAME = re.compile(r"[0-9a-f]{32}")

#: How the kernel says that there is no room: file system, quota, file size limit, memory.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM})


@cache
def host_identity() -> str:
    """This boot of this host: what shared memory belongs to."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    if boot.exists():
        return boot.read_text().strip()
    return f"{platform.node()}-{int(psutil.boot_time())}"


def prepare(folder: Path) -> Path:
    """Make the folder and its parts, private to this user; forget what an earlier boot left.

    Raises BadSettingError where the folder belongs to somebody else or others may look in.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise BadSettingError(
            f"memory folder {str(folder)!r} cannot be made: {error.strerror}",
            hint="set NGB_MEMORY_FOLDER to a folder of your own",
            setting="memory_folder",
        ) from None
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise BadSettingError(
            f"memory folder {str(folder)!r} belongs to user {found.st_uid} "
            f"with mode {found.st_mode & 0o777:o}",
            hint="it has to be yours with mode 700; set NGB_MEMORY_FOLDER to another",
            setting="memory_folder",
        )
    with _locked(folder), no_room_told(folder, 0):
        _forget_other_boots(folder)
        for part in (DATASETS, SESSIONS, "index"):
            (folder / part).mkdir(mode=0o700, exist_ok=True)
    return folder.resolve()


def _forget_other_boots(folder: Path) -> None:
    """On a disk (macOS has no /dev/shm) files outlive the boot whose index they belong to."""
    boot = folder / "boot"
    if boot.exists() and boot.read_text() == host_identity():
        return
    for part in (DATASETS, SESSIONS, "index"):
        shutil.rmtree(folder / part, ignore_errors=True)
    boot.write_text(host_identity())
    boot.chmod(0o600)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def no_room_told(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Turn the kernel's refusals for want of room into SharedMemoryFullError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise memory_full(folder, needed_bytes, str(error.strerror)) from None


def memory_full(folder: Path, needed_bytes: int, why: str) -> SharedMemoryFullError:
    """The error for a block, or with 0 bytes the index, that does not fit."""
    free = free_bytes(folder)
    what = f"a block of {needed_bytes:,} bytes" if needed_bytes else "the index"
    return SharedMemoryFullError(
        f"{what} does not fit into {str(folder)!r}, which has {free:,} bytes free: {why}",
        hint="drop datasets (`ngb memory` lists them), raise NGB_MEMORY_BYTES_MAX, or give the "
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
        self.name = f"{SESSIONS}/{uuid.uuid4().hex}"
        self._path = folder / self.name
        self._path.mkdir(mode=0o700)
        self._lock = os.open(self._path / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def forget(self) -> None:
        """In a child made by fork: it is the parent's, so give up our share of its lock."""
        os.close(self._lock)

    def close(self) -> None:
        """Leave nothing behind; what is mapped lives on."""
        shutil.rmtree(self._path, ignore_errors=True)
        os.close(self._lock)


def sweep_sessions(folder: Path) -> None:
    """Remove what dead processes left. Only while no session is being made (the index's lock)."""
    for entry in list(os.scandir(folder / SESSIONS)):
        if _SESSION_NAME.fullmatch(entry.name) and not _alive(Path(entry.path)):
            shutil.rmtree(entry.path, ignore_errors=True)


def _alive(session: Path) -> bool:
    try:
        descriptor = os.open(session / "lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
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


def remove(path: Path) -> None:
    """Unlink; whoever has it mapped keeps it."""
    path.unlink(missing_ok=True)


def remove_own(path: Path, pid: int) -> None:
    """Unlink in the process of that id alone: in a child made by fork the file is the parent's."""
    if os.getpid() == pid:
        remove(path)


def session_blocks(folder: Path) -> tuple[int, int]:
    """Number and bytes of the blocks without a name (or not yet sealed) of all processes.

    A block that a dataset shares (a second link) counts there.
    """
    count = nbytes = 0
    for session in list(os.scandir(folder / SESSIONS)):
        found = list(_block_statuses(session.path))
        count += len(found)
        nbytes += sum(status.st_size for status in found if status.st_nlink == 1)
    return count, nbytes


def _block_statuses(session: str) -> Iterator[os.stat_result]:
    """Of those blocks that stay while we look: any may be dropped, and its process end."""
    with suppress(FileNotFoundError), os.scandir(session) as entries:
        for entry in entries:
            if entry.name != "lock":
                with suppress(FileNotFoundError):
                    yield entry.stat()
