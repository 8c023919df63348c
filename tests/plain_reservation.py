"""Reserve columns in plain memory that is full of junk, and check what was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neural_gpu_bus.stores.postgres.decoding.private_columns import PrivateReservation


class PlainReservation(PrivateReservation):
    """``ports.Reservation`` in private memory. Buffers start full of junk, as any memory may."""

    abandoned = False

    def _memory(self, nbytes: int) -> npt.NDArray[np.uint8]:
        return np.full(nbytes, 0xA5, np.uint8)

    def seal(self, name: str | None = None, *, reload_ns: int = 0, source_ns: int = 0) -> pa.Table:
        """A table over the same memory, checked by Arrow."""
        table = super().seal(name)
        table.validate(full=True)
        return table

    def abandon(self) -> None:
        """Remember that it was given back."""
        self.abandoned = True


def reserve(
    schema: pa.Schema,
    rows: int,
    *,
    text_bytes: Mapping[str, int] | None = None,
    null_counts: Mapping[str, int] | None = None,
    list_values: Mapping[str, int] | None = None,
    dictionaries: Mapping[str, pa.Array[Any]] | None = None,
) -> PlainReservation:
    """``ports.Reserve`` in private memory."""
    return PlainReservation(
        schema,
        rows,
        text_bytes=text_bytes,
        null_counts=null_counts,
        list_values=list_values,
        dictionaries=dictionaries,
    )
