"""Run as a process: reads without end until Ctrl-C, then shows that its reader still answers.

Arguments: address, table, way (table, query, stream), direct or libpq.
"""

from __future__ import annotations

import sys
from typing import Any

from fix_reader import open_reader

dsn, table, way, how = sys.argv[1:]
SLOW = "i % 100 <> 0 OR pg_sleep(0.001) IS NOT NULL"

with open_reader(dsn, direct=how == "direct", connections_max=4) as reader:
    reader.table(table, connections=3)  # connections are open, loops are compiled
    try:
        print("reading", flush=True)
        while True:
            if way == "table":
                reader.table(table, where=SLOW, connections=3)
            elif way == "query":
                reader.query(f"SELECT * FROM {table} WHERE {SLOW}")
            else:
                with reader.stream(f"SELECT * FROM {table} WHERE {SLOW}") as batches:
                    for _ in batches:
                        pass
    except KeyboardInterrupt:
        found: Any = reader.query("SELECT 'mine' AS whose")
        whole: Any = reader.table(table, connections=3)
        print(found["whose"].to_pylist(), whole.num_rows, flush=True)
