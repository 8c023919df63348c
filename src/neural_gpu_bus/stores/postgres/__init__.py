"""PostgreSQL by COPY BINARY: pure codecs (bytes to columns and back) with thin connections."""

from __future__ import annotations

from neural_gpu_bus.stores.postgres.loading.loads import LoadReport
from neural_gpu_bus.stores.postgres.store import PostgresStore
from neural_gpu_bus.stores.postgres.tables.catalog import TABLES_SQL
from neural_gpu_bus.stores.postgres.writing.row_writing import Mode

__all__ = ["TABLES_SQL", "LoadReport", "Mode", "PostgresStore"]
