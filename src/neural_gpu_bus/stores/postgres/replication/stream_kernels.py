# Compiled loops take plain arrays, compare with == (`in` on a tuple is slower to compile).
# ruff: noqa: PLR0911, PLR0912, PLR0917, PLR1714, SIM109
"""One loop over what a walsender sends: where each change lies, and where transactions end.

Layout: PostgreSQL manual, "Streaming Replication Protocol" (CopyData messages with ``w``: three
numbers of eight bytes and a message; ``k``: two and a flag) and "Logical Replication Message
Formats" (a tag each). Everything is tested here to lie inside of its message, so that what later
follows these positions needs no test of its own but for what it expects of a column.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from neural_gpu_bus.stores.postgres.decoding.first_compile import say_when_compiling
from neural_gpu_bus.stores.postgres.wire.machine_words import byte, i16, i32, i64

say_when_compiling()

#: Of the files whose functions are compiled into this loop; a test says it.
COMPILED_WITH = "0e20d46323bfe274"

#: Tag and length of a message.
FRAME_BYTES = 5
#: No message of the server's is longer: its own limit of an allocation.
MESSAGE_BYTES_MAX = 1 << 30
COPY_DATA = ord("d")
LOG_DATA, KEEPALIVE = ord("w"), ord("k")
#: Of log data: its tag, where it begins, the log's end, the server's clock.
LOG_HEAD_BYTES = 25
#: Tag, the log's end, the server's clock, whether it wants an answer.
KEEPALIVE_BYTES = 18

#: Slots of the loop's state. POSITION: next byte. OPEN: whether a transaction is. WHOLE_...: all
#: before them is of whole transactions. RUN: relation of all changes since the last mark that ends
#: a run of them, or one of the two below. RECEIVED: how far the log has come. REPLY: an answer is
#: wanted.
(
    POSITION,
    CHANGES,
    MARKS,
    OPEN,
    WHOLE_POSITION,
    WHOLE_CHANGES,
    WHOLE_MARKS,
    RUN,
    RECEIVED,
    REPLY,
    FAULT,
    FAULT_POSITION,
    STATE_SLOTS,
) = range(13)

#: Instead of a relation: no changes, changes of several.
NO_CHANGES, SEVERAL = -1, -2

#: Fields of a mark, a message that is no change. AT: behind its tag. BEFORE: changes before it.
#: RUN_OF: their relation, as in the state, where it ends a run of them.
#: FIRST to THIRD: of a Begin its final LSN, its time, its xid; of a Commit the commit's LSN, the
#: end's, its time; of a keepalive the log's end.
TAG, AT, END, BEFORE, RUN_OF, FIRST, SECOND, THIRD, MARK_FIELDS = range(9)

#: What a walk stopped for: bytes are missing, another message, no room for what it found.
(MORE, OTHER_MESSAGE, FULL, FAULTY) = range(4)

(
    NO_FAULT,
    BAD_LENGTH,
    UNKNOWN_CONTENT,
    BAD_KEEPALIVE,
    UNKNOWN_MESSAGE,
    BAD_TUPLE,
    BAD_CHANGE,
    BAD_BORDER,
    NESTED,
    OUTSIDE,
) = range(10)

BEGIN, COMMIT, MESSAGE = ord("B"), ord("C"), ord("M")
INSERT, UPDATE, DELETE = ord("I"), ord("U"), ord("D")
RELATION, TYPE, ORIGIN, TRUNCATE = ord("R"), ord("Y"), ord("O"), ord("T")
NEW_TUPLE, KEY_TUPLE, OLD_TUPLE = ord("N"), ord("K"), ord("O")
NULL, UNCHANGED, TEXT, BINARY = ord("n"), ord("u"), ord("t"), ord("b")

_BEGIN_BYTES, _COMMIT_BYTES = 21, 26

_WALK = (
    "int64(uint8[::1], int64, int64[::1], uint8[::1], uint8[::1], int64[::1], int64[::1], "
    "int64[::1], int64[:, ::1])"
)


@njit(forceinline=True)
def _after_tuple(at, end):  # type: ignore[no-untyped-def]
    """Address after the tuple at ``at``, -1 where it is malformed."""
    if end - at < 2:
        return np.int64(-1)
    count = i16(at)
    if count < 0:
        return np.int64(-1)
    at += 2
    for _ in range(count):
        if end - at < 1:
            return np.int64(-1)
        kind = byte(at)
        at += 1
        if kind == BINARY or kind == TEXT:
            if end - at < 4:
                return np.int64(-1)
            length = i32(at)
            at += 4
            if length < 0 or length > end - at:
                return np.int64(-1)
            at += length
        elif kind != NULL and kind != UNCHANGED:
            return np.int64(-1)
    return at


@njit(forceinline=True)
def _walk_change(at, end, kind, base, change, old_kinds, oids, new_at, old_at):  # type: ignore[no-untyped-def]
    """Note a change whose relation stands at ``at``; the fault."""
    if end - at < 5:
        return BAD_CHANGE
    oids[change] = np.int64(np.uint32(i32(at)))
    new_at[change], old_at[change], old_kinds[change] = -1, -1, 0
    at += 4
    part = byte(at)
    if kind != INSERT and (part == KEY_TUPLE or part == OLD_TUPLE):
        old_kinds[change] = part
        old_at[change] = at + 1 - base
        at = _after_tuple(at + 1, end)
        if at < 0:
            return BAD_TUPLE
        if kind == UPDATE:
            if end - at < 1:
                return BAD_CHANGE
            part = byte(at)
    if kind != DELETE:
        if part != NEW_TUPLE:
            return BAD_CHANGE
        new_at[change] = at + 1 - base
        at = _after_tuple(at + 1, end)
        if at < 0:
            return BAD_TUPLE
    elif old_at[change] < 0:
        return BAD_CHANGE
    return NO_FAULT if at == end else BAD_CHANGE


@njit(forceinline=True)
def _walk_mark(at, end, tag, base, mark, state):  # type: ignore[no-untyped-def]
    """Note a message that is no change, whose body stands at ``at``; the fault."""
    mark[TAG], mark[AT], mark[END], mark[BEFORE] = tag, at - base, end - base, state[CHANGES]
    if tag != ORIGIN and tag != TYPE:
        mark[RUN_OF], state[RUN] = state[RUN], NO_CHANGES
    if tag == BEGIN:
        if end - at != _BEGIN_BYTES - 1:
            return BAD_BORDER
        if state[OPEN]:
            return NESTED
        mark[FIRST], mark[SECOND] = i64(at), i64(at + 8)
        mark[THIRD] = np.int64(np.uint32(i32(at + 16)))
        state[OPEN] = 1
    elif tag == COMMIT:
        if end - at != _COMMIT_BYTES - 1 or byte(at) != 0:
            return BAD_BORDER
        if not state[OPEN]:
            return OUTSIDE
        mark[FIRST], mark[SECOND], mark[THIRD] = i64(at + 1), i64(at + 9), i64(at + 17)
        state[OPEN] = 0
        state[RECEIVED] = max(state[RECEIVED], mark[SECOND])
    elif tag == RELATION or tag == TYPE or tag == ORIGIN or tag == TRUNCATE:
        if not state[OPEN]:
            return OUTSIDE
    elif tag != MESSAGE:
        return UNKNOWN_MESSAGE
    return NO_FAULT


@njit(forceinline=True)
def _walk_keepalive(at, end, state, marks):  # type: ignore[no-untyped-def]
    """Note a keepalive, whose letter stands at ``at``; the fault."""
    if end - at != KEEPALIVE_BYTES or byte(at + 17) > 1:
        return BAD_KEEPALIVE
    state[RECEIVED] = max(state[RECEIVED], i64(at + 1))
    state[REPLY] |= np.int64(byte(at + 17))
    if not state[OPEN]:
        mark = marks[state[MARKS]]
        mark[TAG], mark[BEFORE], mark[FIRST] = KEEPALIVE, state[CHANGES], i64(at + 1)
        state[MARKS] += 1
    return NO_FAULT


@njit(_WALK, nogil=True, cache=True)
def walk_stream(buffer, stop, state, kinds, old_kinds, oids, new_at, old_at, marks):  # type: ignore[no-untyped-def]
    """Walk whole messages of ``buffer[:stop]`` from the state's position; note changes and marks.
    Returns what it stopped for.
    """
    # numba counts references to arrays that are handed to a function in a loop: with the changes in
    # one of their own it took 54 ns a row instead of 23.
    base = np.int64(buffer.ctypes.data)
    limit = base + stop
    while True:
        at = base + state[POSITION]
        if limit - at < FRAME_BYTES:
            return np.int64(MORE)
        if byte(at) != COPY_DATA:
            return np.int64(OTHER_MESSAGE)
        length = i32(at + 1)
        state[FAULT_POSITION] = state[POSITION]
        if length < FRAME_BYTES or length > MESSAGE_BYTES_MAX:
            state[FAULT] = BAD_LENGTH
            return np.int64(FAULTY)
        end = at + 1 + length
        if end > limit:
            return np.int64(MORE)
        change, number = state[CHANGES], state[MARKS]
        if change == kinds.size or number == marks.shape[0]:
            return np.int64(FULL)
        content, fault = byte(at + FRAME_BYTES), NO_FAULT
        at += FRAME_BYTES
        if content == LOG_DATA:
            if end - at <= LOG_HEAD_BYTES:
                fault = BAD_LENGTH
            else:
                state[RECEIVED] = max(state[RECEIVED], i64(at + 1))
                at += LOG_HEAD_BYTES
                tag = byte(at)
                if tag == INSERT or tag == UPDATE or tag == DELETE:
                    kinds[change] = tag
                    fault = OUTSIDE
                    if state[OPEN]:
                        fault = _walk_change(
                            at + 1, end, tag, base, change, old_kinds, oids, new_at, old_at
                        )
                    state[CHANGES] = change + 1
                    if state[RUN] == NO_CHANGES:
                        state[RUN] = oids[change]
                    elif state[RUN] != oids[change]:
                        state[RUN] = SEVERAL
                else:
                    fault = _walk_mark(at + 1, end, tag, base, marks[number], state)
                    state[MARKS] = number + 1
        elif content == KEEPALIVE:
            fault = _walk_keepalive(at, end, state, marks)
        else:
            fault = UNKNOWN_CONTENT
        if fault != NO_FAULT:
            state[FAULT] = fault
            return np.int64(FAULTY)
        state[POSITION] = end - base
        if not state[OPEN]:
            state[WHOLE_POSITION] = state[POSITION]
            state[WHOLE_CHANGES], state[WHOLE_MARKS] = state[CHANGES], state[MARKS]
