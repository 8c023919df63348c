"""PostgreSQL's own types by object id (pg_type.dat): readable without asking the server."""

from __future__ import annotations

from neural_gpu_bus.stores.postgres.decoding import layouts
from neural_gpu_bus.stores.postgres.decoding.type_tree import Fixed, Node, PackedOf, Value

_FLOAT = Value("double precision", layouts.FLOAT8, "float64")
_UNSIGNED_16 = Value("smallint", layouts.INT2, "uint16")
_UNSIGNED_32 = Value("oid", layouts.INT4, "uint32")
_UTC_OFFSET = Value("integer", layouts.UTC_OFFSET, "int32")
_BOOLEAN = Value("boolean", layouts.BOOL, "bool_")
_TIME = Value("time", layouts.TIME, "time64[us]")


def _text(name: str, arrow: str = "large_string") -> Value:
    return Value(name, layouts.TEXT, arrow, is_text=arrow == "large_string")


def _formatted(name: str, layout: int, wire_bytes: int = 0) -> Value:
    return Value(name, layout, "large_string", wire_bytes=wire_bytes)


def _floats(name: str, parts: tuple[str, ...]) -> Fixed:
    """A struct of doubles."""
    return Fixed(name, tuple((part, 8 * at, 8, _FLOAT) for at, part in enumerate(parts)))


_POINT = _floats("point", ("x", "y"))
_POLYGON = PackedOf("polygon", _POINT, 4, 4, 16)

#: OID -> what it is. Numbers, times and texts.
VALUES: dict[int, Node] = {
    16: Value("boolean", layouts.BOOL, "bool_"),
    17: Value("bytea", layouts.TEXT, "large_binary"),
    18: Value('"char"', layouts.CHAR, "large_string"),
    19: _text("name"),
    20: Value("bigint", layouts.INT8, "int64"),
    21: Value("smallint", layouts.INT2, "int16"),
    23: Value("integer", layouts.INT4, "int32"),
    25: _text("text"),
    26: Value("oid", layouts.INT4, "uint32"),
    27: Fixed("tid", (("block", 0, 4, _UNSIGNED_32), ("offset", 4, 2, _UNSIGNED_16))),
    28: Value("xid", layouts.INT4, "uint32"),
    29: Value("cid", layouts.INT4, "uint32"),
    114: Value("json", layouts.TEXT, "large_string"),
    142: Value("xml", layouts.TEXT, "large_string"),
    600: _POINT,
    601: _floats("lseg", ("x1", "y1", "x2", "y2")),
    602: Fixed("path", (("closed", 0, 1, _BOOLEAN), ("points", 1, 0, _POLYGON))),
    603: _floats("box", ("x1", "y1", "x2", "y2")),
    604: _POLYGON,
    628: _floats("line", ("a", "b", "c")),
    650: _formatted("cidr", layouts.INET),
    700: Value("real", layouts.FLOAT4, "float32"),
    701: Value("double precision", layouts.FLOAT8, "float64"),
    705: _text("unknown"),
    718: _floats("circle", ("x", "y", "radius")),
    774: _formatted("macaddr8", layouts.MAC),
    829: _formatted("macaddr", layouts.MAC),
    869: _formatted("inet", layouts.INET),
    1042: _text("character"),
    1043: _text("character varying"),
    1082: Value("date", layouts.DATE, "date32"),
    1083: _TIME,
    1114: Value("timestamp", layouts.TIMESTAMP, "timestamp[us]"),
    1184: Value("timestamp with time zone", layouts.TIMESTAMP, "timestamp[us, UTC]"),
    1186: Value("interval", layouts.INTERVAL, "month_day_nano_interval"),
    1266: Fixed(
        "time with time zone", (("time", 0, 8, _TIME), ("utc_offset_s", 8, 4, _UTC_OFFSET))
    ),
    1560: _formatted("bit", layouts.BITS),
    1562: _formatted("bit varying", layouts.BITS),
    1790: Value("refcursor", layouts.TEXT, "large_string"),
    2950: Value("uuid", layouts.UUID, "uuid"),
    3220: Value("pg_lsn", layouts.INT8, "uint64"),
    3802: Value("jsonb", layouts.JSONB, "large_string"),
    4072: Value("jsonpath", layouts.JSONB, "large_string"),
    5069: Value("xid8", layouts.INT8, "uint64"),
    **{
        oid: Value(name, layouts.INT4, "uint32")
        for oid, name in (
            (24, "regproc"),
            (2202, "regprocedure"),
            (2203, "regoper"),
            (2204, "regoperator"),
            (2205, "regclass"),
            (2206, "regtype"),
            (3734, "regconfig"),
            (3769, "regdictionary"),
            (4089, "regnamespace"),
            (4096, "regrole"),
            (4191, "regcollation"),
        )
    },
}

#: Types whose values need a modifier or a setting of the server.
NUMERIC, MONEY = 1700, 790

#: Arrays -> their items.
ARRAYS = {
    22: 21,
    30: 26,
    143: 142,
    199: 114,
    271: 5069,
    629: 628,
    651: 650,
    719: 718,
    775: 774,
    791: MONEY,
    1000: 16,
    1001: 17,
    1002: 18,
    1003: 19,
    1005: 21,
    1006: 22,
    1007: 23,
    1008: 24,
    1009: 25,
    1010: 27,
    1011: 28,
    1012: 29,
    1013: 30,
    1014: 1042,
    1015: 1043,
    1016: 20,
    1017: 600,
    1018: 601,
    1019: 602,
    1020: 603,
    1021: 700,
    1022: 701,
    1027: 604,
    1028: 26,
    1040: 829,
    1041: 869,
    1115: 1114,
    1182: 1082,
    1183: 1083,
    1185: 1184,
    1187: 1186,
    1231: NUMERIC,
    1270: 1266,
    1561: 1560,
    1563: 1562,
    2201: 1790,
    2207: 2202,
    2208: 2203,
    2209: 2204,
    2210: 2205,
    2211: 2206,
    2951: 2950,
    3221: 3220,
    3735: 3734,
    3770: 3769,
    3807: 3802,
    3905: 3904,
    3907: 3906,
    3909: 3908,
    3911: 3910,
    3913: 3912,
    3927: 3926,
    4073: 4072,
    4090: 4089,
    4097: 4096,
    4192: 4191,
    6150: 4451,
    6151: 4532,
    6152: 4533,
    6153: 4534,
    6155: 4535,
    6157: 4536,
}

#: Arrays whose first item has number 0.
VECTORS = {22: "int2vector", 30: "oidvector"}

#: Ranges -> name, type of the bounds.
RANGES = {
    3904: ("int4range", 23),
    3906: ("numrange", NUMERIC),
    3908: ("tsrange", 1114),
    3910: ("tstzrange", 1184),
    3912: ("daterange", 1082),
    3926: ("int8range", 20),
}

#: Multiranges -> name, range.
MULTIRANGES = {
    4451: ("int4multirange", 3904),
    4532: ("nummultirange", 3906),
    4533: ("tsmultirange", 3908),
    4534: ("tstzmultirange", 3910),
    4535: ("datemultirange", 3912),
    4536: ("int8multirange", 3926),
}

#: Send functions of types that extensions bring and whose bytes are the text itself.
TEXT_SENDERS = frozenset({"textsend", "citextsend", "varcharsend", "bpcharsend"})
