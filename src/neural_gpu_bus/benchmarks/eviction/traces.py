"""The traces: made up from a seed, by kind, and one recorded from the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

import msgspec
import numpy as np
import numpy.typing as npt

from neural_gpu_bus.benchmarks.eviction.trace import Trace
from neural_gpu_bus.memory.catalog.eviction import UNKNOWN_RELOAD_NS_A_BYTE

_Requests = npt.NDArray[np.int64]

#: Datasets of a made-up trace, apart from those that a scan reads once.
DATASETS = 400
#: Sizes are lognormal: half are over 1 MiB, the largest hundredth over 60.
_SIZE_BYTES_MEDIAN = 1 << 20
_SIZE_SIGMA = 1.8
_SIZE_BYTES_MIN, _SIZE_BYTES_MAX = 16 << 10, 100 << 20
#: A query that reads one row (docs/decisions/003-reading.md).
_QUERY_NS = 280_000
#: A read takes its time times this to the power of a normal number: other work, TOAST, indices.
_NOISE_SIGMA = 0.3
#: Some datasets are aggregates: small, and 20 ms to 2 s of PostgreSQL's work.
_AGGREGATE_BYTES_MAX = 1 << 20
_AGGREGATE_NS = 20e6, 2e9
DEMO_FILE = "demo_trace.json"


class RecordedAccess(msgspec.Struct, frozen=True, array_like=True):
    """One request of a recorded trace."""

    name: str
    nbytes: int
    #: As measured; 0 where nobody measured it.
    reload_ns: int


def made_up(requests: int, seed: int) -> Iterator[Trace]:
    """One trace of each kind; the same seed gives the same."""
    for number, kind in enumerate(KINDS):
        random = np.random.default_rng([seed, number])
        asked = kind.make(random, requests)
        nbytes, reload_ns = _sizes_and_costs(random, int(asked.max()) + 1, kind.aggregates)
        yield Trace(kind.name, kind.meaning, asked, nbytes, reload_ns)


def recorded_demo(raw: bytes | None = None) -> Trace:
    """What the demo asked for; sizes and costs are each dataset's medians."""
    if raw is None:
        raw = resources.files(__package__).joinpath(DEMO_FILE).read_bytes()
    accesses = msgspec.json.decode(raw, type=list[RecordedAccess])
    names = list(dict.fromkeys(access.name for access in accesses))
    place = {name: at for at, name in enumerate(names)}
    requests = np.array([place[access.name] for access in accesses])
    nbytes = np.array([access.nbytes for access in accesses])
    cost_ns = np.array([access.reload_ns for access in accesses])
    sizes = np.array([np.median(nbytes[requests == at]) for at in range(len(names))])
    costs = np.array([_measured(cost_ns[requests == at]) for at in range(len(names))])
    costs = np.where(costs > 0, costs, sizes * UNKNOWN_RELOAD_NS_A_BYTE)
    meaning = "recorded from ngb demo"
    return Trace("demo", meaning, requests, sizes.astype(np.int64), costs.astype(np.int64))


def _measured(cost_ns: npt.NDArray[np.int64]) -> float:
    known = cost_ns[cost_ns > 0]
    return float(np.median(known)) if len(known) else 0.0


def _sizes_and_costs(
    random: np.random.Generator, datasets: int, aggregates: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    nbytes = _SIZE_BYTES_MEDIAN * random.lognormal(0, _SIZE_SIGMA, datasets)
    nbytes = np.clip(nbytes, _SIZE_BYTES_MIN, _SIZE_BYTES_MAX)
    cost_ns = _QUERY_NS + nbytes * UNKNOWN_RELOAD_NS_A_BYTE
    cost_ns *= random.lognormal(0, _NOISE_SIGMA, datasets)
    aggregate = random.random(datasets) < aggregates
    nbytes[aggregate] = np.minimum(nbytes[aggregate], _AGGREGATE_BYTES_MAX)
    low, high = np.log(_AGGREGATE_NS)
    cost_ns[aggregate] += np.exp(random.uniform(low, high, int(aggregate.sum())))
    return nbytes.astype(np.int64), cost_ns.astype(np.int64)


def _zipf(skew: float) -> Callable[[np.random.Generator, int], _Requests]:
    def make(random: np.random.Generator, requests: int) -> _Requests:
        """Dataset ``i`` is asked for in proportion to 1 / (i + 1) ** skew."""
        weight = 1 / np.arange(1, DATASETS + 1) ** skew
        return random.choice(DATASETS, requests, p=weight / weight.sum())

    return make


def _scan(random: np.random.Generator, requests: int) -> _Requests:
    """Three reads each, among those of the next few, and never again."""
    return np.argsort(np.arange(requests) // 3 + random.uniform(0, 20, requests)).argsort() // 3


def _loop(_random: np.random.Generator, requests: int) -> _Requests:
    return np.arange(requests) % DATASETS


def _mixed(random: np.random.Generator, requests: int) -> _Requests:
    """Every fifth stretch of 100 requests reads datasets that are never asked for again."""
    asked = _zipf(0.9)(random, requests)
    scanned = np.flatnonzero(np.arange(requests) // 100 % 5 == 4)
    asked[scanned] = DATASETS + np.arange(len(scanned))
    return asked


def _shifting(random: np.random.Generator, requests: int) -> _Requests:
    """What is popular changes eight times, each time as a whole."""
    asked = _zipf(1.0)(random, requests)
    for stretch in np.array_split(np.arange(requests), 8):
        asked[stretch] = random.permutation(DATASETS)[asked[stretch]]
    return asked


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of ``KINDS``."""

    name: str
    #: What it is like, for people.
    meaning: str
    #: Random numbers and how many requests -> which datasets.
    make: Callable[[np.random.Generator, int], _Requests]
    #: Share of the datasets that are costly aggregates.
    aggregates: float = 0.1


KINDS: Sequence[Kind] = (
    Kind("zipf 0.7", "popularity falls slowly", _zipf(0.7)),
    Kind("zipf 1.0", "popularity falls as ranks", _zipf(1.0)),
    Kind("zipf 1.3", "few datasets have most requests", _zipf(1.3)),
    Kind("reads", "zipf 1.0 of plain tables, no aggregates", _zipf(1.0), aggregates=0.0),
    Kind("scan", "three reads close together, never again", _scan),
    Kind("loop", "all datasets in turn, again and again", _loop),
    Kind("mixed", "zipf 0.9 and, a fifth of the time, scans", _mixed),
    Kind("shifting", "zipf 1.0 whose order changes eight times", _shifting),
)
