"""Layout of the file that tells of changes: words of 64 bits that all processes map.

``<memory>/live/changes-1`` has no manifest: each word is changed with one store. Another layout
gets another name.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from neural_gpu_bus.memory.files.folder import LIVE, folder_locked
from neural_gpu_bus.memory.files.shared_table import SharedTable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FILE = "changes-1"
#: FILE_ID: a number by chance, so that counters of a file that was lost are not taken for these.
#: ARRANGED: grows whenever a table begins or ceases to be told of. DEFINITIONS: grows with every
#: transaction that changed definitions. TOLD: transactions in the ring so far; SEEN: how many of
#: them need not be looked at, because PostgreSQL shows them to everybody.
FILE_ID, ARRANGED, DEFINITIONS, TOLD, SEEN = range(5)
#: Of each table, 64 bytes. COUNT never falls. COVERS: 1 while every change of the table is told.
TABLES_MAX: Final = 512
TABLES_AT, TABLE_WORDS = 64, 8
COUNT, OID, COVERS, USED_NS = range(4)
#: Transactions told last, as the stream numbers them (32 bits). Between two looks at what
#: PostgreSQL shows, 0.1 s, a busy server commits some thousands.
RING: Final = 8192
RING_AT = TABLES_AT + TABLES_MAX * TABLE_WORDS
WORDS = RING_AT + RING


def table_word(place: int, word: int) -> int:
    """Where a word of the table with that place is."""
    return TABLES_AT + place * TABLE_WORDS + word


def map_changes(memory: Path) -> npt.NDArray[np.int64]:
    """The file's words, made by whoever comes first. Raises SharedMemoryFullError."""
    folder = memory / LIVE
    with folder_locked(folder):
        words: npt.NDArray[np.int64] = SharedTable(folder / FILE, "<i8", WORDS).records
        if not words[FILE_ID]:
            words[FILE_ID] = secrets.randbits(62) | 1
    return words
