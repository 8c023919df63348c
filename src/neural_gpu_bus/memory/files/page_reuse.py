"""Pages of dropped blocks for new ones: making a page costs the kernel five times what filling
it costs.

Who wrote a block keeps his writable mapping of it. When he drops the block, the file leaves its
place, so that nobody can open it any more, and the kernel is asked for a write lease: it grants one
only where no other open file and no other mapping exists in any process (fcntl(2), F_SETLEASE).
Then nobody can see the pages change, and the next block of about that size takes them. Whoever
looked the file up just before it moved may still be about to open it. He compares the uuid after he
has opened it, so the uuid is wiped when the block is dropped, and the kernel is asked again when
the pages are taken: either he is seen then, or he sees that the block is gone. macOS has no leases:
there every block is new.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neural_gpu_bus.memory.files.mapping import FileMapping

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import BlockDescriptor

#: Below it new pages cost less than the trouble.
REUSED_BYTES_MIN = 256 << 10
#: Blocks whose mappings a process keeps; each holds a file descriptor.
KEPT_MAX = 8
#: A block takes pages of at most this many times its size.
_LARGER_MAX = 1.25


@dataclass(slots=True)
class WrittenFile:
    """A block's file as its writer has it: open, and mapped for writing."""

    path: Path
    file: int
    mapping: FileMapping
    uuid: str
    #: Nobody else has it; it waits for another block.
    spare: bool = False
    #: Takes it off the list of what this process maps.
    unlist: Callable[[], object] | None = None

    @property
    def capacity_bytes(self) -> int:
        """Bytes that are mapped, and there."""
        return self.mapping.nbytes

    def wipe_identity(self, block: BlockDescriptor) -> None:
        """From now on it is no block that anybody could take it for."""
        uuid_bytes = len(block.uuid)
        self.mapping.array()[block.uuid_at : block.uuid_at + uuid_bytes] = 0

    def close(self) -> None:
        """Let go of it; harmless twice."""
        self.leave_list()
        file, self.file = self.file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        # An interrupt lost it: a file that was removed keeps its pages while it is open.
        with suppress(Exception):
            self.close()

    def leave_list(self) -> None:
        """Spare pages count as bytes without a name; a block being filled too."""
        if self.unlist is not None:
            self.unlist()
            self.unlist = None


class PageReuse:
    """The files that this process wrote and keeps; safe for threads.

    ``bytes_max`` says how many bytes they may be now. ``counted`` is told how the bytes of spare
    files change. ``listed`` puts a block that is kept on the list of what this process maps.
    """

    def __init__(
        self,
        bytes_max: Callable[[], int],
        counted: Callable[[int], object],
        listed: Callable[[str, int], Callable[[], object] | None],
    ) -> None:
        self._bytes_max = bytes_max
        self._counted = counted
        self._listed = listed
        self._lock = threading.Lock()
        self._kept: list[WrittenFile] = []

    def keep(self, written: WrittenFile) -> None:
        """Hold a sealed block's file open until it is dropped, where there is room for it."""
        most = self._bytes_max() if _leases() else 0
        if not REUSED_BYTES_MIN <= written.capacity_bytes <= most:
            written.close()
            return
        written.unlist = self._listed(written.uuid, written.capacity_bytes)
        with self._lock:
            self._kept.append(written)
            while len(self._kept) > KEPT_MAX or self._bytes() > most:
                self._let_go(self._kept[0])

    def recycle(self, block: BlockDescriptor, path: Path, corner: Path) -> bool:
        """Keep the pages of a dropped block for the next one; False where others may have them.

        Where it can, the file has left ``path`` for this process's ``corner``.
        """
        # The finalizer of a block may come here in the middle of anything, of ``take`` too: it must
        # neither wait nor go on.
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._recycled(block, path, corner)
        finally:
            self._lock.release()

    def _recycled(self, block: BlockDescriptor, path: Path, corner: Path) -> bool:
        written = next((kept for kept in self._kept if kept.uuid == block.uuid), None)
        if written is None or written.spare:
            return False
        away = corner / f"{block.uuid}.spare"
        try:
            path.rename(away)
        except FileNotFoundError:
            self._let_go(written)
            return False
        written.path = away
        if not _nobody_else_has(written.file):
            self._let_go(written)
            away.unlink(missing_ok=True)
            return True
        written.wipe_identity(block)
        written.leave_list()
        written.spare = True
        self._counted(written.capacity_bytes)
        return True

    def take(self, nbytes: int) -> WrittenFile | None:
        """A spare file of at least that size, now the caller's own; its bytes are what they were.

        The smallest that fits; None where there is none.
        """
        with self._lock:
            self._forget_unlinked()
            fits = [
                kept
                for kept in self._kept
                if kept.spare and nbytes <= kept.capacity_bytes <= nbytes * _LARGER_MAX
            ]
            for best in sorted(fits, key=lambda kept: kept.capacity_bytes):
                if _nobody_else_has(best.file):
                    self._kept.remove(best)
                    self._counted(-best.capacity_bytes)
                    best.spare = False
                    return best
                self._let_go(best)
            return None

    def clear(self) -> None:
        """Let go of everything: memory is short, or the process leaves."""
        with self._lock:
            while self._kept:
                self._let_go(self._kept[0])

    def forget(self) -> None:
        """In a child made by fork: the files are the parent's."""
        self._lock = threading.Lock()
        for kept in self._kept:
            kept.close()
        self._kept.clear()

    def _bytes(self) -> int:
        return sum(kept.capacity_bytes for kept in self._kept)

    def _let_go(self, written: WrittenFile) -> None:
        self._kept.remove(written)
        if written.spare:
            self._counted(-written.capacity_bytes)
            written.path.unlink(missing_ok=True)
        written.close()

    def _forget_unlinked(self) -> None:
        """Blocks that another process dropped or evicted."""
        for kept in list(self._kept):
            if not kept.spare and os.fstat(kept.file).st_nlink == 0:
                self._let_go(kept)


def _leases() -> bool:
    return hasattr(fcntl, "F_SETLEASE")


def _nobody_else_has(file: int) -> bool:
    """Whether this is the only open file, and these the only mappings, of what it has open.

    Another name (a hard link: a pinned input of a job) is another way in, so there must be none.
    Should somebody open the file while the lease is held, the kernel tells us by a signal, SIGIO
    unless told otherwise, which would end the process; SIGURG is ignored.
    """
    if os.fstat(file).st_nlink != 1:
        return False
    try:
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False  # others have it, or the file system knows no leases
    return True
