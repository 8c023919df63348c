"""Texts to what PostgreSQL reads as text, a column at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from neural_gpu_bus.errors import BadValueError
from neural_gpu_bus.stores.postgres.encoding.scalar_conversions import refuse_too_large, variable
from neural_gpu_bus.stores.postgres.encoding.wire_source import Source, WireColumn
from neural_gpu_bus.stores.postgres.wire.types import LENGTH_OFFSET


def text(source: Source) -> WireColumn:
    """UTF-8 without NUL characters."""
    large = source.array.cast(pa.large_string())
    values, offsets = variable(large)
    used = values[offsets[0] : offsets[-1]]
    # Plain ASCII without NUL needs no second look; both tests are one pass of SIMD.
    if used.size and (used.max() >= 0x80 or not used.all()):
        _refuse_bad_text(source.of(large), has_nul=not used.all())
    refuse_too_large(source, offsets)
    _refuse_cut_blanks(source.of(large), offsets)
    lead = b"\x01" if source.target.type.kind == "jsonb" else b""
    return WireColumn(0, values, source.valid, offsets, lead)


def one_character(source: Source) -> WireColumn:
    """A single byte, as ``"char"`` holds it; an empty text is its zero byte (char.c)."""
    column = text(source)
    assert column.offsets is not None  # noqa: S101  (texts have offsets)
    lengths = np.diff(column.offsets)
    source.refuse_where(lengths > 1, 'is longer than "char" holds', "let the column be text")
    held = np.zeros((len(lengths), 1), np.uint8)
    filled = lengths == 1
    held[filled, 0] = column.values[column.offsets[:-1][filled]]
    return WireColumn(1, held, column.valid)


def _refuse_cut_blanks(source: Source, offsets: npt.NDArray[np.int64]) -> None:
    """``varchar(3)`` takes more characters where the rest is blanks, and cuts those without a
    word (varchar.c, ``varchar_input``). Other texts that are too long are the server's to refuse.
    """
    type_ = source.target.type
    if type_.kind != "varchar" or type_.modifier < LENGTH_OFFSET:
        return
    limit = type_.modifier - LENGTH_OFFSET
    if not (np.diff(offsets) > limit).any():
        return
    trimmed = pc.utf8_rtrim(source.array, " ")
    lengths, kept = (
        pc.utf8_length(texts).fill_null(0).to_numpy(zero_copy_only=False)
        for texts in (source.array, trimmed)
    )
    source.refuse_where(
        (lengths > limit) & (kept <= limit),
        f"has more than {limit} characters: PostgreSQL would cut the blanks at its end",
        "cut them first, or let the column be text",
    )


def _refuse_bad_text(source: Source, *, has_nul: bool) -> None:
    """Name the first value that PostgreSQL would not take as text; the whole column is tried
    first, so that values are looked at one by one only where one of them may be bad.
    """
    try:
        source.array.validate(full=True)
        if not has_nul:
            return
    except pa.ArrowInvalid:
        pass
    for index, value in enumerate(source.array.view(pa.large_binary())):
        text = value.as_py() or b""
        if b"\x00" in text:
            raise _bad_text(source, index, text, "holds a NUL character, which PostgreSQL has not")
        try:
            text.decode("utf-8")
        except UnicodeDecodeError as error:
            why = f"is no UTF-8 (byte {error.start + 1})"
            raise _bad_text(source, index, text, why) from None


def _bad_text(source: Source, index: int, text: bytes, why: str) -> BadValueError:
    shown = repr(text[:60])[1:]
    row = source.row(index)
    return BadValueError(
        f"row {row}, column {source.target.name!r}: {shown} {why}",
        hint="mend the text, or store it in a bytea column as binary",
        column=source.target.name,
        row=row,
    )
