"""What a frame shows: bytes of columns that lie in shared memory, wherever they came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.descriptors import AsOf

    Bytes = npt.NDArray[np.uint8]


class ColumnBytes(NamedTuple):
    """Buffers of one column as bytes; views of a mapping, which they keep alive.

    ``validity``, ``values`` and ``data`` are Arrow's buffers of that column from the source's row
    0 on. Columns of nested types have ``validity`` and ``values`` (their offsets) alone.
    """

    name: str
    #: Arrow's spelling.
    type: str
    #: Rows that are NULL, of the whole source; -1 where it may have some and nobody counted.
    nulls: int
    #: Bitmap, 1 = not NULL, bit 0 first; None where no row is NULL.
    validity: Bytes | None
    #: Values, bits of booleans, indices of a dictionary, or offsets of texts and lists.
    values: Bytes
    #: Bytes of a text column; None for all others.
    data: Bytes | None


class FrameSource(Protocol):
    """Columns of one length that never change; frames are windows on it."""

    @property
    def title(self) -> str:
        """How a person knows it, for ``repr``: ``'bars' version 3``."""

    @property
    def rows(self) -> int:
        """Rows in every column."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory, paddings included."""

    @property
    def version(self) -> int:
        """Of its name; 0 for what has no versions."""

    @property
    def as_of(self) -> AsOf:
        """Which moment of its source it shows."""

    @property
    def columns(self) -> Sequence[tuple[str, str]]:
        """Names and types (Arrow's spelling), in order."""

    def column(self, name: str) -> ColumnBytes:
        """KeyError for a name that is not among ``columns``."""

    def arrow(self) -> pa.Table:
        """All rows and columns over the same bytes, without a copy."""

    def arrow_rows(self, start: int, stop: int) -> pa.Table:
        """Rows from ``start`` to ``stop`` (exclusive) of the same; neither is behind the last."""

    def private(self) -> FrameSource:
        """The same pages mapped anew for a library that knows no read-only arrays: what it
        writes stays in this process, on pages of its own.
        """

    def reference(self) -> tuple[Any, ...]:
        """``(function, arguments)`` that finds the same bytes in another process of this host, or
        raises DatasetEvictedError.
        """
