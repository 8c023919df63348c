"""Values of every type, cut at every byte and with each byte flipped: an error, or what a plain
decoder reads; never a crash, never another value. ``tests/corpus`` keeps the bytes.
"""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadValueError, ProtocolError
from neural_gpu_bus.stores.postgres.decoding.column_types import SourceColumn, source_column
from neural_gpu_bus.stores.postgres.decoding.copy_decode import (
    CopyScan,
    ReceivedPart,
    write_columns,
)
from neural_gpu_bus.stores.postgres.decoding.known_types import DescribedType, KnownTypes
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from plain_copy_decode import NotReadableError
from plain_reservation import PlainReservation
from plain_type_decode import plain

CORPUS = Path(__file__).parents[4] / "corpus"
ENTRIES: list[dict[str, Any]] = json.loads((CORPUS / "values.json").read_text())
#: Mutants that were read wrongly once, or that no flip of one byte makes.
KEPT: list[dict[str, Any]] = json.loads((CORPUS / "mutants.json").read_text())
BY_TYPE = {entry["type"]: entry for entry in ENTRIES}
HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
FLIPS = (0x01, 0x80, 0xFF)


def column_of(entry: dict[str, Any], numeric: str = "exact") -> SourceColumn:
    described = [
        DescribedType(
            **{
                **found,
                "labels": tuple(found.get("labels", ())),
                "fields": tuple(tuple(field) for field in found.get("fields", ())),
            }
        )
        for found in entry["types"]
    ]
    known = KnownTypes({found.oid: found for found in described}, money_scale=2)
    options = ReadOptions(numeric=numeric)
    return source_column("x", entry["oid"], entry["modifier"], known=known, options=options)


def raw_type(kind: Any) -> Any:  # noqa: PLR0911 - types have many forms
    """The same layout, with values as they lie in memory: flipped text is no UTF-8."""
    if pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, raw_type(kind.value_type))
    if pa.types.is_decimal(kind) or pa.types.is_interval(kind):
        return pa.binary(kind.bit_width // 8)
    if pa.types.is_temporal(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(raw_type(kind.value_type), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(raw_type(kind.value_type))
    if pa.types.is_map(kind):
        return pa.map_(raw_type(kind.key_type), raw_type(kind.item_type))
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, raw_type(f.type)) for f in kind])
    return kind


class RawReservation(PlainReservation):
    """Seals values as they lie in memory."""

    def seal(self, name: str | None = None, **_: int) -> pa.Table:
        self.kinds = list(self.schema.types)
        self.schema = pa.schema([(f.name, raw_type(f.type)) for f in self.schema])
        self._dictionaries = {
            path: values.view(pa.large_binary()) for path, values in self._dictionaries.items()
        }
        return super().seal(name)


def shown(value: Any, kind: Any) -> Any:
    """A raw value as the plain decoder has it."""
    if value is None:
        return None
    if pa.types.is_decimal(kind):
        return int.from_bytes(value, "little", signed=True)
    if pa.types.is_interval(kind):
        return struct.unpack("=iiq", value)
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return [shown(part, kind.value_type) for part in value]
    if pa.types.is_struct(kind):
        return {f.name: shown(value[f.name], f.type) for f in kind}
    return value


def money_as_cents(value: Any, column: SourceColumn) -> Any:
    return int(value.scaleb(2)) if column.type_name == "money" and value is not None else value


def stream_of(values: list[bytes | None]) -> bytes:
    rows = [
        b"\0\1" + (struct.pack("!i", -1) if raw is None else struct.pack("!i", len(raw)) + raw)
        for raw in values
    ]
    return HEADER + b"".join(rows) + TRAILER


def compiled(values: list[bytes | None], column: SourceColumn) -> list[Any]:
    import numpy as np

    buffer = np.frombuffer(bytearray(stream_of(values)), np.uint8)
    scan = CopyScan([column], framed=False)
    scan.feed(buffer, buffer.size)
    scan.finish(buffer, buffer.size)
    filled: Any = write_columns([ReceivedPart(buffer, scan)], RawReservation)
    table = filled.seal()
    return [shown(value, filled.kinds[0]) for value in table["x"].to_pylist()]


def agree(values: list[bytes | None], column: SourceColumn) -> bool:
    """Both refuse, or both read the same; whether it was read."""
    try:
        expected = [money_as_cents(plain(raw, column.node), column) for raw in values]
    except NotReadableError:
        expected = None
    try:
        found = compiled(values, column)
    except ProtocolError:
        assert expected is None
        return False
    except BadValueError as error:
        refused = error.what
        assert expected is None or "dimension(s)" in refused
        return False
    assert expected is not None
    assert repr(found) == repr(expected)
    return True


def mutants(raw: bytes) -> Iterator[bytes]:
    yield from (raw[:stop] for stop in range(len(raw)))
    yield raw + b"\0"
    for at in range(len(raw)):
        for flip in FLIPS:
            yield raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :]


CHOICES = [
    *((entry["type"], "exact") for entry in ENTRIES),
    *(("numeric", choice) for choice in ("float64", "decimal128(38, 6)", "decimal256(76, 51)")),
]


@pytest.mark.parametrize(("name", "numeric"), CHOICES)
def test_values_of_the_server_are_read_as_the_plain_decoder_reads_them(
    name: str, numeric: str
) -> None:
    column = column_of(BY_TYPE[name], numeric)
    for text in BY_TYPE[name]["values"]:
        raw = bytes.fromhex(text)
        read = agree([None, raw, raw, None], column)
        assert read or numeric.startswith("decimal")


@pytest.mark.parametrize(("name", "numeric"), CHOICES)
def test_a_broken_value_gives_an_error_or_what_the_plain_decoder_reads(
    name: str, numeric: str
) -> None:
    column = column_of(BY_TYPE[name], numeric)
    for text in BY_TYPE[name]["values"]:
        for raw in mutants(bytes.fromhex(text)):
            agree([None, raw], column)


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: f"{kept['type']}-{kept['why']}")
def test_kept_mutants_are_read_as_the_plain_decoder_reads_them(kept: dict[str, Any]) -> None:
    column = column_of(BY_TYPE[kept["type"]], kept.get("numeric", "exact"))

    agree([None, bytes.fromhex(kept["bytes"])], column)


@pytest.mark.soak
def test_many_random_mutants() -> None:
    """Several bytes at once, pieces moved and doubled; the seed is printed."""
    seed = int(os.environ.get("NGB_TEST_SEED", str(random.randrange(1 << 32))))
    print(f"NGB_TEST_SEED={seed}")
    dice = random.Random(seed)
    columns = {choice: column_of(BY_TYPE[choice[0]], choice[1]) for choice in CHOICES}
    for _ in range(300_000):
        choice = dice.choice(CHOICES)
        raw = bytearray(bytes.fromhex(dice.choice(BY_TYPE[choice[0]]["values"])))
        for _ in range(dice.randint(1, 4)):
            mutate(raw, dice)
        agree([None, bytes(raw), None], columns[choice])


def mutate(raw: bytearray, dice: random.Random) -> None:
    at = dice.randrange(len(raw) + 1)
    action = dice.randrange(4)
    if action == 0 and raw:
        raw[at % len(raw)] = dice.choice([0, 1, 2, 127, 128, 255, dice.randrange(256)])
    elif action == 1:
        del raw[at : at + dice.randint(1, 4)]
    elif action == 2:
        raw[at:at] = dice.randbytes(dice.randint(1, 4))
    else:
        start = dice.randrange(len(raw) + 1)
        raw[at:at] = raw[start : start + 8]
