"""Quotes of a CSV that do not pair up: one that nothing closes takes all rows after it into its
value, which no parser objects to.

A quote opens a value only where the value begins; inside, it is written twice; what follows the
closing one is a delimiter or the line's end (RFC 4180, section 2). Elsewhere a quote is a letter.
"""

from __future__ import annotations

import atexit
import gc
import time
import weakref
from dataclasses import dataclass
from typing import Protocol

import numba
import numpy as np

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: Where the scan stands.
_LINE_START, _VALUE_START, _PLAIN, _QUOTED, _AFTER_QUOTE = range(5)

#: Slots of its state; ROWS counts the header too.
_STATE, _LINE, _ROWS, _OPENED_LINE, _OPENED_ROW, _AFTER_RETURN, _SLOTS = range(7)

_QUOTE, _NEWLINE, _RETURN = b'"'[0], b"\n"[0], b"\r"[0]

#: How long a process that ends waits for a thread that reads ahead: one piece from a disk. It waits
#: in vain where that thread has filled its queue, after a file that was given up half-way.
AT_END_S = 0.2
PAUSE_AT_END_S = 0.5e-3


@dataclass(frozen=True, slots=True)
class BadQuote:
    """A quote that opens a value and is not closed as it should."""

    #: Row (0 is the header) and line in which it stands.
    row: int
    line: int
    #: Line of a quote that text follows; None when the file ends before any other quote.
    next_line: int | None

    def __str__(self) -> str:
        where = f"row {self.row}" if self.row else "the header"
        why = (
            "nothing closes it"
            if self.next_line is None
            else f"text follows the next quote (line {self.next_line})"
        )
        return f"{where} (line {self.line}): a quote opens a value there and {why}"


class QuoteScan:
    """Looks at a file piece by piece."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = ord(delimiter)
        self._slots = np.zeros(_SLOTS, np.int64)
        self._slots[_LINE] = 1
        self._at_start = True
        self._met_text = False

    def take(self, piece: bytes) -> None:
        """The next bytes of the file."""
        if self._at_start and piece:
            piece = piece.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
        if not self._met_text:
            block = np.frombuffer(piece, np.uint8)
            self._met_text = bool(_scan(block, self._delimiter, self._slots))

    @property
    def text_after_quote(self) -> BadQuote | None:
        """The first quote so far that opens a value whose closing quote text follows."""
        return self._found(int(self._slots[_LINE])) if self._met_text else None

    @property
    def at_end(self) -> BadQuote | None:
        """What is wrong once the whole file was taken."""
        is_open = self._slots[_STATE] == _QUOTED
        return self.text_after_quote or (self._found(None) if is_open else None)

    def _found(self, next_line: int | None) -> BadQuote:
        row, line = int(self._slots[_OPENED_ROW]), int(self._slots[_OPENED_LINE])
        return BadQuote(row, line, next_line)


class Source(Protocol):
    """What bytes are read from."""

    def read(self, nbytes: int) -> bytes:
        """Up to so many bytes; none at the end."""


class ScannedSource:
    """A source that shows what is read from it to a scan; as much of a file as Arrow asks for."""

    closed = False

    def __init__(self, source: Source, scan: QuoteScan) -> None:
        self._source = source
        self._scan = scan
        self._given_up = False
        _open_sources.add(self)

    def read(self, nbytes: int) -> bytes:
        """The source's bytes; none once the process ends."""
        piece = b"" if self._given_up else self._source.read(nbytes)
        self._scan.take(piece)
        return piece

    def close(self) -> None:
        """Nothing: who opened the source closes it."""

    def give_up(self) -> None:
        """No more bytes."""
        self._given_up = True


#: A file that was found bad is still being read ahead, by a thread of Arrow's that calls back here.
#: When it does while Python goes down, the process ends by abort() and not by its own exit code.
_open_sources: weakref.WeakSet[ScannedSource] = weakref.WeakSet()


@atexit.register
def _give_up_reading() -> None:
    """Until Arrow's threads have let go of all sources, which is the last that they do here: one
    that has read its last bytes has still to come back out of Python.
    """
    end_s = time.monotonic() + AT_END_S
    for source in list(_open_sources):
        source.give_up()
        del source
    if _open_sources:
        gc.collect()  # an error's traceback holds them, and is held by it
    while _open_sources and time.monotonic() < end_s:
        time.sleep(PAUSE_AT_END_S)


@numba.njit(nogil=True, cache=True)
def _scan(block, delimiter, slots):  # type: ignore[no-untyped-def]  # noqa: PLR0912  # one pass
    """True at text that follows a closing quote; the state is then as it was at that quote."""
    state, line, rows = slots[_STATE], slots[_LINE], slots[_ROWS]
    after_return = slots[_AFTER_RETURN]
    met_text = False
    for at in range(block.size):
        byte = block[at]
        if byte == _NEWLINE or byte == _RETURN:  # noqa: PLR1714, SIM109  # `in` compiles slower
            if byte == _RETURN or not after_return:
                line += 1
            if state != _QUOTED:
                state = _LINE_START
        elif state == _QUOTED:
            if byte == _QUOTE:
                state = _AFTER_QUOTE
        elif state == _AFTER_QUOTE:
            if byte == _QUOTE:
                state = _QUOTED
            elif byte == delimiter:
                state = _VALUE_START
            else:
                met_text = True
                break
        elif state != _PLAIN or byte == delimiter:
            if state == _LINE_START:
                rows += 1
            if byte == _QUOTE:
                slots[_OPENED_LINE], slots[_OPENED_ROW] = line, rows - 1
                state = _QUOTED
            else:
                state = _VALUE_START if byte == delimiter else _PLAIN
        after_return = byte == _RETURN
    slots[_STATE], slots[_LINE], slots[_ROWS] = state, line, rows
    slots[_AFTER_RETURN] = after_return
    return met_text
