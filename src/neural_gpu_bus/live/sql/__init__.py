"""SELECTs over live tables, answered in this process: DuckDB looks at their columns, copying none.

statement --its names--> live tables as of one position --> DuckDB --> a frame as of that position
"""

from neural_gpu_bus.live.sql.live_sql import LiveSql

__all__ = ["LiveSql"]
