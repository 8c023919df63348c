"""What is known of one memory folder at this moment, put together for who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neural_gpu_bus.descriptors import MemoryStatistics
from neural_gpu_bus.memory.accounting.facts import dataset_facts
from neural_gpu_bus.memory.accounting.mapped_files import mapping_pids
from neural_gpu_bus.memory.accounting.process_statistics import (
    engine_uses,
    gone_bytes,
    process_statistics,
    region_statistics,
)
from neural_gpu_bus.memory.files import folder as folders

if TYPE_CHECKING:
    from neural_gpu_bus.descriptors import DatasetFacts
    from neural_gpu_bus.memory.memory_use import MemoryUse


def known_statistics(use: MemoryUse) -> MemoryStatistics:
    """Regions, processes, and all together; bytes that are gone and still mapped count in all."""
    names, blocks = use.index.totals()
    sums = use.session.processes.sums()
    processes, mapped = process_statistics(use.folder, use.session.processes.records())
    used = {region: use.occupancy.used_bytes(use.session, region) for region in use.budgets}
    return MemoryStatistics(
        folder=str(use.folder),
        bytes_max=use.bytes_max,
        bytes_used=sum(used.values()) + gone_bytes(mapped),
        bytes_free_host=folders.free_bytes(use.folder),
        datasets=names,
        blocks=blocks + folders.count_unnamed(use.folder),
        series_bytes=use.series_bytes(),
        policy=use.occupancy.policy,
        regions=tuple(
            region_statistics(
                sums,
                region,
                bytes_max=bytes_max,
                bytes_used=used[region],
                datasets=use.index.datasets(region),
            )
            for region, bytes_max in use.budgets.items()
        ),
        engine_uses=engine_uses(sums),
        processes=processes,
    )


def known_facts(use: MemoryUse, prefix: str, *, mapped: bool) -> list[DatasetFacts]:
    """Of the newest version of each name that begins so, sorted by name."""
    pids = None
    if mapped:
        pids = mapping_pids(process_statistics(use.folder, use.session.processes.records())[1])
    return dataset_facts(use.index.blocks(prefix), use.index.ledger, pids)
