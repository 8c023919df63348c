"""Positions, made up from a seed: nobody publishes theirs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

DESKS = ("core", "growth", "hedge", "income", "pairs", "value")

#: Shares come in lots of this many.
LOT = 100
LOTS_MAX = 60


def make_positions(assets: Sequence[str], seed: int) -> pa.Table:
    """Six desks hold half of the assets each: desk, asset, quantity (negative = short).

    ``hedge`` is short, ``pairs`` is long and short in turn, the others are long.
    """
    random = np.random.default_rng(seed)
    desks: list[str] = []
    held: list[str] = []
    quantities: list[float] = []
    for desk in DESKS:
        chosen = sorted(random.choice(assets, size=max(1, len(assets) // 2), replace=False))
        for place, asset in enumerate(chosen):
            short = desk == "hedge" or (desk == "pairs" and place % 2)
            desks.append(desk)
            held.append(str(asset))
            quantities.append(float(random.integers(1, LOTS_MAX + 1)) * LOT * (-1 if short else 1))
    return pa.table({"desk": desks, "asset": held, "quantity": quantities})


def note(seed: int) -> str:
    """What the reader must know of them."""
    return f"Positions of six desks are made up from seed {seed}: nobody publishes theirs."
