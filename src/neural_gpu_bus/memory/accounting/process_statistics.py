"""Statistics of regions and processes, put together by whoever asks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from neural_gpu_bus.descriptors import (
    REGIONS,
    ProcessStatistics,
    Region,
    RegionStatistics,
)
from neural_gpu_bus.memory.accounting.mapped_files import MappedFile, mapped_files
from neural_gpu_bus.memory.accounting.processes import ENGINES
from neural_gpu_bus.memory.files.folder import living_sessions, uuid_head

if TYPE_CHECKING:
    import numpy.typing as npt

#: Characters of a command line that are kept.
COMMAND_CHARACTERS_MAX = 200
#: State of a process whose session lives under a pid that is not to be seen here, or is another's:
#: it runs in another container.
ELSEWHERE = "elsewhere"
#: The system tells a start in hundredths of a second, and counted from a clock that may be set.
_SAME_START_NS = 10_000_000_000
_PASSWORD = re.compile(r"(://[^:/@\s]*:|password=)[^@\s]+")


def region_statistics(
    sums: Any, region: Region, *, bytes_max: int, bytes_used: int, datasets: int
) -> RegionStatistics:
    """``sums`` is ``ProcessTable.sums()``; the rest is known to the index."""
    place = REGIONS.index(region)
    return RegionStatistics(
        name=region,
        bytes_max=bytes_max,
        bytes_used=bytes_used,
        datasets=datasets,
        hits=int(sums["hits"][place]),
        misses=int(sums["misses"][place]),
        evictions=int(sums["evictions"][place]),
        evicted_bytes=int(sums["evicted_bytes"][place]),
        saved_ns=int(sums["saved_ns"][place]),
    )


def engine_uses(sums: Any) -> dict[str, int]:
    """Uses of blocks by jobs, by engine."""
    return dict(zip(ENGINES, sums["uses"].tolist(), strict=True))


def process_statistics(
    folder: Path, records: npt.NDArray[Any]
) -> tuple[tuple[ProcessStatistics, ...], dict[int, list[MappedFile]]]:
    """Every process that has the memory open or maps a block, by pid, and what each maps.

    ``records`` is ``ProcessTable.records()``. Takes about 0.2 ms for each process of this user.
    """
    living = {uuid_head(corner.name) for corner in living_sessions(folder)}
    of_pid: dict[int, list[Any]] = {}
    for record in records:
        if int(record["session"]) in living:
            of_pid.setdefault(int(record["pid"]), []).append(record)
    pids = {int(record["session"]): pid for pid, held in of_pid.items() for record in held}
    mapped = mapped_files(folder, pids)
    statistics = [
        _process(pid, of_pid.get(pid, []), mapped.get(pid, []))
        for pid in sorted(of_pid.keys() | mapped.keys())
    ]
    return tuple(found for found in statistics if found is not None), mapped


def gone_bytes(mapped: Mapping[int, Sequence[MappedFile]]) -> int:
    """Bytes that nobody can find any more and somebody still has mapped, each file once."""
    gone = {file.name: file.nbytes for files in mapped.values() for file in files if file.gone}
    return sum(gone.values())


def _process(
    pid: int, records: Sequence[Any], files: Sequence[MappedFile]
) -> ProcessStatistics | None:
    told_ns = max((int(record["started_ns"]) for record in records), default=0)
    started_ns, state, command = _seen(pid, told_ns)
    if not records and state == ELSEWHERE:
        return None  # it ended while we looked
    gone = [file for file in files if file.gone]
    return ProcessStatistics(
        pid=pid,
        command=command,
        started_ns=started_ns,
        state=state,
        hits=sum(int(record["counters"]["hits"].sum()) for record in records),
        misses=sum(int(record["counters"]["misses"].sum()) for record in records),
        mapped_blocks=len(files),
        mapped_bytes=sum(file.nbytes for file in files),
        gone_bytes=sum(file.nbytes for file in gone),
        gone_since_ns=min((file.since_ns for file in gone if file.since_ns), default=0),
        unnamed_bytes=sum(int(record["unnamed_bytes"].sum()) for record in records),
    )


def _seen(pid: int, told_ns: int) -> tuple[int, str, str]:
    """Start, state and command of a pid, unless it is not the process that told its start."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            started_ns = int(process.create_time() * 1e9)
            if told_ns and abs(started_ns - told_ns) > _SAME_START_NS:
                return told_ns, ELSEWHERE, ""
            return started_ns, process.status(), _command(process)
    except psutil.Error:
        return told_ns, ELSEWHERE, ""


def _command(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
    except psutil.Error:
        words = []
    return shortened([Path(words[0]).name, *words[1:]] if words else [process.name()])


def shortened(words: Sequence[str]) -> str:
    """A command line as it may be shown: one line, no password, no control character."""
    text = _PASSWORD.sub(r"\1***", " ".join(" ".join(words).split()))
    text = "".join(char if char.isprintable() else "?" for char in text)
    most = COMMAND_CHARACTERS_MAX
    return text if len(text) <= most else f"{text[: most - 1]}…"
