"""What a caller gets: the word that rows are on disk, and how all of it stands."""

from __future__ import annotations

from typing import Literal

import msgspec

from neural_gpu_bus.stores.postgres.write_behind.set_aside import RefusedRows

State = Literal["idle", "delivering", "server away", "closed"]


class Acknowledgement(msgspec.Struct, frozen=True):
    """Rows are on the local disk and will be in the table."""

    #: Name of the journal that has them.
    journal: str
    #: Place in the order of that journal; 1 is the first.
    sequence: int
    table: str
    rows: int
    #: On the local disk.
    bytes: int


class WriteBehindStatistics(msgspec.Struct, frozen=True):
    """Rows on their way at one moment; ``delivered`` and ``refused`` count since this plane was
    opened.
    """

    #: ``idle``: nothing waits; ``delivering``; ``server away``: tried again until it is back.
    state: State
    #: Records (calls of ``store_later``) on disk that are not in PostgreSQL yet.
    waiting_records: int
    waiting_bytes: int
    #: Age of the oldest of them; 0 where none waits.
    oldest_waiting_s: float
    delivered_records: int
    delivered_rows: int
    refused_records: int
    #: Set aside with their reasons, those of other processes of this home too.
    set_aside: tuple[RefusedRows, ...]
    #: Why the newest failed try failed; empty where none did.
    last_error: str
    #: What all journals of this home and server take, rows set aside included.
    disk_bytes: int
    #: Processes that have a journal: this one, others that live, and ended ones until theirs is
    #: delivered.
    journals: int
    #: The setting ``write_behind_bytes_max``.
    disk_bytes_max: int
