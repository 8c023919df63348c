"""Arrow values in and out without pyarrow's own conversions, which import pandas where it is there.

That takes 0.4 s of the first load, and a Ctrl-C that comes meanwhile is lost inside pyarrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def booleans(array: Any) -> npt.NDArray[np.bool_]:
    """A copy of a boolean Arrow array; NULL is False."""
    validity, values = array.buffers()
    found = _bits(values, array)
    return found if validity is None else found & _bits(validity, array)


def first_true(array: Any) -> int | None:
    """Index of the first value that is true."""
    found = booleans(array)
    return int(found.argmax()) if found.any() else None


def text_array(values: Sequence[str]) -> Any:
    """Texts as an Arrow array of strings."""
    contents = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, contents)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(contents))]
    return pa.Array.from_buffers(pa.string(), len(contents), buffers)


def _bits(buffer: Any, array: Any) -> npt.NDArray[np.bool_]:
    end = array.offset + len(array)
    packed = np.frombuffer(buffer or b"", np.uint8)
    return np.unpackbits(packed, count=end, bitorder="little")[array.offset :].view(np.bool_)
