"""Values of every type read slowly and plainly from their bytes, as Arrow shows them in Python."""

from __future__ import annotations

import socket
import struct
from decimal import Context, Decimal
from typing import Any

from neural_gpu_bus.stores.postgres.decoding.type_tree import (
    ArrayOf,
    Composite,
    Enum,
    Fixed,
    ItemsOf,
    Node,
    PackedOf,
    RangeOf,
    TextMap,
    Value,
)
from plain_copy_decode import NotReadableError, value

WIDE = Context(prec=200_000)
INTEGERS = {"uint32": "!I", "uint16": "!H", "uint64": "!Q", "int16": "!h", "float16": "!e"}


class Reader:
    """Bytes taken from the front."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def take(self, count: int) -> bytes:
        if not 0 <= count <= len(self.raw):
            raise NotReadableError("cut")
        taken, self.raw = self.raw[:count], self.raw[count:]
        return taken

    def number(self, form: str = "!i") -> int:
        found: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return found

    def counted(self, *, nulls: bool = True) -> bytes | None:
        length = self.number()
        if length == -1 and nulls:
            return None
        return self.take(length)

    def end(self) -> None:
        if self.raw:
            raise NotReadableError("too long")


def plain(raw: bytes | None, node: Node) -> Any:
    """A value, None for NULL. Raises NotReadableError."""
    if raw is None:
        return None
    try:
        return _plain(raw, node)
    except struct.error as error:
        raise NotReadableError(str(error)) from error


def _plain(raw: bytes, node: Node) -> Any:
    reader = Reader(raw)
    match node:
        case Value():
            return _single(raw, node)
        case Enum():
            return raw
        case ArrayOf():
            found = _array(reader, node)
        case ItemsOf():
            count = reader.number()
            if count < 0:
                raise NotReadableError("count")
            found = [plain(reader.counted(nulls=False), node.item) for _ in range(count)]
        case PackedOf():
            found = _packed(reader, node)
        case Fixed():
            return _fixed(raw, node)
        case Composite():
            found = _composite(reader, node)
        case RangeOf():
            found = _range(reader, node)
        case TextMap():
            count = reader.number()
            if count < 0:
                raise NotReadableError("count")
            found = [(reader.counted(nulls=False), reader.counted()) for _ in range(count)]
    reader.end()
    return found


def _array(reader: Reader, node: ArrayOf) -> Any:
    dimensions, flag, oid = reader.number(), reader.number(), reader.number("!I")
    if not 0 <= dimensions <= 6 or flag not in (0, 1) or oid != node.item_oid:
        raise NotReadableError("array")
    sizes = []
    for _ in range(dimensions):
        size, lower = reader.number(), reader.number()
        if size < 0 or size > 1_000_000 or lower != node.lower_bound:
            raise NotReadableError("dimension")
        sizes.append(size)
    return _level(reader, node.item, sizes) if sizes else []


def _level(reader: Reader, item: Node, sizes: list[int]) -> Any:
    if not sizes:
        return plain(reader.counted(), item)
    return [_level(reader, item, sizes[1:]) for _ in range(sizes[0])]


def _packed(reader: Reader, node: PackedOf) -> Any:
    count = struct.unpack_from("!h" if node.count_bytes == 2 else "!i", reader.raw)[0]
    reader.take(node.head_bytes)
    if count < 0 or len(reader.raw) != count * node.item_bytes or node.size not in (None, count):
        raise NotReadableError("packed")
    return [plain(reader.take(node.item_bytes), node.item) for _ in range(count)]


def _fixed(raw: bytes, node: Fixed) -> Any:
    _, last_at, last_bytes, _ = node.parts[-1]
    if len(raw) < last_at + last_bytes or (last_bytes and len(raw) != last_at + last_bytes):
        raise NotReadableError("fixed")
    return {
        name: plain(raw[at : at + size] if size else raw[at:], part)
        for name, at, size, part in node.parts
    }


def _composite(reader: Reader, node: Composite) -> Any:
    if reader.number() != len(node.fields):
        raise NotReadableError("fields")
    found = {}
    for name, oid, part in node.fields:
        if reader.number("!I") != oid:
            raise NotReadableError("oid")
        found[name] = plain(reader.counted(), part)
    return found


def _range(reader: Reader, node: RangeOf) -> Any:
    flags = reader.take(1)[0]
    bounds = []
    for infinite in (8, 16):
        absent = flags & 1 or flags & infinite
        bounds.append(None if absent else plain(reader.counted(nulls=False), node.bound))
    return {
        "lower": bounds[0],
        "upper": bounds[1],
        "lower_inclusive": bool(flags & 2),
        "upper_inclusive": bool(flags & 4),
        "empty": bool(flags & 1),
    }


def _single(raw: bytes, node: Value) -> Any:  # noqa: PLR0911 - types have many forms
    name = node.type_name
    if name.startswith("numeric"):
        return _numeric(raw, node.arrow)
    if name == "interval":
        return _interval(raw)
    if name == "money":
        return Decimal(struct.unpack("!q", raw)[0]).scaleb(-2, WIDE)
    if name in ("inet", "cidr"):
        return _address(raw)
    if name in ("macaddr", "macaddr8"):
        if len(raw) not in (6, 8):
            raise NotReadableError("mac")
        return raw.hex(":").encode()
    if name in ("bit", "bit varying"):
        return _bits(raw)
    if node.arrow in INTEGERS:
        return struct.unpack(INTEGERS[node.arrow], raw)[0]
    if node.layout == UTC_OFFSET:
        seconds = struct.unpack("!i", raw)[0]
        return seconds if seconds == -(1 << 31) else -seconds
    if name == "jsonpath":
        name = "jsonb"
    return value(raw, name)


UTC_OFFSET = 23


def _interval(raw: bytes) -> Any:
    time_us, days, months = struct.unpack("!qii", raw)
    if abs(time_us) * 1000 >= 1 << 63:
        raise NotReadableError("interval")
    return (months, days, time_us * 1000)


def _address(raw: bytes) -> bytes:
    if len(raw) < 4:
        raise NotReadableError("inet")
    family, bits, is_cidr, count = raw[:4]
    size = {2: 4, 3: 16}.get(family)
    if count != size or len(raw) != 4 + size or bits > 8 * size:
        raise NotReadableError("inet")
    text = socket.inet_ntop(socket.AF_INET if family == 2 else socket.AF_INET6, raw[4:])
    return (text + (f"/{bits}" if is_cidr or bits != 8 * size else "")).encode()


def _bits(raw: bytes) -> bytes:
    count = struct.unpack_from("!i", raw)[0]
    if count < 0 or len(raw) != 4 + (count + 7) // 8:
        raise NotReadableError("bits")
    return "".join(f"{octet:08b}" for octet in raw[4:])[:count].encode()


def _numeric(raw: bytes, arrow: str) -> Any:
    count, weight, sign, shown = struct.unpack_from("!hhHH", raw)
    groups = struct.unpack(f"!{max(count, 0)}H", raw[8:])
    known = sign in (0, 0x4000, 0xC000, 0xD000, 0xF000)
    if count < 0 or not known or shown > 0x3FFF:
        raise NotReadableError("numeric")
    special = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}.get(sign)
    if special:
        if arrow.startswith("decimal"):
            raise NotReadableError("not finite")
        return special.encode() if arrow == "large_string" else float(special)
    if any(group > 9999 for group in groups):
        raise NotReadableError("digit")
    whole = Decimal(int("".join(f"{group:04}" for group in groups) or "0"))
    number = whole.scaleb(4 * (weight - count + 1), WIDE)
    if arrow == "large_string":
        return _numeric_text(groups, weight, sign, shown)
    number = number.copy_negate() if sign else number
    if arrow == "float64":
        return _double(number)
    precision, scale = (int(n) for n in arrow.split("(")[1].rstrip(")").split(","))
    unscaled = number.scaleb(scale, WIDE)
    too_long = unscaled.copy_abs() >= Decimal(1).scaleb(precision)
    if unscaled != unscaled.to_integral_value() or too_long:
        raise NotReadableError("digits")
    return int(unscaled)


def _double(number: Decimal) -> float:
    found = float(number)
    if number and (found == 0.0 or found in (float("inf"), float("-inf"))):
        raise NotReadableError("range")
    return found if number else 0.0


def _numeric_text(groups: tuple[int, ...], weight: int, sign: int, shown: int) -> bytes:
    def group(index: int) -> int:
        return groups[index] if 0 <= index < len(groups) else 0

    whole = "0"
    if weight >= 0:
        first, *others = [group(index) for index in range(weight + 1)]
        whole = str(first) + "".join(f"{digit:04}" for digit in others)
    behind = "".join(f"{group(weight + 1 + at):04}" for at in range((shown + 3) // 4))[:shown]
    return (("-" if sign else "") + whole + ("." + behind if shown else "")).encode()
