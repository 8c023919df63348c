"""VPIN from bars by bulk volume classification: a bar's price change says which share was bought.

``buy = volume * Z(change / sigma)`` (Easley, Lopez de Prado and O'Hara 2012, section 3), Z the
normal distribution function, or Student's t as later papers of the authors use it. Buckets and
VPIN: ``vpin_buckets``. Shapes are (n_bars,); NaN and negative volumes are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from neural_gpu_bus.workloads import vpin_buckets as buckets
from neural_gpu_bus.workloads.columns import Input
from neural_gpu_bus.workloads.workload import Kernels, Workload

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.ports import Columns
    from neural_gpu_bus.workloads.workload import Array, Arrays

    Floats = npt.NDArray[np.float64]


class VpinBarsParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of ``vpin.bars``."""

    #: Volume of a bucket; None for an average day's volume / 50.
    bucket_volume: buckets.BucketVolume = None
    #: Buckets that one VPIN looks back on.
    window: buckets.Window = 50
    #: Distribution function Z.
    cdf: Literal["normal", "student"] = "normal"
    #: Degrees of freedom of Student's t.
    degrees: Annotated[float, Meta(gt=0, le=1000)] = 0.25
    #: Change within each bar (PINstimation), or from the close before (0 for the first bar).
    price_change: Literal["open_to_close", "close_to_close"] = "open_to_close"
    #: ``sample``: one standard deviation over all bars, which looks ahead. ``causal``: root of the
    #: exponentially weighted mean of squared changes so far.
    sigma: Literal["sample", "causal"] = "sample"
    #: Weight of the past in the causal sigma, a bar (RiskMetrics 1996: 0.94).
    decay: Annotated[float, Meta(gt=0, lt=1)] = 0.94


def prepare(inputs: Mapping[str, Columns], params: VpinBarsParams) -> dict[str, Array]:
    """``change`` of each bar beside the buckets' arrays."""
    bars = Input(inputs, "bars", rows_min=2)
    opened, closed = bars.floats("open"), bars.floats("close")
    if params.price_change == "close_to_close":
        opened = np.concatenate([closed[:1], closed[:-1]])
    return {
        **buckets.bucket_arrays(bars, "volume", params.bucket_volume),
        "change": closed - opened,
    }


def cpu(arrays: Arrays, params: VpinBarsParams) -> dict[str, Array]:
    """Classify in bulk, fill the buckets, roll."""
    from neural_gpu_bus.workloads import vpin_compiled as compiled

    change = arrays["change"]
    buy_share = np.empty(len(change))
    degrees = params.degrees if params.cdf == "student" else 0.0
    compiled.bulk_shares(change, _sigma(change, params), degrees, buy_share)
    return buckets.fill(arrays, buy_share, params.window)


def _sigma(change: Floats, params: VpinBarsParams) -> Floats:
    """One value for all bars, or one a bar."""
    from neural_gpu_bus.workloads import vpin_compiled as compiled

    if params.sigma == "sample":
        return np.array([change.std(ddof=1)])
    sigma = np.empty(len(change))
    compiled.causal_sigma(change, params.decay, sigma)
    return sigma


WORKLOAD = Workload(
    name="vpin.bars",
    summary="VPIN from bars: bulk volume classification over buckets of equal volume.",
    params_type=VpinBarsParams,
    inputs={"bars": {"ts": "time", "open": "float", "close": "float", "volume": "float"}},
    prepare=prepare,
    # Buckets follow one another, and their number depends on the data: nothing for an array device.
    kernels=Kernels(cpu=cpu),
    table=buckets.table,
    cost=buckets.cost,
)
