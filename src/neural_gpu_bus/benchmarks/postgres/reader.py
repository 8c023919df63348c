"""What every way of reading promises, so that all are asked alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from neural_gpu_bus.benchmarks.memory.answers import Kind


@dataclass(frozen=True, slots=True)
class Asked:
    """One read: a whole table's columns, or a statement."""

    table: str
    columns: Sequence[str]
    #: What follows the table's name; empty for all rows.
    rest: str = ""
    #: An integer column that a reader may cut the table by; empty for none.
    cut_by: str = ""

    @property
    def statement(self) -> str:
        """The same for every reader."""
        names = ", ".join(self.columns)
        return f"SELECT {names} FROM {self.table}{self.rest}"  # noqa: S608


class Reader:
    """One way to columns. ``open`` connects; it stays connected between reads where it can."""

    title: ClassVar[str]
    #: How it is used here: its best way.
    how: ClassVar[str]
    kind: ClassVar[Kind] = "rival"
    #: Modules without which it is not there, by the name that pip knows.
    needs: ClassVar[Mapping[str, str]] = {}

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def open(self) -> None:
        """Connect."""

    def read(self, asked: Asked) -> Any:
        """The timed work."""
        raise NotImplementedError

    def columns(self, found: Any, asked: Asked) -> Mapping[str, Any]:
        """The result for comparison: Arrow's, numpy's or plain sequences by name, untimed."""
        raise NotImplementedError

    def close(self) -> None:
        """Disconnect."""
