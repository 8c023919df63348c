"""What is known of each dataset: what the index says, and what the table of uses counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from neural_gpu_bus.descriptors import DatasetFacts

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import BlockDescriptor
    from neural_gpu_bus.memory.catalog.block_ledger import BlockLedger


class _Uses(NamedTuple):
    used_ns: int
    hits: int
    pinned: bool


def dataset_facts(
    blocks: Iterable[BlockDescriptor],
    ledger: BlockLedger,
    pids: Mapping[str, Sequence[int]] | None = None,
) -> list[DatasetFacts]:
    """Of those blocks, in their order; ``pids``: who has which mapped, by uuid."""
    return [
        _facts(block, _uses(block, ledger), (pids or {}).get(block.uuid, ())) for block in blocks
    ]


def _facts(block: BlockDescriptor, uses: _Uses, pids: Sequence[int]) -> DatasetFacts:
    return DatasetFacts(
        name=block.name,
        version=block.version,
        region=block.region,
        rows=block.rows,
        nbytes=block.nbytes,
        columns=block.columns,
        created_ns=block.created_ns,
        used_ns=uses.used_ns,
        hits=uses.hits,
        reload_ns=block.reload_ns,
        pinned=uses.pinned,
        pids=tuple(pids),
    )


def _uses(block: BlockDescriptor, ledger: BlockLedger) -> _Uses:
    """As of its record, which another process may free at any time: then it was never used."""
    if not ledger.holds(block):
        return _Uses(block.created_ns, 0, pinned=False)
    record = ledger.records[block.record].copy()
    return _Uses(int(record["used_ns"]), int(record["hits"]), pinned=bool(record["pinned"]))
