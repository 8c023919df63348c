"""Where an array's bytes come from: which block, and how far into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_gpu_bus.memory.files.mapping import FileMapping

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def origin(array: npt.NDArray[Any]) -> tuple[str, int] | None:
    """Uuid of the sealed block that the array is a view of, and its offset there in bytes.

    None for arrays that own their bytes, and for views of what can still change: a block being
    filled, or a private mapping.
    """
    mapping = _mapping(array)
    if mapping is None or not mapping.block or not _sealed(mapping):
        return None
    return mapping.block, _address(array) - mapping.address


def _mapping(array: npt.NDArray[Any]) -> FileMapping | None:
    below: Any = array
    while below is not None:
        if isinstance(below, FileMapping):
            return below
        below = below.obj if isinstance(below, memoryview) else getattr(below, "base", None)
    return None


def _sealed(mapping: FileMapping) -> bool:
    read_only: bool = mapping.__array_interface__["data"][1]
    return read_only


def _address(array: npt.NDArray[np.generic]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
