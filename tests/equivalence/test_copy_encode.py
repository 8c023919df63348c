"""The compiled encoder writes the same bytes as the plain one, on random tables."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_gpu_bus.stores.postgres.encoding.copy_encode import encode
from neural_gpu_bus.stores.postgres.encoding.type_names import named_type
from neural_gpu_bus.stores.postgres.encoding.wire_columns import plan_column
from neural_gpu_bus.stores.postgres.wire.types import PostgresType, TargetColumn
from plain_copy_encode import encode_plainly
from random_tables import COLUMNS, ENCODED, tables


@settings(max_examples=150, deadline=None, derandomize=True)
@given(table=tables([*COLUMNS, *ENCODED]), piece_bytes_max=st.sampled_from([1, 64, 1 << 18]))
def test_compiled_encoder_equals_plain_one(
    table: tuple[pa.RecordBatch, list[str]], piece_bytes_max: int
) -> None:
    batch, kinds = table
    plans = [
        plan_column(field.type, TargetColumn(field.name, named_type(kind)))
        for field, kind in zip(batch.schema, kinds, strict=True)
    ]

    pieces = [bytes(piece) for piece in encode([batch], plans, piece_bytes_max=piece_bytes_max)]

    assert encode_plainly(batch, kinds) == b"".join(pieces)


def test_pieces_hold_whole_rows_up_to_the_limit() -> None:
    batch = pa.record_batch({"a": pa.array(range(1000), pa.int64())})
    plans = [plan_column(pa.int64(), TargetColumn("a", PostgresType("int8", "bigint")))]

    _, *pieces, _ = encode([batch], plans, piece_bytes_max=100)

    # A row takes 2 + 4 + 8 bytes: seven of them fit.
    assert {len(piece) for piece in pieces} == {98, 84}
    assert sum(len(piece) for piece in pieces) == 14_000
