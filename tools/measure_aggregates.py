"""Measure grouped aggregates beside what a user would pick; equality comes first.

    python tools/measure_aggregates.py [--rows 1000000] [--dsn postgresql://...]

Made-up data of a fixed seed: float64 columns and 50 groups by a text, by a dictionary and by an
integer, in random order and in order of the key. Count, mean, standard deviation, minimum, maximum
and sum of each column. All sides get the same columns, ready in memory in their own form, and run
in turns; the best of 15 runs and their median count. A side that differs is an error, not a row.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
import numpy as np
import polars as pl
import psycopg
import pyarrow as pa

from neural_gpu_bus.aggregates import aggregate_table, make_request, operations_of
from neural_gpu_bus.machine_cores import usable_cores

SEED, REPEATS, GROUPS = 20_261_122, 15, 50
COLUMNS = ("a", "b", "c", "d")
OPERATIONS = ("count", "mean", "std", "min", "max", "sum")
REQUEST = make_request(
    "key", None, None, operations_of([], {name: list(COLUMNS) for name in OPERATIONS}, None)
)
SQL = {
    "count": "count", "mean": "avg", "std": "stddev_samp", "min": "min", "max": "max", "sum": "sum",
}  # fmt: skip

Way = Callable[[], Any]


def statement(table: str) -> str:
    """The same question in SQL, result columns in the same order."""
    wanted = ", ".join(f"{SQL[name]}({one})" for name in OPERATIONS for one in COLUMNS)
    return f"SELECT key, {wanted} FROM {table} GROUP BY key ORDER BY key"


def tables(rows: int, ordered: bool) -> dict[str, pa.Table]:
    """The columns by each kind of key."""
    random = np.random.default_rng(SEED)
    codes = random.integers(0, GROUPS, rows).astype(np.int32)
    codes = np.sort(codes) if ordered else codes
    names = pa.array([f"INSTRUMENT{number:02}.XNAS" for number in range(GROUPS)])
    keys = pa.DictionaryArray.from_arrays(codes, names)
    values: Any = {name: random.normal(100, 5, rows) for name in COLUMNS}
    return {
        "dictionary": pa.table({"key": keys, **values}),
        "text": pa.table({"key": keys.cast(pa.large_string()), **values}),
        "integer": pa.table({"key": pa.array(codes.astype(np.int64)), **values}),
    }


def polars_ways(table: pa.Table) -> dict[str, Way]:
    """In memory and streaming."""
    frame: Any = pl.from_arrow(table)
    functions = {name: getattr(pl.Expr, name) for name in OPERATIONS}
    wanted = [
        functions[name](pl.col(one)).alias(f"{one}_{name}")
        for name in OPERATIONS
        for one in COLUMNS
    ]
    order = pl.col("key").cast(pl.String) if frame.schema["key"] != pl.Int64 else pl.col("key")
    asked = frame.lazy().group_by("key").agg(wanted).sort(order)
    return {
        "Polars": asked.collect,
        "Polars, streaming": lambda: asked.collect(engine="streaming"),
    }


def ways_of(table: pa.Table) -> dict[str, Way]:
    """Everybody's answer to the same question."""
    native = duckdb.connect()
    native.register("given", table)
    native.execute("CREATE TABLE held AS SELECT * FROM given")
    query = statement("held")
    return {
        "here": lambda: aggregate_table(table, REQUEST),
        "here, 1 thread": lambda: aggregate_table(table, REQUEST, threads=1),
        "DuckDB, own table": lambda: native.execute(query).to_arrow_table(),
        **polars_ways(table),
    }


def numbers(answer: Any) -> np.ndarray[Any, Any]:
    """An answer's columns but its key, as one matrix."""
    table = answer.to_arrow() if isinstance(answer, pl.DataFrame) else answer
    return np.column_stack([np.asarray(column, dtype=float) for column in table.columns[1:]])


def measured(ways: Mapping[str, Way]) -> dict[str, tuple[float, float]]:
    """Best and median in milliseconds, all ways in turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(REPEATS + 2):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if repeat >= 2:
                times[name].append((time.perf_counter() - start) * 1e3)
    return {name: (min(found), statistics.median(found)) for name, found in times.items()}


def report(what: str, ways: Mapping[str, Way]) -> None:
    """Equality, then one line a way, and what the figures ask for."""
    answers = {name: numbers(way()) for name, way in ways.items()}
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, answers["here"], rtol=1e-11, err_msg=name)
    found = measured(ways)
    best_ms, median_ms = found["here"]
    for name, (least_ms, middle_ms) in found.items():
        ratios = f"{least_ms / best_ms:.1f} | {middle_ms / median_ms:.1f}"
        print(f"| {what} | {name} | {least_ms:.2f} | {middle_ms:.2f} | {ratios} |")


def reading(table: pa.Table) -> None:
    """Reading the columns once: numpy's sums, by one thread."""
    columns = [table[name].to_numpy() for name in COLUMNS]
    found = measured({"numpy": lambda: [column.sum() for column in columns]})
    least_ms, middle_ms = found["numpy"]
    print(f"| four columns, read once | numpy sums | {least_ms:.2f} | {middle_ms:.2f} | | |")


def in_postgres(table: pa.Table, dsn: str) -> None:
    """The same columns in a temporary table, asked there."""
    with psycopg.connect(dsn) as server:
        columns = ", ".join(f"{name} float8" for name in COLUMNS)
        server.execute(f"CREATE TEMP TABLE held (key text, {columns})".encode())
        with server.cursor().copy("COPY held FROM STDIN") as copy:
            for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                copy.write_row(row)
        server.execute("ANALYZE held")
        query = statement("held").encode()
        theirs = np.asarray([row[1:] for row in server.execute(query)], dtype=float)
        np.testing.assert_allclose(theirs, numbers(aggregate_table(table, REQUEST)), rtol=1e-9)
        found = measured({"PostgreSQL": lambda: server.execute(query).fetchall()})
        least_ms, middle_ms = found["PostgreSQL"]
        print(f"| random text | PostgreSQL | {least_ms:.1f} | {middle_ms:.1f} | | |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dsn", help="also ask this PostgreSQL")
    given = parser.parse_args()
    print(
        f"{given.rows:,} rows x {len(COLUMNS)} columns, {GROUPS} groups, {usable_cores()} cores\n"
    )
    print("| key | way | best, ms | median, ms | times here (best) | (median) |")
    print("|---|---|---|---|---|---|")
    for order in ("random", "sorted"):
        for key, table in tables(given.rows, order == "sorted").items():
            report(f"{order} {key}", ways_of(table))
    reading(table)
    if given.dsn:
        in_postgres(tables(given.rows, False)["text"], given.dsn)


if __name__ == "__main__":
    main()
