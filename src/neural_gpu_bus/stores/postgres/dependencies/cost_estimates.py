"""What the server thinks that a statement costs, without running it."""

from __future__ import annotations

import json
from typing import NamedTuple

import psycopg

from neural_gpu_bus.stores.postgres.reading.parameter_values import Params
from neural_gpu_bus.stores.postgres.reading.statement import bound


class CostEstimate(NamedTuple):
    """Of EXPLAIN's topmost node, all rows returned."""

    #: In units of the server's cost model.
    cost: float
    rows: int
    #: Bytes of one row on the server.
    row_bytes: int


def cost_estimate(
    connection: psycopg.Connection, sql: str, params: Params, *, limit_ms: int
) -> CostEstimate:
    """EXPLAIN without ANALYZE: nothing of it runs. Prepared, so that it is one statement alone.

    ``limit_ms``: it waits for locks as the statement itself would; 0 for no end.
    """
    statement = b"EXPLAIN (FORMAT JSON) " + bound(connection, sql, params)
    with connection.pipeline(), connection.transaction():
        connection.execute(f"SET LOCAL statement_timeout = {limit_ms:d}".encode())
        found = connection.execute(statement, binary=True).fetchone()
    assert found is not None  # noqa: S101  (EXPLAIN gives one row)
    plan = found[0] if isinstance(found[0], list) else json.loads(found[0])
    top = plan[0]["Plan"]
    return CostEstimate(top["Total Cost"], top["Plan Rows"], top["Plan Width"])
