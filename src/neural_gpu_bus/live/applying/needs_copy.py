"""The error for changes that cannot be applied to what is there."""

from __future__ import annotations

from neural_gpu_bus.errors import ServerError


class NeedsCopyError(ServerError):
    """Changes do not fit the rows that are held: the table has to be copied anew. Facts: ``table``,
    ``reason``.
    """
