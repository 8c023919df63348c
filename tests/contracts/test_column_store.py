"""What every ColumnStore promises; each implementation subclasses this."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neural_gpu_bus.addresses import redis_address
from neural_gpu_bus.errors import DatasetNotFoundError
from neural_gpu_bus.ports import ColumnStore
from neural_gpu_bus.stores.redis import RedisColumns, connect

TYPES = [
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.date32(), st.dates()),
    (pa.timestamp("us", "UTC"), st.integers(-(2**62), 2**62)),
    (pa.timestamp("ns"), st.integers(-(2**62), 2**62)),
    (pa.string(), st.text(st.characters(exclude_categories=["Cs"]))),
    (pa.large_string(), st.text(st.characters(exclude_categories=["Cs"]))),
    (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "b"])),
    (pa.binary(), st.binary()),
    (pa.list_(pa.int64()), st.lists(st.integers(0, 9))),
]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    chosen = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=5))
    rows = draw(st.integers(0, 20))
    arrays = [
        pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), type_)
        for type_, values in chosen
    ]
    return pa.table(arrays, [f"c{position}" for position in range(len(arrays))])


class ColumnStoreContract:
    """Subclasses give ``store`` and ``key``, a key that is free."""

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
        ],
    )
    @given(table=tables())
    def test_any_table_is_read_back_equal(
        self, store: ColumnStore, key: str, table: pa.Table
    ) -> None:
        store.write(key, table)

        found = store.read(key)

        assert found.schema.equals(table.schema)
        assert found.equals(table)

    def test_the_size_is_that_of_the_bytes_sent(self, store: ColumnStore, key: str) -> None:
        small = store.write(key, {"a": np.zeros(1)})
        large = store.write(key, {"a": np.zeros(100_001)})

        assert large - small == 800_000

    def test_nan_and_infinity_are_kept(self, store: ColumnStore, key: str) -> None:
        store.write(key, {"a": np.array([math.nan, math.inf, -0.0])})

        values = store.read(key)["a"].to_numpy()

        assert str(values) == "[nan inf -0.]"

    def test_writing_again_replaces(self, store: ColumnStore, key: str) -> None:
        store.write(key, {"a": [1, 2]})
        store.write(key, {"b": ["x"]})

        assert store.read(key).to_pydict() == {"b": ["x"]}

    def test_a_missing_key_is_said_as_such(self, store: ColumnStore, key: str) -> None:
        with pytest.raises(DatasetNotFoundError, match="has no key") as caught:
            store.read(key)

        assert caught.value.name == key


class TestRedisColumns(ColumnStoreContract):
    """On a real Redis or Valkey."""

    @pytest.fixture
    def store(self, redis_url: str, key: str) -> Iterator[RedisColumns]:
        client = connect(redis_url, timeout_s=5)
        columns = RedisColumns(client, redis_address(redis_url))
        yield columns
        client.delete(key)
        columns.close()

    @pytest.fixture
    def key(self) -> str:
        return f"ngb:test:{uuid.uuid4().hex}"
