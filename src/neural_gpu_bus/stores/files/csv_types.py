"""The type of a CSV column, from all of its values.

What most of its first values are, the column is: number, date or time, true/false, else text.
Within that kind it widens over the whole file (whole number to float, date to time, microseconds
to nanoseconds). A later value of another kind is refused by row and column rather than turning a
column of prices into text in silence; a column that is meant as text can be declared so.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from neural_gpu_bus.stores.arrow_values import first_true
from neural_gpu_bus.stores.files.csv_values import (
    NULL_SPELLINGS,
    cast_text,
    expected,
    first_misfit,
)

#: Values that decide a column's kind.
SAMPLE_VALUES = 1000

#: Whole numbers up to here are exact in a float64.
_FLOAT_EXACT_MAX = 1 << 53

#: Whole numbers that may be beyond it, in RE2's words.
_LARGE = r"^\s*[+-]?[0-9]{16,}\s*$"
_ZERO_FIRST = "^0."

_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE
)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d([ T]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?(?P<zone>Z|[+-]\d\d(:?\d\d)?)?)?"
)
_TRUTH = re.compile(r"true|false", re.IGNORECASE)
#: 007 is a name and not seven; more than 18 digits are an identity and not a quantity.
_CODE = re.compile(r"[+-]?(0\d+|\d{19,})")

#: Numbers as people write them and no float is read: 1.234,5 and 1,234.5 and 1,5 and 5% and $5.
_WRITTEN_NUMBER = re.compile(
    r"[+-]?[$€£]?(\d{1,3}([.,'\u00a0\u202f]\d{3})+([.,]\d+)?|\d+([.,]\d+)?)\s?[%$€£]?"
)

#: Types of each kind, each holding all that stand before it.
_LADDERS: dict[str, tuple[pa.DataType, ...]] = {
    "number": (pa.int64(), pa.float64()),
    "time": (pa.date32(), pa.timestamp("us"), pa.timestamp("ns")),
    "time with zone": (pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")),
    "truth": (pa.bool_(),),
    "text": (pa.string(),),
}


def is_number(text: str) -> bool:
    """True for what a float column takes."""
    return _NUMBER.fullmatch(text.strip()) is not None


def _word(value: Any) -> str:
    """A scalar as text; nobody has checked yet that it is UTF-8."""
    content: bytes = value.cast(pa.binary()).as_py() or b""
    return content.decode("utf-8", "replace").strip()


def _kind_of(value: str) -> str:
    if _CODE.fullmatch(value):
        return "code"
    if is_number(value):
        return "number"
    time = _TIME.fullmatch(value)
    if time is not None:
        return "time with zone" if time["zone"] else "time"
    return "truth" if _TRUTH.fullmatch(value) else "text"


class ColumnSurvey:
    """Looks at a column batch after batch and knows its type at the end."""

    def __init__(self) -> None:
        self._ladder: tuple[pa.DataType, ...] = ()
        self._step = 0
        self._met_code = False
        self._large_before = False
        self._beyond_float = False
        #: A value of a text column whose values are mostly numbers to people.
        self.written_number: str | None = None

    @property
    def type(self) -> pa.DataType:
        """The type so far; text for a column of nothing but NULL."""
        return self._ladder[self._step] if self._ladder else pa.string()

    @property
    def expected(self) -> str:
        """What the column holds, in words."""
        if self._met_code:
            return "a number (with leading zeros or more than 18 digits it is a name)"
        if self._beyond_float:
            return "exact beside numbers with a fraction (it has more than 15 digits)"
        return expected(self._ladder[-1])

    def way_out(self, name: str) -> str:
        """What to do about a value that is of another kind."""
        return (
            f"mend the value; or, if the column is text, say so: --text {name} "
            "(nothing of the file was loaded)"
        )

    def look_at(self, text: Any) -> int | None:
        """Take a batch of the column in; index of the first value that does not fit, if any."""
        if not self._ladder:
            self._choose_ladder(text)
        while self._ladder:
            misfit = self._misfit(text)
            if misfit is None or self._step == len(self._ladder) - 1:
                return misfit
            self._met_code = _CODE.fullmatch(_word(text[misfit])) is not None
            if self._met_code:
                return misfit
            self._step += 1
            if self.type == pa.float64():
                large = first_true(pc.match_substring_regex(text, _LARGE))
                self._beyond_float = large is not None or self._large_before
                if self._beyond_float:
                    return misfit if large is None else large
        return None

    def _choose_ladder(self, text: Any) -> None:
        words = [_word(value) for value in text.drop_null().slice(0, SAMPLE_VALUES)]
        kinds = Counter(_kind_of(word) for word in words if word not in NULL_SPELLINGS)
        if not kinds:
            return
        kind, count = kinds.most_common(1)[0]
        is_plain = count * 2 > kinds.total() and kind in _LADDERS and not kinds["code"]
        self._ladder = _LADDERS[kind if is_plain else "text"]
        if self.type == pa.string():
            self._look_for_numbers(words, kinds)

    def _look_for_numbers(self, words: list[str], kinds: Counter[str]) -> None:
        written = [
            word
            for word in words
            if _kind_of(word) == "text" and _WRITTEN_NUMBER.fullmatch(word) is not None
        ]
        if written and (len(written) + kinds["number"]) * 2 > kinds.total():
            self.written_number = written[0]

    def _misfit(self, text: Any) -> int | None:
        type_ = self.type
        try:
            values = cast_text(text, type_)
        except pa.ArrowInvalid:
            return first_misfit(text, type_)
        if type_ == pa.int64():
            return self._leading_zero(text, values)
        return None

    def _leading_zero(self, text: Any, values: Any) -> int | None:
        """Whole numbers must come back as they were written; remember whether some are large."""
        limits = pc.min_max(values)
        known = [abs(v) for v in (limits["min"].as_py(), limits["max"].as_py()) if v is not None]
        self._large_before |= max(known, default=0) > _FLOAT_EXACT_MAX
        starts = pc.starts_with(text, "0")
        if not pc.any(starts).as_py():
            return None
        return first_true(pc.match_substring_regex(text, _ZERO_FIRST))
