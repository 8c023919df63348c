"""What a statement answered, in this process's own memory, as the source of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_gpu_bus.memory.series.gathered import GatheredSource

if TYPE_CHECKING:
    import pyarrow as pa

    from neural_gpu_bus.descriptors import AsOf

TITLE = "the answer"


class AnswerSource(GatheredSource):
    """Its columns, as of the position of the live tables that it was made of."""

    __slots__ = ()

    def __init__(self, table: pa.Table, told: AsOf) -> None:
        super().__init__(TITLE, table, told, ())

    def reference(self) -> tuple[Any, ...]:
        """Lies in no shared memory: the columns themselves go to the other process."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        table = self.arrow()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return received, (sink.getvalue().to_pybytes(), self.as_of)


def received(raw: bytes, told: AsOf) -> AnswerSource:
    """In the process that it was sent to."""
    import pyarrow as pa

    return AnswerSource(pa.ipc.open_stream(raw).read_all(), told)
