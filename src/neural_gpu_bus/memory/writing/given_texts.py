"""Given texts are looked at before they are copied: a block never holds one that is no UTF-8."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.errors import BadValueError

if TYPE_CHECKING:
    from neural_gpu_bus.memory.layout.column_tree import Column


def check_texts(column: Column, chunks: list[Any]) -> None:
    """Arrow takes any bytes for text, and fails where they are looked at. Looked at here once, at
    several GB/s; numbers are not.
    """
    import pyarrow as pa

    row = 0
    for chunk in chunks:
        texts = chunk.dictionary if column.kind.form == "indices" else chunk
        if pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type):
            try:
                _validate(texts)
            except pa.ArrowInvalid as error:
                raise _no_text(column, chunk, row, str(error)) from None
        row += len(chunk)


def _validate(texts: Any) -> None:
    texts.validate(full=True)


def _no_text(column: Column, chunk: Any, row: int, said: str) -> BadValueError:
    import pyarrow as pa

    found = re.search(r"UTF8 sequence at string index (\d+)", said)
    at, what, number = "", said, 0
    if found and column.kind.form != "indices":
        value = chunk.slice(int(found[1]), 1).cast(pa.large_binary())[0].as_py()
        number = row + int(found[1])
        at, what = f" row {number:,}", repr(value[:40])
    return BadValueError(
        f"column {column.path!r}{at} ({column.type}) is no UTF-8: {what}",
        hint="give it the type binary: column.cast(pa.binary()), or decode it from its encoding",
        column=column.path,
        row=number,
    )
