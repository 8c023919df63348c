"""PostgreSQL by COPY BINARY: pure codecs (bytes to columns and back) with thin connections."""

from __future__ import annotations

from neural_gpu_bus.stores.postgres.connections.query_classes import (
    QueryClassName,
    build_query_classes,
)
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions, Texts
from neural_gpu_bus.stores.postgres.encoding.columns_to_copy import encode_copy
from neural_gpu_bus.stores.postgres.loading.loads import LoadReport
from neural_gpu_bus.stores.postgres.reading.frame_stream import FrameStream
from neural_gpu_bus.stores.postgres.reading.read_report import ReadReport
from neural_gpu_bus.stores.postgres.reading.snapshots import Snapshot
from neural_gpu_bus.stores.postgres.store import PostgresStore
from neural_gpu_bus.stores.postgres.tables.catalog import TABLES_SQL
from neural_gpu_bus.stores.postgres.write_behind.receipts import (
    Acknowledgement,
    WriteBehindStatistics,
)
from neural_gpu_bus.stores.postgres.write_behind.record_format import WriteBehindMode
from neural_gpu_bus.stores.postgres.write_behind.set_aside import RefusedRows
from neural_gpu_bus.stores.postgres.write_behind.write_behind import WriteBehind
from neural_gpu_bus.stores.postgres.writing.row_writing import Mode

__all__ = [
    "TABLES_SQL",
    "Acknowledgement",
    "FrameStream",
    "LoadReport",
    "Mode",
    "PostgresStore",
    "QueryClassName",
    "ReadOptions",
    "ReadReport",
    "RefusedRows",
    "Snapshot",
    "Texts",
    "WriteBehind",
    "WriteBehindMode",
    "WriteBehindStatistics",
    "build_query_classes",
    "encode_copy",
]
