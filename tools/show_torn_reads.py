"""Show which readers tear: money moves between rows and tables while each reads with several
connections; a read that does not add up, or misses accounts, is torn.

Usage: python tools/show_torn_reads.py 'host=/run/x port=5439 user=ngb dbname=ngb' [reads]

ConnectorX reads by ranges of the id, which it recommends, and by ranges of ctid, as any reader of a
whole table would want to; DuckDB's scanner with its own settings, and at READ COMMITTED, where it
reads on without a snapshot.
"""

from __future__ import annotations

import importlib.util
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.conninfo import conninfo_to_dict

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fix_reader import open_reader  # type: ignore[import-not-found]
from reading_moving_money import (  # type: ignore[import-not-found]
    ACCOUNTS,
    MONEY,
    make_accounts,
    money_moves,
)

CONNECTIONS = 4
Read = Callable[[str], pa.Table]


def main(dsn: str, reads: int) -> None:
    """Make the tables, read while money moves, print a line for each reader, drop them."""
    schema = f"ngb_torn_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(dsn, autocommit=True) as connection, ExitStack() as stack:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        stack.callback(connection.execute, f"DROP SCHEMA {schema} CASCADE".encode())
        make_accounts(connection, schema)
        readers = _readers(stack, dsn, schema)
        print(f"{'reader':42}{'one table':>22}{'two tables':>22}")
        with money_moves(dsn, schema, writers=4):
            for name, read_several in readers.items():
                one = sum(_is_torn(read_several(["inside"])) for _ in range(reads))
                pair = ["left_side", "right_side"]
                two = sum(_is_torn(read_several(pair)) for _ in range(reads))
                print(f"{name:42}{f'{one} torn of {reads}':>22}{f'{two} torn of {reads}':>22}")


def _is_torn(tables: list[pa.Table]) -> bool:
    accounts = len(tables) * ACCOUNTS
    rows = sum(table.num_rows for table in tables)
    different = sum(len(pc.unique(table["id"])) for table in tables)
    money = sum(pc.sum(table["money"]).as_py() for table in tables)
    return (rows, different, money) != (accounts, accounts, accounts * MONEY)


def _readers(
    stack: ExitStack, dsn: str, schema: str
) -> dict[str, Callable[[list[str]], list[pa.Table]]]:
    """Several tables as each reader has them as of one moment, where it knows such a thing."""
    ours = stack.enter_context(open_reader(dsn, connections_max=CONNECTIONS + 1))

    def by_us(tables: list[str]) -> list[pa.Table]:
        with ours.snapshot() as snapshot:
            return [
                ours.table(f"{schema}.{table}", snapshot=snapshot, connections=CONNECTIONS)
                for table in tables
            ]

    found: dict[str, Callable[[list[str]], list[pa.Table]]] = {"neural-gpu-bus": by_us}
    found["ConnectorX, ranges of id"] = lambda tables: [
        _by_connectorx(dsn, schema, table) for table in tables
    ]
    found["ConnectorX, ranges of ctid"] = lambda tables: [
        _by_connectorx_pages(dsn, schema, table) for table in tables
    ]
    settings = {"DuckDB scanner": "", "DuckDB scanner, READ COMMITTED": "READ COMMITTED"}
    for name, setting in settings.items():
        duckdb = stack.enter_context(_duckdb(dsn, setting))
        found[name] = lambda tables, duckdb=duckdb: _by_duckdb(duckdb, schema, tables)  # type: ignore[misc]
    return found


def _uri(dsn: str) -> str:
    given = conninfo_to_dict(dsn)
    host = quote(str(given.get("host", "127.0.0.1")), safe="")
    login = quote(str(given["user"]), safe="")
    if given.get("password"):
        login += ":" + quote(str(given["password"]), safe="")
    return f"postgresql://{login}@{host}:{given.get('port', 5432)}/{given['dbname']}"


def _by_connectorx(dsn: str, schema: str, table: str) -> Any:
    import connectorx

    return connectorx.read_sql(
        _uri(dsn),
        f"SELECT id, money FROM {schema}.{table}",
        partition_on="id",
        partition_num=CONNECTIONS,
        return_type="arrow",
    )


def _by_connectorx_pages(dsn: str, schema: str, table: str) -> Any:
    """A list of statements is its way to any other ranges."""
    import connectorx

    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            f"SELECT pg_relation_size('{schema}.{table}') / 8192".encode()
        ).fetchone()
    pages = int((found or [0])[0])
    edges = [pages * number // CONNECTIONS for number in range(CONNECTIONS)] + [1 << 31]
    statements = [
        f"SELECT id, money FROM {schema}.{table} "
        f"WHERE ctid >= '({first},0)'::tid AND ctid < '({end},0)'::tid"
        for first, end in pairwise(edges)
    ]
    return connectorx.read_sql(_uri(dsn), statements, return_type="arrow")


@contextmanager
def _duckdb(dsn: str, isolation: str) -> Iterator[Any]:
    import duckdb

    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as connection:
        connection.execute(f"LOAD '{_scanner()}'")
        connection.execute(f"SET threads = {CONNECTIONS}")
        connection.execute("SET pg_pages_per_task = 50")
        clause = f", ISOLATION_LEVEL '{isolation}'" if isolation else ""
        connection.execute(f"ATTACH '{_uri(dsn)}' AS pg (TYPE postgres, READ_ONLY{clause})")
        yield connection


def _scanner() -> Path:
    """The extension's file in its package."""
    import duckdb

    found = importlib.util.find_spec("duckdb_extension_postgres_scanner")
    assert found is not None, "pip install duckdb-extension-postgres-scanner==1.5.5"
    assert found.origin is not None
    folder = Path(found.origin).parent / "extensions" / f"v{duckdb.__version__}"
    return folder / "postgres_scanner.duckdb_extension"


def _by_duckdb(connection: Any, schema: str, tables: list[str]) -> list[pa.Table]:
    connection.execute("BEGIN")
    try:
        return [
            connection.execute(f"SELECT id, money FROM pg.{schema}.{table}").to_arrow_table()
            for table in tables
        ]
    finally:
        connection.execute("ROLLBACK")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20)
