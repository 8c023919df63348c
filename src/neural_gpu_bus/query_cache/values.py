"""Values of a statement as one text each: equal texts are equal literals, whatever Python's ``==``
says. To Python 1, 1.0 and True are equal, and two moments in different zones; to SQL they are not.
"""

from __future__ import annotations

import datetime as dt
import decimal
import ipaddress
import uuid
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

from neural_gpu_bus.query_cache.uncacheable import Uncacheable

#: Elements of a list, at all depths together: a longer one is data, not a parameter.
ELEMENTS_MAX = 10_000

#: Types whose equal values are the same literal, and that hash quickly.
PLAIN: Final = frozenset({str, int, bool, bytes, type(None), dt.date})

_first = itemgetter(0)
_INT4, _INT8 = 1 << 31, 1 << 63


def canonical_params(params: Any) -> str:
    """All values, in one text. Raises Uncacheable naming the first that has none."""
    if params is None:
        return "none"
    if isinstance(params, Mapping):
        if not all(isinstance(name, str) for name in params):
            raise Uncacheable("its parameters have names that are no texts")
        named = sorted(params.items(), key=_first)
        return "{" + ",".join(f"{_text(k)}:{value_text(k, v)}" for k, v in named) + "}"
    if isinstance(params, list | tuple):
        return "[" + ",".join(value_text(at, value) for at, value in enumerate(params, 1)) + "]"
    raise Uncacheable(f"its parameters are {type(params).__name__}, neither a mapping nor a list")


def signature(params: Any) -> str:
    """Types of all values as the server sees them: they choose among functions of one name."""
    if params is None:
        return "none"
    if isinstance(params, Mapping):
        return ",".join(f"{_text(k)}:{_type(v)}" for k, v in sorted(params.items(), key=_first))
    return ",".join(_type(value) for value in params)


def value_text(key: object, value: Any) -> str:
    """``canonical``, with the parameter's name or place in the reason."""
    try:
        return canonical(value)
    except Uncacheable as error:
        raise Uncacheable(f"parameter {key!r} {error.why}") from None


def canonical(value: Any, depth: int = 0) -> str:
    """One value as a text that no other value has. Raises Uncacheable for types of others' making:
    nobody knows which of their values are the same.
    """
    kind = type(value)
    if kind in _SPELLINGS:
        return _SPELLINGS[kind](value)
    if kind in (list, tuple):
        if len(value) > ELEMENTS_MAX:
            raise Uncacheable(f"is a list of more than {ELEMENTS_MAX:,} values")
        if depth > 6:  # PostgreSQL's arrays have six dimensions (MAXDIM)
            raise Uncacheable("is a list more than 6 deep")
        inside = ",".join(canonical(element, depth + 1) for element in value)
        return f"[{inside}]" if kind is list else f"({inside})"
    if kind.__module__ == "numpy" and hasattr(value, "dtype") and not value.shape:
        return _numpy_scalar(value)
    raise Uncacheable(f"is a {kind.__module__}.{kind.__qualname__}, whose values are not compared")


def _numpy_scalar(value: Any) -> str:
    if value.dtype.kind not in "biuf":
        raise Uncacheable(f"is a numpy.{value.dtype}, whose values are not compared")
    return f"numpy {value.dtype.str} {value.tobytes().hex()}"


def _text(value: str) -> str:
    return f"'{len(value)}:{value}'"


def _moment(name: str) -> Callable[[Any], str]:
    """With its offset as it is now: a zone's name does not go to the server."""
    return lambda value: f"{name} {value.isoformat()}"


_SPELLINGS: Final[dict[type, Callable[[Any], str]]] = {
    type(None): lambda _value: "null",
    bool: lambda value: f"bool {value}",
    int: lambda value: f"int {value}",
    # repr tells -0.0 from 0.0 and every float from the next.
    float: lambda value: f"float {value!r}",
    str: _text,
    bytes: lambda value: f"bytes {value.hex()}",
    bytearray: lambda value: f"bytes {value.hex()}",
    # 1.0 and 1 are equal and have another scale.
    decimal.Decimal: lambda value: f"numeric {value}",
    dt.datetime: _moment("datetime"),
    dt.date: _moment("date"),
    dt.time: _moment("time"),
    dt.timedelta: lambda value: f"delta {value.days} {value.seconds} {value.microseconds}",
    uuid.UUID: lambda value: f"uuid {value.hex}",
    ipaddress.IPv4Address: lambda value: f"inet {value}",
    ipaddress.IPv6Address: lambda value: f"inet {value}",
    ipaddress.IPv4Interface: lambda value: f"interface {value}",
    ipaddress.IPv6Interface: lambda value: f"interface {value}",
    ipaddress.IPv4Network: lambda value: f"network {value}",
    ipaddress.IPv6Network: lambda value: f"network {value}",
}


def _type(value: Any) -> str:
    kind = type(value)
    if kind is int:
        return "int4" if -_INT4 <= value < _INT4 else "int8" if -_INT8 <= value < _INT8 else "big"
    if kind in (list, tuple):
        return f"{kind.__name__}({','.join(sorted({_type(element) for element in value}))})"
    if kind in (dt.datetime, dt.time):
        return kind.__name__ + ("" if value.tzinfo is None else " zoned")
    if kind.__module__ == "numpy":
        return f"numpy {getattr(value, 'dtype', '')}"
    return kind.__name__
