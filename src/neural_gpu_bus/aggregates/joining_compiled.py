"""Compiled loops around ``fold_floats``: records begun, looked at, and joined part after part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

from neural_gpu_bus.aggregates.signatures import OUT_FLOAT_ROWS, OUT_INTS, VOID
from neural_gpu_bus.aggregates.vector_words import HIGHS, LANES, LOWS, SHIFTS, SQUARES, SUMS

#: A variance of less than this share of the squares about the first value has lost four bits and
#: is computed again about the mean.
LOST = 1 / 16

#: Places in a group's totals: sums, squared distances from the mean, lows, highs; each LANES.
TOTALS = (SUMS, SQUARES, LOWS, HIGHS)
TOTAL = SHIFTS


@njit(VOID(OUT_FLOAT_ROWS), cache=True, nogil=True)
def begin(records: Any) -> None:
    """Records (groups + 1, RECORD) of no rows."""
    for group in range(records.shape[0]):
        for place in range(records.shape[1]):
            records[group, place] = 0.0
        for lane in range(LANES):
            records[group, LOWS + lane] = np.inf
            records[group, HIGHS + lane] = -np.inf


@njit(VOID(OUT_FLOAT_ROWS), cache=True, nogil=True)
def begin_totals(totals: Any) -> None:
    """Totals (groups, TOTAL) of no rows."""
    for group in range(totals.shape[0]):
        for lane in range(LANES):
            totals[group, SUMS + lane] = 0.0
            totals[group, SQUARES + lane] = 0.0
            totals[group, LOWS + lane] = np.inf
            totals[group, HIGHS + lane] = -np.inf


@njit(types.boolean(OUT_FLOAT_ROWS, OUT_INTS), cache=True, nogil=True, error_model="numpy")
def lost_digits(records: Any, counts: Any) -> bool:
    """Whether a variance of any group but the last lost digits to a first value far out."""
    for group in range(counts.size - 1):
        if counts[group] == 0:
            continue
        for lane in range(LANES):
            added, about = records[group, SUMS + lane], records[group, SQUARES + lane]
            if about - added * added / counts[group] < about * LOST:
                return True
    return False


@njit(VOID(OUT_FLOAT_ROWS, OUT_INTS), cache=True, nogil=True, error_model="numpy")
def begin_at_means(records: Any, counts: Any) -> None:
    """The same records begun again, to be measured from the means; 0 for one not finite."""
    for group in range(counts.size):
        for lane in range(LANES):
            mean = records[group, SHIFTS + lane] + records[group, SUMS + lane] / counts[group]
            records[group, SHIFTS + lane] = mean if mean - mean == 0.0 else 0.0
            records[group, SUMS + lane] = 0.0
            records[group, SQUARES + lane] = 0.0
            records[group, LOWS + lane] = np.inf
            records[group, HIGHS + lane] = -np.inf


@njit(
    VOID(OUT_FLOAT_ROWS, OUT_INTS, OUT_FLOAT_ROWS, OUT_INTS),
    cache=True,
    nogil=True,
    error_model="numpy",
)
def join(records: Any, counts: Any, totals: Any, total_counts: Any) -> None:
    """One part's records (groups + 1, RECORD) into ``totals`` (groups, TOTAL), which are of the
    parts before: Chan, Golub and LeVeque (1983), eq. 2.1.
    """
    for group in range(total_counts.size):
        count, before = counts[group], total_counts[group]
        if count == 0:
            continue
        share = before * (count / (before + count))
        for lane in range(LANES):
            added = records[group, SUMS + lane]
            squares = records[group, SQUARES + lane] - added * added / count
            squares = 0.0 if squares < 0.0 else squares  # noqa: FURB136  (NaN stays)
            sums = count * records[group, SHIFTS + lane] + added
            if before > 0:
                distance = sums / count - totals[group, SUMS + lane] / before
                squares = totals[group, SQUARES + lane] + squares + distance * distance * share
                sums += totals[group, SUMS + lane]
            totals[group, SUMS + lane] = sums
            totals[group, SQUARES + lane] = squares
            low, high = records[group, LOWS + lane], records[group, HIGHS + lane]
            totals[group, LOWS + lane] = min(low, totals[group, LOWS + lane])
            totals[group, HIGHS + lane] = max(high, totals[group, HIGHS + lane])
        total_counts[group] = before + count
