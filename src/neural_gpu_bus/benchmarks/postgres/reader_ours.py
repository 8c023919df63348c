"""This package: a query on one connection, a table on several, and one that is resident."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from neural_gpu_bus.benchmarks.memory.answers import Kind
from neural_gpu_bus.benchmarks.postgres.reader import Asked, Reader

if TYPE_CHECKING:
    from neural_gpu_bus.plane import DataPlane


class OurQuery(Reader):
    """``plane.query``, always from the server."""

    title: ClassVar[str] = "plane.query"
    how: ClassVar[str] = "one connection, into shared memory"
    kind: ClassVar[Kind] = "ours"

    def __init__(self, plane: DataPlane) -> None:
        super().__init__("")
        self.plane = plane

    def read(self, asked: Asked) -> Any:
        """A frame."""
        return self.plane.query(asked.statement)

    def columns(self, found: Any, asked: Asked) -> Mapping[str, Any]:
        """As Arrow."""
        table = found.arrow()
        return {name: table[name] for name in asked.columns}


class OurOpening(OurQuery):
    """The same, with opening a plane on the servers that run."""

    title: ClassVar[str] = "ngb.open, plane.query"
    how: ClassVar[str] = "attaches to the running servers, connects, reads, closes"

    def __init__(self, running: DataPlane) -> None:
        super().__init__(running)
        self._settings = running.settings

    def open(self) -> None:
        """A plane of its own."""
        from neural_gpu_bus import embedded
        from neural_gpu_bus.plane import DataPlane

        self.plane = DataPlane(self._settings, embedded.attach(self._settings))

    def close(self) -> None:
        """And its end."""
        self.plane.close()


class OurTable(OurQuery):
    """``plane.table``: several connections on one snapshot."""

    title: ClassVar[str] = "plane.table"
    how: ClassVar[str] = "by ranges of pages, all connections on one snapshot"
    connections: int | None = None

    def read(self, asked: Asked) -> Any:
        """A frame."""
        given = {} if self.connections is None else {"connections": self.connections}
        table: Any = getattr(self.plane, "table")  # noqa: B009
        return table(asked.table, columns=list(asked.columns), **given)
