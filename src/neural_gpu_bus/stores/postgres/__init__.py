"""PostgreSQL by COPY BINARY: pure codecs (bytes to columns and back) with thin connections.

The names load on first use: the compiled loops' library takes half a second to import, and looks
for its cache's folder then, which must be after the plane has named one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

#: The module of each name, below this one.
_HOMES = {
    "TABLES_SQL": "tables.catalog",
    "Acknowledgement": "write_behind.receipts",
    "FrameStream": "reading.frame_stream",
    "LoadReport": "loading.loads",
    "Mode": "writing.row_writing",
    "PostgresStore": "store",
    "QueryClassName": "connections.query_classes",
    "ReadOptions": "decoding.read_options",
    "ReadReport": "reading.read_report",
    "RefusedRows": "write_behind.set_aside",
    "Snapshot": "reading.snapshots",
    "Texts": "decoding.read_options",
    "WriteBehind": "write_behind.write_behind",
    "WriteBehindMode": "write_behind.record_format",
    "WriteBehindStatistics": "write_behind.receipts",
    "build_query_classes": "connections.query_classes",
    "encode_copy": "encoding.columns_to_copy",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
