"""How columns are decoded, where a caller may choose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from neural_gpu_bus.errors import BadParameterError

Texts = Literal["auto", "plain", "dictionary"]

#: Digits that decimal128 and decimal256 hold.
DECIMAL128_DIGITS_MAX = 38
DECIMAL256_DIGITS_MAX = 76

_DECIMAL = re.compile(r"decimal(128|256)\(\s*(\d+)\s*,\s*(-?\d+)\s*\)")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a column of numeric and one of texts become. Raises BadParameterError."""

    #: ``exact``: decimals where the type has precision and scale that fit, else the server's own
    #: text. ``float64``: the nearest double. ``text``. ``decimal128(p, s)``, ``decimal256(p, s)``.
    #: Or a mapping of columns to these; columns it does not name are ``exact``.
    numeric: str | Mapping[str, str] = "exact"
    #: ``auto``: a dictionary where few texts repeat. ``plain``: never. ``dictionary``: always.
    texts: Texts = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.numeric, str):
            object.__setattr__(self, "numeric", MappingProxyType(dict(self.numeric)))
        for choice in self._choices():
            if choice not in ("exact", "float64", "text"):
                decimal_digits(choice)
        if self.texts not in get_args(Texts):
            raise BadParameterError(
                f"texts is {self.texts!r}",
                hint="give auto, plain or dictionary",
                parameter="texts",
            )

    def numeric_of(self, column: str) -> str:
        """The choice for one column."""
        if isinstance(self.numeric, str):
            return self.numeric
        return self.numeric.get(column, "exact")

    def _choices(self) -> list[str]:
        return [self.numeric] if isinstance(self.numeric, str) else [*self.numeric.values()]


def decimal_digits(choice: object) -> tuple[int, int, int]:
    """Bits, precision and scale of ``decimal128(p, s)``. Raises BadParameterError."""
    found = _DECIMAL.fullmatch(choice) if isinstance(choice, str) else None
    if found is None:
        raise BadParameterError(
            f"numeric is {choice!r}",
            hint="give exact, float64, text, decimal128(p, s) or decimal256(p, s), or a mapping "
            "of columns to these",
            parameter="numeric",
        )
    bits, precision, scale = (int(number) for number in found.groups())
    most = DECIMAL128_DIGITS_MAX if bits == 128 else DECIMAL256_DIGITS_MAX
    if not 1 <= precision <= most or abs(scale) > most:
        raise BadParameterError(
            f"numeric is {choice!r}",
            hint=f"precision runs from 1 to {most}, scale from {-most} to {most}",
            parameter="numeric",
        )
    return bits, precision, scale
