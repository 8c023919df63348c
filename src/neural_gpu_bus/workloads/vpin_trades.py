"""VPIN from trades: each trade is a buy or a sell by its aggressor's side, or by the tick rule.

Definition of buckets and of VPIN: ``vpin_buckets``. Sides instead of bulk classification: Andersen
and Bondarenko 2014, section 3. Shapes are (n_trades,); NaN, infinite and negative values are
refused; a trade of size 0 moves the tick rule and no volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from neural_gpu_bus.workloads import vpin_buckets as buckets
from neural_gpu_bus.workloads.columns import Input
from neural_gpu_bus.workloads.workload import Kernels, Workload

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.ports import Columns
    from neural_gpu_bus.workloads.workload import Array, Arrays

#: Spellings of a side; the longer ones are NautilusTrader's.
SIDES = {"BUY": 1, "BUYER": 1, "SELL": -1, "SELLER": -1, "NO_AGGRESSOR": 0}


class VpinTradesParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of ``vpin.trades``."""

    #: Volume of a bucket; None for an average day's volume / 50.
    bucket_volume: buckets.BucketVolume = None
    #: Buckets that one VPIN looks back on.
    window: buckets.Window = 50


def prepare(inputs: Mapping[str, Columns], params: VpinTradesParams) -> dict[str, Array]:
    """``price`` and ``side`` (int8: 1 bought, -1 sold, 0 unknown) beside the buckets' arrays."""
    trades = Input(inputs, "trades")
    return {
        **buckets.bucket_arrays(trades, "size", params.bucket_volume),
        "price": trades.floats("price"),
        "side": _sides(trades),
    }


def _sides(trades: Input) -> npt.NDArray[np.int8]:
    if not trades.has("aggressor_side") or trades.is_null("aggressor_side"):
        return np.zeros(trades.rows, dtype=np.int8)
    codes, texts = trades.texts("aggressor_side")
    for code, text in enumerate(texts):
        if text not in SIDES:
            row = int(np.argmax(codes == code)) + 1
            hint = f"it has to be one of {', '.join(SIDES)}, or NULL where it is not known"
            raise trades.fault("aggressor_side", row, f"is {text!r}", hint)
    # The last place answers code -1, which is NULL.
    return np.array([SIDES[text] for text in texts] + [0], dtype=np.int8)[codes]


def cpu(arrays: Arrays, params: VpinTradesParams) -> dict[str, Array]:
    """Classify, fill the buckets, roll."""
    from neural_gpu_bus.workloads import vpin_compiled as compiled

    buy_share = np.empty(len(arrays["volume"]))
    compiled.classify_trades(arrays["price"], arrays["side"], buy_share)
    return buckets.fill(arrays, buy_share, params.window)


WORKLOAD = Workload(
    name="vpin.trades",
    summary="VPIN from trades: imbalance of buys and sells over buckets of equal volume.",
    params_type=VpinTradesParams,
    inputs={
        "trades": {
            "ts": "time",
            "price": "float",
            "size": "float",
            "aggressor_side": "text, optional",
        }
    },
    prepare=prepare,
    # Buckets follow one another, and their number depends on the data: nothing for an array device.
    kernels=Kernels(cpu=cpu),
    table=buckets.table,
    cost=buckets.cost,
)
