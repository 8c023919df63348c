"""Who maps which files of a memory folder: as processes tell it, and as the kernel knows it.

Each process of ours lists what it maps and since when (``maps.py``). On Linux the kernel adds what
nobody lists: other programs that opened a block by its path, and children made by fork. macOS has
no such list for other processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from neural_gpu_bus.memory.accounting.maps import Kind, LivingMaps
from neural_gpu_bus.memory.files.folder import DATASETS, SERIES, SESSIONS

_DELETED = " (deleted)"


class MappedFile(NamedTuple):
    """One file of the folder in one process."""

    #: Hex of the block; for a file of growing columns its path in the folder.
    name: str
    nbytes: int
    #: 0 where nobody wrote it down.
    since_ns: int
    #: Dropped, replaced or evicted: nobody can find it any more, and its memory is not free.
    gone: bool


def mapped_files(folder: Path, pids: Mapping[int, int]) -> dict[int, list[MappedFile]]:
    """By pid; ``pids`` says which process has which session (``uuid_head`` to pid)."""
    found: dict[int, dict[str, MappedFile]] = {}
    maps = LivingMaps(folder)
    for entry in maps.entries:
        pid = pids.get(entry.session)
        # Linux's kernel tells growing columns by their paths.
        if pid is not None and not (entry.kind is Kind.SERIES and sys.platform == "linux"):
            file = MappedFile(entry.uuid, entry.nbytes, entry.since_ns, maps.is_gone(entry))
            found.setdefault(pid, {})[file.name] = file
    if sys.platform == "linux":
        for pid, file in _known_to_kernel(folder):
            found.setdefault(pid, {}).setdefault(file.name, file)
    return {pid: list(files.values()) for pid, files in found.items()}


def mapping_pids(mapped: Mapping[int, Sequence[MappedFile]]) -> dict[str, tuple[int, ...]]:
    """Name of each file to the processes that have it mapped, in order."""
    found: dict[str, list[int]] = {}
    for pid in sorted(mapped):
        for file in mapped[pid]:
            found.setdefault(file.name, []).append(pid)
    return {name: tuple(pids) for name, pids in found.items()}


def _known_to_kernel(folder: Path) -> Iterator[tuple[int, MappedFile]]:
    """Every process whose list we may read, which is every one of this user."""
    prefix = f"{folder}/"
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            # It has ended, or is somebody else's.
            with suppress(OSError):
                raw = Path(f"/proc/{entry.name}/maps").read_bytes()
                if prefix.encode() in raw:
                    for file in _mapped_lines(raw.decode(errors="surrogateescape"), prefix):
                        yield int(entry.name), file


def _mapped_lines(text: str, prefix: str) -> list[MappedFile]:
    """Files of our folder in one ``/proc/<pid>/maps``; a file that is split is one."""
    found: dict[str, MappedFile] = {}
    for line in text.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5].startswith(prefix):
            path = fields[5].removeprefix(prefix)
            gone, path = path.endswith(_DELETED), path.removesuffix(_DELETED)
            if (name := _name(path)) is None:
                continue
            start, end = (int(part, 16) for part in fields[0].split("-"))
            nbytes = int(fields[2], 16) + end - start
            if name in found:
                nbytes = max(nbytes, found[name].nbytes)
            found[name] = MappedFile(name, nbytes, 0, gone)
    return list(found.values())


def _name(path: str) -> str | None:
    """Of a file that holds columns; None for the index and the tables."""
    part = path.partition("/")[0]
    if part in {DATASETS, SESSIONS} and path.endswith(".arrow"):
        return path.rpartition("/")[2].removesuffix(".arrow")
    return path if part == SERIES else None
