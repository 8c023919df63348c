"""Which blocks go when memory is wanted: policies as pure functions over the table of blocks.

A policy gives each candidate a number; the lowest go first until enough bytes are free. All but
SIEVE are that one line. Nothing here waits, locks or knows of files: the simulator of
``ngb bench eviction`` runs these very functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from neural_gpu_bus.memory.catalog.block_table import PolicyState, Records

#: What a byte costs to load again where nobody measured it: a million rows of six columns (48 MB)
#: take 330 ms from PostgreSQL on the same host (docs/decisions/003-reading.md).
UNKNOWN_RELOAD_NS_A_BYTE: Final = 7.0

#: Words of the state, one a policy, so that changing the policy leaves nothing odd behind.
_INFLATION, _HAND = 0, 1
#: GDSF starts its inflation anew beyond this, in ns a byte: single precision then still tells
#: 0.0003 apart, and cheap blocks are worth about 1.
_INFLATION_MAX: Final = 4096.0
#: Hits that LFU tells apart; below them lies the time of last use, in ticks of 8,192 ns.
_LFU_HITS_MAX: Final = (1 << 15) - 1
_LFU_TIME_BITS: Final = 48
_LFU_TICK_BITS: Final = 13
#: More than there will ever be sequence numbers: steps of SIEVE's hand for one round.
_ROUND: Final = 1 << 61
#: Candidates looked at together: what is made of them stays in the processor's cache.
_PART: Final = 4096
#: Candidates that are simply sorted; of more, a sample of so many says which are worth sorting.
_SAMPLE: Final = 512

Indices = npt.NDArray[np.intp]
Sizes = npt.NDArray[np.uint64]
Keys = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may go, and what the policy remembers."""

    records: Records
    #: Indices of the candidates' records, ascending.
    at: Indices
    #: Shape of ``at``.
    nbytes: Sizes
    state: PolicyState

    def field(self, name: str) -> Keys:
        """That field of each candidate, copied."""
        found: Keys = self.records[name][self.at]
        return found

    def parts(self) -> Iterator[Candidates]:
        """The same in pieces of at most ``_PART``."""
        for number in range(-(-len(self.at) // _PART)):
            part = _of_part(number)
            yield Candidates(self.records, self.at[part], self.nbytes[part], self.state)


def _nothing(_given: Candidates, _keys: Keys, _last: int) -> None:
    """Most policies have no memory."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One row of ``POLICIES``."""

    #: What goes first, for people.
    meaning: str
    #: A number for each candidate of a part; the lowest go first.
    keys: Callable[[Candidates], Keys]
    #: Type of those numbers.
    dtype: type[np.int64 | np.float64] = np.int64
    #: Told all candidates, their keys and who of them goes last: what the next choice must know.
    remember: Callable[[Candidates, Keys, int], None] = _nothing


def choose(
    policy: str,
    records: Records,
    candidates: npt.NDArray[np.bool_],
    needed_bytes: int,
    state: PolicyState,
) -> Indices | None:
    """Indices of the records to evict, in order, until at least ``needed_bytes`` are free.

    ``candidates``, shape (n,), are what may go: of one region, neither free, pinned nor
    referenced. ``state``, shape (8,), is that region's. None where all candidates together hold
    less than is needed; then nothing changed. The policy may write ``visited``, ``inflation`` and
    the state, so one process calls this at a time, and evicts what it was given.
    """
    at = np.flatnonzero(candidates)
    row = POLICIES[policy]
    # Both in one: the C library keeps the pages of its largest block so far, and gives those of
    # several smaller ones back to the kernel each time: over half of the time at 100,000 records.
    words = np.empty((2, len(at)), np.uint64)
    nbytes, keys = words[0], words[1].view(row.dtype)
    given = Candidates(records, at, nbytes, state)
    for part in given.parts():
        part.nbytes[:] = part.field("nbytes")
    if needed_bytes <= 0:
        return at[:0]
    if int(nbytes.sum()) < needed_bytes:
        return None
    for number, part in enumerate(given.parts()):
        keys[_of_part(number)] = row.keys(part)
    chosen = _lowest(keys, nbytes, needed_bytes)
    row.remember(given, keys, int(chosen[-1]))
    return at[chosen]


def _of_part(number: int) -> slice:
    return slice(number * _PART, (number + 1) * _PART)


def _last_use(given: Candidates) -> Keys:
    return given.field("used_ns")


def _uses(given: Candidates) -> Keys:
    """Hits, and of equal ones the time of the last."""
    hits = np.minimum(given.field("hits"), np.uint64(_LFU_HITS_MAX)).astype(np.int64)
    keys: Keys = (hits << _LFU_TIME_BITS) | (given.field("used_ns") >> _LFU_TICK_BITS)
    return keys


def _steps_of_hand(given: Candidates) -> Keys:
    """SIEVE (Zhang, Yang, Yue, Vigfusson, Rashmi, NSDI 2024).

    A hand goes from the oldest to the newest and round again: what was found since it came by
    stays, once; the rest goes. All it takes in the first round comes before all of the second.
    """
    steps = given.field("sequence").astype(np.int64) - np.int64(given.state[_HAND])
    steps[steps < 0] += _ROUND
    steps[given.field("visited") != 0] += _ROUND
    return steps


def _move_hand(given: Candidates, keys: Keys, last: int) -> None:
    """The hand passed by every visited block on its way to the last that goes."""
    hand, newest = int(given.records["sequence"][given.at[last]]) + 1, 0
    for number, part in enumerate(given.parts()):
        steps = keys[_of_part(number)] - _ROUND
        passed = (part.field("visited") != 0) & (steps < keys[last])
        part.records["visited"][part.at[passed]] = 0
        newest = max(newest, int(part.field("sequence").max()))
    # From the newest it goes to the oldest, not to what is published next.
    given.state[_HAND] = hand if hand <= newest else 0


def _worth(given: Candidates) -> Keys:
    """GreedyDual-Size-Frequency (Cherkasova, HP Labs 1998), with the measured cost.

    A block is worth what its finds save a byte, plus the inflation when it was last used; the
    inflation is the worth of the last that went. It changes with a choice alone, so all that was
    used since the last one was used at the present inflation: readers need not know it.
    """
    inflation = given.state.view(np.float64)[_INFLATION]
    used_at = given.field("inflation")
    fresh = used_at > inflation
    used_at[fresh] = inflation
    given.records["inflation"][given.at[fresh]] = inflation
    worth: Keys = used_at + _saving_ns_a_byte(given)
    return worth


def _inflate(given: Candidates, keys: Keys, last: int) -> None:
    inflation = float(keys[last])
    if inflation > _INFLATION_MAX:
        given.records["inflation"][given.at] -= np.float32(inflation)
        inflation = 0.0
    given.state.view(np.float64)[_INFLATION] = inflation


def _saving_ns_a_byte(given: Candidates) -> npt.NDArray[np.float64]:
    """What the finds of each saved, and one more as if its making had been one, by its bytes."""
    saving: npt.NDArray[np.float64] = given.field("reload_ns").astype(np.float64)
    saving /= np.maximum(given.nbytes, 1)
    saving[saving == 0] = UNKNOWN_RELOAD_NS_A_BYTE
    saving *= given.field("hits") + 1.0
    return saving


def _lowest(keys: Keys, nbytes: Sizes, needed_bytes: int) -> Indices:
    """Positions in ascending order of their keys (equal ones in place) until the bytes suffice.

    Of many usually a few are wanted, and sorting all would take ten times as long as the rest. So
    a sample says below which key they should lie; where those hold too little, it looks further.
    """
    share = min(1.0, 2 * needed_bytes / max(1, int(nbytes.sum())))
    sample = np.sort(keys[:: len(keys) // _SAMPLE or 1])
    wanted = max(2, int(share * len(sample)))
    while len(keys) > _SAMPLE and wanted < len(sample):
        low = np.flatnonzero(keys <= sample[wanted])
        if int(nbytes[low].sum()) >= needed_bytes:
            return low[_until(keys[low], nbytes[low], needed_bytes)]
        wanted *= 2
    return _until(keys, nbytes, needed_bytes)


def _until(keys: Keys, nbytes: Sizes, needed_bytes: int) -> Indices:
    order = np.argsort(keys, kind="stable")
    freed_bytes = np.cumsum(nbytes[order])
    return order[: int(np.searchsorted(freed_bytes, needed_bytes)) + 1]


#: By name, as the setting has it. A new policy is a row here and a test.
POLICIES: Final[Mapping[str, Policy]] = MappingProxyType(
    {
        "lru": Policy("the least recently used", _last_use),
        "lfu": Policy("the least often used", _uses),
        "sieve": Policy(
            "the oldest not used since a hand came by", _steps_of_hand, remember=_move_hand
        ),
        "gdsf": Policy("what saved least by its size, lately", _worth, np.float64, _inflate),
    }
)

#: The winner of ``ngb bench eviction`` on reload time saved; a test holds the two together.
DEFAULT_POLICY: Final = "gdsf"
