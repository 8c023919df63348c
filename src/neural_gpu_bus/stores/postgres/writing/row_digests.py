"""Whether rows are those of an earlier call: a digest of what a range holds.

Made only where a job was left unfinished; a store that succeeds makes none.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import psycopg

from neural_gpu_bus.stores.postgres.encoding.copy_encode import encode
from neural_gpu_bus.stores.postgres.tables.table_definition import read_table
from neural_gpu_bus.stores.postgres.tables.table_name import TableName
from neural_gpu_bus.stores.postgres.writing.column_matching import match_columns
from neural_gpu_bus.stores.postgres.writing.sources import Rows


def row_digests(
    connection: psycopg.Connection, table: TableName, parts: Sequence[Rows]
) -> list[str]:
    """For each part its columns' types, and its rows as the table takes them: the same whichever
    Arrow types held them, and in whichever batches. Empty where the table is gone.

    Raises what ``match_columns`` raises, and BadValueError.
    """
    definition = read_table(connection, table)
    if definition is None or not parts:
        return [""] * len(parts)
    names = sorted(parts[0].schema.names)
    by_name = {plan.target.name: plan for plan in match_columns(definition, parts[0].schema)}
    plans = [by_name[name] for name in names]
    types = repr([(plan.target.name, plan.target.type.text) for plan in plans])
    kind = sha256(types.encode()).hexdigest()[:16]
    digests = []
    for part in parts:
        digest = sha256()
        batches = (batch.select(names) for batch in part.batches())
        for piece in encode(batches, plans, first_row=part.first_row):
            digest.update(piece)
        digests.append(f"{kind} {digest.hexdigest()}")
    return digests


def differ(noted: str | None, now: str) -> bool:
    """The rows are others for sure; nobody can tell where the table's types are others by now."""
    if not noted or not now or noted.partition(" ")[0] != now.partition(" ")[0]:
        return False
    return noted != now
