"""What both VPIN workloads share: the bucket volume, the buckets, and the result's columns.

Easley, Lopez de Prado and O'Hara 2012, "Flow toxicity and liquidity in a high-frequency world",
sections 2 and 3: volume is cut into buckets of equal volume V, a trade or bar that does not fit
is split exactly, and VPIN = sum over the last n buckets of |sell - buy|, divided by n V. The last,
unfilled bucket gives no row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads.columns import Input, day_ticks, integers
from neural_gpu_bus.workloads.workload import numeric_table

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.workloads.workload import Array, Arrays

    Floats = npt.NDArray[np.float64]

#: Buckets that make an average day (section 3 of the paper).
BUCKETS_PER_DAY = 50

#: 10 million buckets are 400 MB of results; a bucket volume that asks for more is a slip.
BUCKETS_MAX = 10_000_000

#: Share of a bucket that may be missing at the very end and still counts as filled: 50 buckets of
#: total / 50 would otherwise be 49 after rounding.
ROUNDING = 1e-9

COLUMNS = ("bucket", "ts", "buy_volume", "sell_volume", "vpin")

BucketVolume = Annotated[float, Meta(gt=0)] | None
Window = Annotated[int, Meta(ge=1, le=1_000_000)]


def take_volume(given: Input, column: str) -> Floats:
    """Volumes of at least 0 that add up to more than 0."""
    volume = given.floats(column, negative=False)
    if volume.sum() <= 0:
        raise BadParameterError(
            f"column {column!r} of input {given.name!r} is 0 in every row",
            hint="VPIN counts in volume: choose an instrument whose venue reports it",
            parameter=f"{given.name}.{column}",
        )
    return volume


def default_bucket_volume(times: npt.NDArray[Any], volume: Floats) -> float:
    """Average daily volume / 50. Days are UTC dates on which anything traded.

    Data that spans less than 24 hours counts as one day, also across midnight.
    """
    ticks, ticks_a_day = integers(times), day_ticks(times)
    traded = ticks[volume > 0]
    if traded[-1] - traded[0] < ticks_a_day:
        days = 1
    else:
        dates = traded // ticks_a_day
        days = 1 + int(np.count_nonzero(dates[1:] != dates[:-1]))
    return float(volume.sum()) / days / BUCKETS_PER_DAY


def count_buckets(volume: Floats, bucket_volume: float) -> int:
    """Buckets that the whole volume fills."""
    filled = float(volume.sum()) / bucket_volume + ROUNDING
    if not filled < BUCKETS_MAX:
        raise BadParameterError(
            f"parameter 'bucket_volume' is {bucket_volume:g}: a volume of {volume.sum():g} would "
            f"fill {filled:.3g} buckets, more than {BUCKETS_MAX:,}",
            hint="leave it out for 50 buckets a day",
            parameter="bucket_volume",
        )
    return int(filled)


def fill(arrays: Arrays, buy_share: Floats, window: int) -> dict[str, Array]:
    """Buckets of volumes of which ``buy_share`` (0 to 1) was bought."""
    from neural_gpu_bus.workloads import vpin_compiled as compiled

    bucket_volume = float(arrays["bucket_volume"][0])
    buckets = int(arrays["buckets"][0])
    buy, vpin = np.empty(buckets), np.empty(buckets)
    row = np.empty(buckets, dtype=np.int64)
    compiled.fill_buckets(arrays["volume"], buy_share, bucket_volume, buy, row)
    compiled.rolling_vpin(buy, bucket_volume, window, vpin)
    return {
        "bucket": np.arange(buckets, dtype=np.int64),
        "ts": arrays["ts"][row],
        "ts_zone": arrays["ts_zone"],
        "buy_volume": buy,
        "sell_volume": bucket_volume - buy,
        "vpin": vpin,
    }


def bucket_arrays(given: Input, volume_column: str, asked: float | None) -> dict[str, Array]:
    """Stamps, ``volume``, and as arrays of one value ``bucket_volume`` and ``buckets``."""
    stamps = given.stamps("ts", strictly=False)
    volume = take_volume(given, volume_column)
    bucket_volume = asked or default_bucket_volume(stamps["ts"], volume)
    return {
        **stamps,
        "volume": volume,
        "bucket_volume": np.array([bucket_volume]),
        "buckets": np.array([count_buckets(volume, bucket_volume)]),
    }


def table(outputs: Mapping[str, Array], params: Any) -> pa.Table:  # noqa: ARG001
    """One row a filled bucket; ``vpin`` is NaN until the window is full."""
    return numeric_table(outputs, COLUMNS)


def cost(arrays: Arrays, params: Any) -> float:  # noqa: ARG001
    """About 10 operations a row."""
    return 10.0 * len(arrays["volume"])
