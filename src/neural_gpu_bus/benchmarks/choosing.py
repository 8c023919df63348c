"""Which of a benchmark's cases or questions are run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError

Offered = TypeVar("Offered")


def chosen(names: Sequence[str], offered: Mapping[str, Offered], kind: str) -> dict[str, Offered]:
    """Those of these names in the order they are offered in, all for none. ``kind``: what one is
    called. BadParameterError names the nearest.
    """
    for name in names:
        if name not in offered:
            raise BadParameterError(
                f"there is no {kind} {name!r}; there are {', '.join(offered)}",
                hint=did_you_mean(name, offered, "use one of these"),
                parameter="only",
            )
    return {name: each for name, each in offered.items() if not names or name in names}
