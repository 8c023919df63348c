"""Numbers that compiled loops and their callers agree on: layouts, widths, slots and faults.

numba keeps compiled loops until the loop's own file changes: whoever changes a number here touches
the files that use it.
"""

from __future__ import annotations

#: How the bytes of a value are laid out and what they become. CODES: a text whose code in a
#: dictionary the scan found. CELLS: bytes that ``cells`` takes apart. UTC_OFFSET: seconds that the
#: wire counts to the west. BITS, INET, MAC and NUMERIC_TEXT are formatted as the server does.
(
    FLOAT8,
    INT8,
    TIMESTAMP,
    FLOAT4,
    INT4,
    DATE,
    INT2,
    BOOL,
    TIME,
    UUID,
    TEXT,
    JSONB,
    CHAR,
    CODES,
    CELLS,
    MONEY,
    INTERVAL,
    DECIMAL,
    NUMERIC_FLOAT,
    NUMERIC_TEXT,
    INET,
    BITS,
    MAC,
    UTC_OFFSET,
) = range(24)

#: Widths that are no fixed number of bytes. ANY: the text itself. ONE_OR_MORE: after jsonb's
#: version. ONE_CHARACTER: ``"char"``. HASHED: text that may become a dictionary. OPAQUE: looked at
#: when it is written. The others: formatted texts.
(
    ANY_WIDTH,
    ONE_OR_MORE,
    ONE_CHARACTER,
    HASHED,
    OPAQUE,
    NUMERIC_WIDTH,
    INET_WIDTH,
    BITS_WIDTH,
    MAC_WIDTH,
) = range(-1, -10, -1)

#: Bytes of one value on the wire, by layout.
WIDTHS = {
    FLOAT8: 8,
    INT8: 8,
    TIMESTAMP: 8,
    FLOAT4: 4,
    INT4: 4,
    DATE: 4,
    INT2: 2,
    BOOL: 1,
    TIME: 8,
    UUID: 16,
    TEXT: ANY_WIDTH,
    JSONB: ONE_OR_MORE,
    CHAR: ONE_CHARACTER,
    CODES: HASHED,
    CELLS: OPAQUE,
    MONEY: 8,
    INTERVAL: 16,
    DECIMAL: OPAQUE,
    NUMERIC_FLOAT: OPAQUE,
    NUMERIC_TEXT: NUMERIC_WIDTH,
    INET: INET_WIDTH,
    BITS: BITS_WIDTH,
    MAC: MAC_WIDTH,
    UTC_OFFSET: 4,
}

#: Layouts that become offsets and bytes.
TEXTS = frozenset({TEXT, JSONB, CHAR, NUMERIC_TEXT, INET, BITS, MAC})

#: Slots of a loop's state. POSITION: next byte. FAULT: one of the faults below, 0 for none.
#: TAG: of the messages that hold rows. SCRATCH: address of room for one formatted text.
(
    POSITION,
    ROWS,
    STAGE,
    FAULT,
    FAULT_POSITION,
    FAULT_COLUMN,
    TAG,
    SCRATCH,
    STATE_SLOTS,
) = range(9)

#: Room for a number's digits on their way to ``strtod``, and for an address of the internet.
SCRATCH_BYTES = 1024

#: Slots of a part: first byte in its buffer, first row of the reservation and row behind the last,
#: bytes of a bitmap that its first and last row share with other parts (-1: none).
START, FIRST_ROW, END_ROW, SHARED_FIRST, SHARED_LAST, PART_SLOTS = range(6)

#: Stages of a stream. SPLIT: a row goes on in the next message, which the fast loop does not read.
HEADER, IN_ROWS, ENDED, SPLIT = range(4)

#: What a scan stopped for.
(MORE, OTHER_MESSAGE, FAULTY) = range(3)

#: Faults of the stream, then of single values, then of what lies inside of a value.
(
    NO_FAULT,
    BAD_MESSAGE_LENGTH,
    BAD_SIGNATURE,
    BAD_FLAGS,
    BAD_FIELD_COUNT,
    BAD_LENGTH,
    BAD_WIDTH,
    AFTER_END,
    CUT,
    IS_INFINITE,
    OUT_OF_RANGE,
    BAD_BOOL,
    BAD_JSONB,
    BAD_NUMERIC,
    NOT_A_NUMBER,
    INEXACT,
    BAD_VALUE,
    OTHER_TYPE,
    LOWER_BOUND,
) = range(19)

#: Fields of a plan: a matrix with one row for each column of the result. Addresses, 0 for none.
#: PARAMETER: of a DECIMAL, see ``decimal_parameter``; of MONEY nothing.
LAYOUT, VALUES, VALIDITY, OFFSETS, DATA, PARAMETER, PLAN_FIELDS = range(7)

#: Slots of a column's texts, a matrix with one row for each column. Addresses of the codes, the
#: table, the entries and the bytes of texts known before; LIMIT: most entries; FREE: entries
#: before their share of the rows counts, -1 where it never does.
(
    CODES_AT,
    TABLE_AT,
    ENTRIES_AT,
    KNOWN_AT,
    TABLE_MASK,
    LIMIT,
    FREE,
    ENTRIES,
    LAST_CODE,
    TEXT_SLOTS,
) = range(10)


def decimal_parameter(bits: int, precision: int, scale: int) -> int:
    """Words, precision and scale of a DECIMAL in one number."""
    return bits // 64 | precision << 8 | (scale + 32_768) << 16
