"""Where a series lies, and how another process finds rows that a pickled frame showed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import msgspec

from neural_gpu_bus.errors import DatasetEvictedError, ProtocolError
from neural_gpu_bus.memory.files.folder import host_identity
from neural_gpu_bus.memory.series.arenas import ArenaMaps
from neural_gpu_bus.memory.series.budget import MapFile, map_file
from neural_gpu_bus.memory.series.damage import damaged
from neural_gpu_bus.memory.series.directory import PARTITIONS
from neural_gpu_bus.memory.series.gathered import GatheredSource, as_of
from neural_gpu_bus.memory.series.records import Chunk, SeriesMeta, Stamp
from neural_gpu_bus.memory.series.shape import Shape
from neural_gpu_bus.memory.series.source import ChunkSource, Piece

if TYPE_CHECKING:
    from neural_gpu_bus.memory.series.directory import Key

META = "meta"
_maps: WeakValueDictionary[Path, ArenaMaps] = WeakValueDictionary()


def arena_maps(group: Path, maker: MapFile = map_file) -> ArenaMaps:
    """Arenas of a group, mapped once a process whoever asks."""
    found = _maps.get(group)
    if found is None:
        found = _maps[group] = ArenaMaps(group, maker)
    return found


class SeriesPlace:
    """A series' folder, what it is made of, and the arenas of its group."""

    def __init__(self, folder: Path, maps: ArenaMaps) -> None:
        self.folder = folder
        self.maps = maps
        self.meta = read_meta(folder / META, SeriesMeta)
        self.shape = _shape(self.meta)

    def reference(
        self, key: Key, title: str, pieces: Sequence[Piece], stamp: Stamp
    ) -> tuple[Any, ...]:
        """``(function, arguments)`` that finds rows of a partition in another process."""
        plain = [(*piece.chunk, piece.start, piece.stop) for piece in pieces]
        return attach_rows, (self.folder, host_identity(), key, title, plain, tuple(stamp))

    @property
    def partitions(self) -> Path:
        """The file that says what each partition holds."""
        return self.folder / PARTITIONS

    def lost(self, key: Key) -> ProtocolError:
        """The error for rows in a file that is gone, though nothing newer says where they are."""
        return damaged(self.partitions, f"rows of {list(key)} lie in an arena that is not there")


def attach_rows(  # noqa: PLR0917  pickle gives them by position
    folder: Path,
    host: str,
    key: Key,
    title: str,
    plain: Sequence[tuple[int, ...]],
    stamp: tuple[int, int, int, int],
) -> ChunkSource | GatheredSource:
    """The same rows as another process of this host saw them.

    Raises DatasetEvictedError where they were moved or removed, or lie on another host.
    """
    if host != host_identity():
        raise lies_elsewhere(title, host)
    try:
        place = SeriesPlace(folder, arena_maps(folder.parent))
        pieces = [Piece(Chunk(*row[:6]), row[6], row[7]) for row in plain]
        arrays = [place.maps.array(p.chunk.arena) if p.chunk.arena else None for p in pieces]
    except OSError as error:
        raise _evicted(title, str(error.strerror)) from None
    told = Stamp(*stamp)
    sources = [
        ChunkSource(place.shape, array, piece.chunk, key, told, title, place)
        for array, piece in zip(arrays, pieces, strict=True)
    ]
    if len(sources) == 1 and pieces[0].stop == sources[0].rows and not pieces[0].start:
        return sources[0]
    import pyarrow as pa

    tables = [
        source.arrow_rows(piece.start, piece.stop)
        for source, piece in zip(sources, pieces, strict=True)
    ]
    return GatheredSource(
        title, pa.concat_tables(tables), as_of(told), place.reference(key, title, pieces, told)
    )


@lru_cache(maxsize=256)
def _shape(meta: SeriesMeta) -> Shape:
    import pyarrow as pa

    try:
        schema = pa.ipc.read_schema(pa.py_buffer(meta.schema))
    except (pa.ArrowException, OSError) as error:
        raise ProtocolError(
            f"series {meta.name!r} is described by no schema: {error}",
            hint="drop its group, and write it anew; nothing in it can be trusted",
            position=0,
        ) from None
    return Shape(schema, meta.key, meta.order_by)


def read_meta(path: Path, kind: type[Any]) -> Any:
    """A group's or a series' own description; ProtocolError where it is none."""
    raw = path.read_bytes()
    try:
        return msgspec.msgpack.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(
            f"{str(path)!r} describes no series: {error}",
            hint="remove its folder; nothing in it can be trusted",
            position=0,
        ) from None


def lies_elsewhere(title: str, host: str) -> DatasetEvictedError:
    """The error for what was pickled on another host."""
    return _evicted(title, f"it lies on another host ({host})")


def _evicted(name: str, why: str) -> DatasetEvictedError:
    return DatasetEvictedError(
        f"rows of series {name} are not in this memory any more: {why}",
        hint="ask the series again",
        name=name,
        version=0,
    )
