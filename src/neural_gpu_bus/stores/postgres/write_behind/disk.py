"""Files that are still there after a power cut: written whole, synced, and their folder too."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from neural_gpu_bus.errors import DiskFullError, HostError

#: EFBIG is what a process's own limit on file sizes says (RLIMIT_FSIZE).
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Linux takes at most 1,024 pieces in one call (IOV_MAX).
_PIECES_MAX = 1_000


def sync_data(file: int) -> None:
    """Return when the file's bytes and its length are on the disk."""
    if sys.platform == "darwin":
        # fsync leaves the bytes in the drive's own cache there (fcntl(2), F_FULLFSYNC).
        fcntl.fcntl(file, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(file)


def sync_folder(folder: Path) -> None:
    """Return when what was made, renamed or removed in the folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """The folder and those above it, where they are missing, so that a power cut leaves them."""
    if folder.is_dir():
        return
    make_private_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def make_private_file(path: Path) -> int:
    """A new file for this user alone, open for writing."""
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)


def write_pieces(file: int, pieces: Sequence[bytes | bytearray | memoryview], position: int) -> int:
    """Write all pieces from ``position`` on; the position behind them."""
    os.lseek(file, position, os.SEEK_SET)
    left = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
    while left:
        written = os.writev(file, left[:_PIECES_MAX])
        position += written
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]
    return position


def write_file(path: Path, content: bytes | memoryview) -> None:
    """A whole file under its name, or none: written beside it, synced, renamed, folder synced."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    file = make_private_file(draft)
    try:
        write_pieces(file, [content], 0)
        sync_data(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)
    draft.rename(path)
    sync_folder(path.parent)


@contextmanager
def disk_trouble_told(folder: Path) -> Iterator[None]:
    """What the file system refuses, as DiskFullError or HostError that names the folder."""
    try:
        yield
    except OSError as error:
        raise disk_trouble(error, folder) from error


def disk_trouble(error: OSError, folder: Path) -> HostError:
    """The same, as an error to raise."""
    if error.errno in _NO_ROOM:
        return DiskFullError(
            f"no room in {str(folder)!r} for rows that wait for PostgreSQL: {error.strerror}; "
            "these rows were not taken",
            hint="free space on that disk, or let PostgreSQL run so that what waits can go",
            folder=str(folder),
        )
    return HostError(
        f"folder {str(folder)!r} for rows that wait for PostgreSQL cannot be used: "
        f"{error.strerror or error}; these rows were not taken",
        hint="check the folder and its disk, or name another home (NGB_HOME)",
        folder=str(folder),
    )
