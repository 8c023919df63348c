"""A frame of 10,000 rows to Redis and back."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa

from neural_gpu_bus.benchmarks.case import Case, Entrant, Ground
from neural_gpu_bus.benchmarks.cases import bench_table

ROWS = 10_000
KEY = "ngb:bench:frame"
NAMES = bench_table.COLUMNS


def write_and_read(ground: Ground, closing: ExitStack) -> Case:
    """Six columns; pandas frames as pickle and JSON, and Arrow."""
    import pandas as pd
    import redis

    table = bench_table.made_up_bars(ROWS).select(list(NAMES))
    frame = table.to_pandas()
    client: Any = redis.Redis.from_url(ground.redis_url)
    closing.callback(client.close)
    closing.callback(client.delete, KEY)

    def pickled() -> Any:
        client.set(KEY, pickle.dumps(frame, protocol=5))
        return pickle.loads(client.get(KEY))  # noqa: S301 - our own bytes, from the line above

    def as_json() -> Any:
        client.set(KEY, frame.to_json(orient="split", double_precision=15))
        return pd.read_json(io.BytesIO(client.get(KEY)), orient="split", convert_dates=["ts"])

    def plain_json() -> Any:
        client.set(KEY, json.dumps(_numbers(table)))
        return json.loads(client.get(KEY))

    def direct() -> Any:
        ground.plane.redis.write(KEY, table)
        return ground.plane.redis.read(KEY)

    entrants = [
        Entrant("JSON", plain_json, _from_numbers, note="lists of numbers"),
        Entrant("JSON by pandas", as_json, None, note="loses digits: 15 after the point"),
        Entrant(
            "pickle", pickled, bench_table.in_microseconds, note="runs whatever code the bytes hold"
        ),
        Entrant("direct", direct, bench_table.in_microseconds, note="Arrow stream"),
    ]
    return Case(f"{ROWS:,} rows of 6 columns to Redis and back", entrants)


def _numbers(table: pa.Table) -> dict[str, Any]:
    ts: Any = table["ts"].cast(pa.int64())
    return {"ts": ts.to_pylist()} | {name: table[name].to_pylist() for name in NAMES[1:]}


def _from_numbers(columns: Any) -> Mapping[str, Any]:
    return {name: np.asarray(columns[name]) for name in NAMES}
