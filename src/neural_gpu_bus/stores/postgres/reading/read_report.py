"""How a table was read, for whoever asks afterwards."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReadReport:
    """One read of a table."""

    table: str
    rows: int
    #: Received from the server.
    bytes: int
    #: Connections that read, at the same time.
    connections: int
    #: Ranges of pages that were handed out to them.
    ranges: int
    #: Snapshot that all of them saw; empty where one statement on one connection saw its own.
    snapshot: str
    #: Why it was read by one connection; empty where it was not.
    why_one: str
    #: Finding out about the table and opening transactions.
    prepare_ms: float
    receive_ms: float
    #: Writing columns into memory.
    decode_ms: float

    def __str__(self) -> str:
        lines = [
            ("table", f"{self.table}: {self.rows:,} rows, {self.bytes / 2**20:,.1f} MiB received"),
            ("read by", self._connections()),
            ("moment", f"snapshot {self.snapshot}" if self.snapshot else "of the statement"),
            (
                "time",
                f"{self.prepare_ms:,.1f} ms to prepare, {self.receive_ms:,.1f} ms to receive, "
                f"{self.decode_ms:,.1f} ms to decode",
            ),
        ]
        return "\n".join(f"{title:<8} {text}" for title, text in lines)

    def _connections(self) -> str:
        if self.connections == 1:
            return f"1 connection: {self.why_one}" if self.why_one else "1 connection"
        return f"{self.connections} connections, which took {self.ranges:,} ranges of pages"


class ReadReports:
    """Reports of the results that are still there; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reports: dict[int, ReadReport] = {}

    def keep(self, result: Any, report: ReadReport) -> None:
        """Until the result goes."""
        key = id(result)
        with self._lock:
            self._reports[key] = report
        weakref.finalize(result, self._reports.pop, key, None)

    def of(self, result: Any) -> ReadReport | None:
        """None for what was not read here."""
        return self._reports.get(id(result))
