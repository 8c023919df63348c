"""What a live process leaves for the next one, so that tables need not be copied again.

It lies in the memory folder beside the columns that it is about: whatever takes those takes it
too. It counts for this run of the machine alone, because columns that were being written when the
power went may be anything.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from neural_gpu_bus.embedded.home import write_private
from neural_gpu_bus.live.definitions import LiveDefinition
from neural_gpu_bus.stores.postgres.replication.append_only import ChangeCounts
from neural_gpu_bus.stores.postgres.replication.snapshot_moment import SnapshotMoment
from neural_gpu_bus.version import __version__

FILE = "stream"
#: A table with 10,000 partitions takes 2 MB.
RECORD_BYTES_MAX = 64 << 20
_BOOT = Path("/proc/sys/kernel/random/boot_id")

_log = structlog.get_logger(__name__)


class KeptTable(msgspec.Struct, frozen=True):
    """A table that is live, and what its columns were copied from."""

    definition: LiveDefinition
    #: Of its series.
    version: int
    #: With the shape of the last look.
    moment: SnapshotMoment
    counts: ChangeCounts | None = None


class StreamRecord(msgspec.Struct, frozen=True):
    """One stream: from which log, by which slot, and the tables that follow it."""

    slot: str
    system_id: str
    timeline: int
    database: str
    #: All live tables had at least this when it was written; the columns say whether more.
    position: int = 0
    tables: tuple[KeptTable, ...] = ()
    #: Version of this package, and the run of the machine.
    written_by: str = __version__
    boot: str = ""


class RecordFile:
    """In the memory folder; one writer, the live process."""

    def __init__(self, folder: Path) -> None:
        """``folder``: where the state of live tables lies."""
        self._path = folder / FILE
        self._boot = _boot()

    def load(self) -> StreamRecord | None:
        """None where there is none that counts."""
        try:
            raw = self._path.read_bytes()
            found = msgspec.msgpack.decode(raw, type=StreamRecord)
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return None
        counts = found.written_by == __version__ and found.boot == self._boot != ""
        return found if counts else None

    def save(self, record: StreamRecord) -> None:
        """Replace it whole. Where that cannot be, there is none: an older one could name tables
        that do not follow the stream any more.
        """
        raw = msgspec.msgpack.encode(msgspec.structs.replace(record, boot=self._boot))
        try:
            if len(raw) > RECORD_BYTES_MAX:
                raise OSError(f"{len(raw):,} bytes are too many")
            write_private(self._path, raw)
        except OSError as error:
            self.remove()
            _log.warning("live tables will be copied again after a restart", reason=str(error))

    def remove(self) -> None:
        """Nothing is known."""
        with suppress(FileNotFoundError):
            self._path.unlink()


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""  # then no record counts
