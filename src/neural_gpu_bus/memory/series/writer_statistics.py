"""What a writer tells of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """A group's arenas now, and what this writer did since it was opened."""

    #: Files, and their bytes.
    arenas: int
    arena_bytes: int
    #: Bytes of extents that some partition holds, and of those that none holds any more.
    live_bytes: int
    dead_bytes: int
    appended_rows: int
    #: Rows copied because an extent was full, or began with what the one before ends with.
    grown_rows: int
    #: Rows written again because of updates, deletes and late rows.
    rewritten_rows: int
    #: Bytes copied because their arena was mostly dead.
    compacted_bytes: int
