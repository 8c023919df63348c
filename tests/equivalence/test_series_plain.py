"""Any sequence of changes to a series, against plain lists; views from before stay as they were."""

from __future__ import annotations

import pickle
import shutil
import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from neural_gpu_bus.errors import DatasetEvictedError, DatasetNotFoundError
from neural_gpu_bus.memory.series import SeriesGroup, batches, compaction
from neural_gpu_bus.memory.series.source import ChunkSource
from plain_series import KEY, SCHEMA, PlainSeries, Row, as_columns

EPOCH = datetime(2024, 1, 1)  # noqa: DTZ001  as Arrow gives a column without a zone

SPANS = [None, *({"lower": low, "note": note} for low in (None, 3) for note in (None, "", "xß"))]
LEVELS = [
    None,
    *(
        {"price": price, "tags": tags}
        for price in (None, 1.5)
        for tags in (None, [], ["a", None], ["", "bcd"])
    ),
]
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "instrument": st.sampled_from(["a", "b", "ü"]),
            "ts": st.integers(0, 12).map(lambda step: EPOCH + timedelta(microseconds=step)),
            "venue": st.integers(1, 2),
            "price": st.one_of(st.none(), st.integers(-5, 5).map(float)),
            "side": st.sampled_from([None, True, False]),
            "note": st.one_of(st.none(), st.text("xyß", max_size=9)),
            "size": st.one_of(st.none(), st.integers(-3, 3)),
            "span": st.sampled_from(SPANS),
            "levels": st.lists(st.sampled_from(LEVELS), max_size=2) | st.none(),
        }
    ),
    max_size=12,
)
#: Types of a key's columns, and some values of each.
KEYS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "number": (pa.int64(), st.integers(-2, 2) | st.sampled_from([-(2**63), 2**63 - 1])),
    "text": (pa.large_string(), st.text("ab\0", max_size=2)),
    "bits": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.dates(date(2024, 2, 28), date(2024, 3, 1))),
}
#: Many rows of one partition: more than a chunk takes.
MANY = st.integers(1, 60)
NAMES = st.sampled_from(["ordered", "loose"])
ON = st.sampled_from(
    [["ts"], ["ts", "size"], ["note"], ["size", "side"], ["span"], ["levels", "ts"]]
)


def told(frame: Any) -> list[Row]:
    return frame.arrow().to_pylist()  # type: ignore[no-any-return]


def raw_bytes(frame: Any) -> list[tuple[Any, bytes]]:
    """All that a frame gives out as arrays: numbers, bits and texts as stored, and what is NULL."""
    arrays = [frame.values(name) for name in ("ts", "price", "side", "note", "size")]
    arrays += [frame.valid(name) for name in ("price", "side", "note", "size")]
    return [(array, array.tobytes()) for array in arrays if array is not None]


class SeriesMachine(RuleBasedStateMachine):
    """``now``: with what is not published; ``seen``: as published. ``views``: what was taken."""

    def __init__(self) -> None:
        super().__init__()
        shared = Path("/dev/shm")
        base = tempfile.mkdtemp(prefix="ngb-test-", dir=shared if shared.is_dir() else None)
        self.folder = Path(base)
        self.now = {name: PlainSeries(ordered=name == "ordered") for name in ("ordered", "loose")}
        self.seen = {name: plain.copy() for name, plain in self.now.items()}
        self.views: list[tuple[Any, Any]] = []
        #: Arrays that views gave out, and what their bytes were then.
        self.raw: list[tuple[Any, bytes]] = []
        self.generation = 0

    @initialize(chunk_rows_max=st.integers(4, 40), share=st.integers(0, 2), arena=st.booleans())
    def begin(self, chunk_rows_max: int, share: int, arena: bool) -> None:
        limits = (1 << 14, 1 << 15) if arena else (1 << 14, 1 << 20)
        self.group = SeriesGroup.create(self.folder, "g", arena_bytes=limits)
        self.overlap = chunk_rows_max * share // 4
        self.series = {}
        for name, plain in self.now.items():
            self.series[name] = self.group.series(
                name,
                SCHEMA,
                KEY,
                "ts" if plain.ordered else None,
                chunk_rows_max=chunk_rows_max,
                overlap_rows=self.overlap,
            )
        self.writer = self.group.writer()

    def teardown(self) -> None:
        if hasattr(self, "writer"):
            self.writer.close()
        shutil.rmtree(self.folder)

    @rule(name=NAMES, rows=ROWS)
    def append(self, name: str, rows: list[Row]) -> None:
        assert self.writer.append(name, as_columns(rows)) == len(rows)
        self.now[name].append(rows)

    @rule(name=NAMES, rows=ROWS, many=MANY, step=st.integers(0, 2))
    def append_many(self, name: str, rows: list[Row], many: int, step: int) -> None:
        if rows:
            first = rows[0]["ts"] + timedelta(microseconds=12)
            moments = [timedelta(microseconds=at * step) for at in range(many)]
            several = [rows[0] | {"ts": first + moment, "size": None} for moment in moments]
            self.writer.append(name, as_columns(several))
            self.now[name].append(several)

    @rule(name=NAMES, rows=ROWS)
    def append_to(self, name: str, rows: list[Row]) -> None:
        table = as_columns(rows)
        numbers = self.writer.partition_ids(name, table.select(list(KEY)))
        self.writer.append_to(name, numbers, table.drop_columns(list(KEY)))
        self.now[name].append(rows)

    @rule(name=NAMES, rows=ROWS, on=ON)
    def upsert(self, name: str, rows: list[Row], on: list[str]) -> None:
        expected = self.now[name].upsert(rows, on)
        assert self.writer.upsert(name, as_columns(rows), on) == expected

    @rule(name=NAMES, rows=ROWS, on=ON)
    def update(self, name: str, rows: list[Row], on: list[str]) -> None:
        columns = [c for c in ("price", "note", "side") if c not in on]
        given = as_columns(rows, [*KEY, *on, *columns])
        assert self.writer.update(name, given, on) == self.now[name].update(rows, on, columns)

    @rule(name=NAMES, rows=ROWS, on=ON)
    def delete(self, name: str, rows: list[Row], on: list[str]) -> None:
        given = as_columns(rows, [*KEY, *on])
        assert self.writer.delete(name, given, on) == self.now[name].delete(rows, on)

    @rule(name=NAMES, rows=ROWS)
    def delete_partitions(self, name: str, rows: list[Row]) -> None:
        given = as_columns(rows[:1], [*KEY])
        assert self.writer.delete(name, given) == self.now[name].delete(rows[:1], [])

    @rule(name=NAMES, place=st.integers(0, 5), start=st.integers(0, 60), length=MANY)
    def delete_range(self, name: str, place: int, start: int, length: int) -> None:
        """Neighbours: whole chunks go, and what later ones repeat."""
        held = [rows for _, rows in sorted(self.now[name].partitions.items()) if rows]
        if held:
            rows = held[place % len(held)]
            gone = rows[start % len(rows) :][:length]
            given = as_columns(gone, [*KEY, "ts"])
            assert self.writer.delete(name, given) == self.now[name].delete(gone, ["ts"])

    @rule(name=NAMES)
    def truncate(self, name: str) -> None:
        self.writer.truncate(name)
        self.now[name].truncate()

    @rule(lsn=st.integers(1, 1 << 60))
    def publish(self, lsn: int) -> None:
        self.generation += 1
        assert self.writer.publish(lsn) == self.generation
        self.seen = {name: plain.copy() for name, plain in self.now.items()}
        assert self.series["loose"].as_of.lsn == f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"

    @rule()
    def discard(self) -> None:
        self.writer.discard()
        self.now = {name: plain.copy() for name, plain in self.seen.items()}

    @rule()
    def compact_and_publish(self) -> None:
        states = list(self.writer._states.values())
        compaction.compact(states, self.writer._arenas, 1, 1 << 20)
        self.publish(1)

    @rule(graceful=st.booleans())
    def another_writer(self, graceful: bool) -> None:
        """What is not published is lost, whether the writer is closed or gone."""
        if graceful:
            self.writer.discard()
        live = self.writer.statistics.live_bytes
        self.writer.close()
        self.writer = self.group.writer()
        if graceful:
            assert self.writer.statistics.live_bytes == live
        self.now = {name: plain.copy() for name, plain in self.seen.items()}

    @rule(name=NAMES, rows=st.integers(0, 100), place=st.integers(0, 5))
    def take_view(self, name: str, rows: int, place: int) -> None:
        plain = self.seen[name].partitions
        if plain:
            key = sorted(plain)[place % len(plain)]
            frame = self.series[name].last(rows, **dict(zip(KEY, key, strict=True)))
            expected = plain[key][max(0, len(plain[key]) - rows) :]
            assert told(frame) == expected
            assert frame.as_of.generation == self.generation
            if rows <= self.overlap:
                assert isinstance(frame.source, ChunkSource)
            self.views.append((frame, expected))
            self.raw.extend(raw_bytes(frame))

    @rule(name=NAMES)
    def take_snapshot(self, name: str) -> None:
        snapshot = self.group.snapshot()[name]
        self.views.append((snapshot, [row for _, row in self._all(name)]))

    @rule(start=st.integers(-1, 14), length=st.integers(0, 14))
    def between(self, start: int, length: int) -> None:
        low = EPOCH + timedelta(microseconds=start)
        high = low + timedelta(microseconds=length)
        for key, rows in self.seen["ordered"].partitions.items():
            found = self.series["ordered"].between(low, high, **dict(zip(KEY, key, strict=True)))
            assert told(found) == [row for row in rows if low <= row["ts"] < high]

    @precondition(lambda self: self.views)
    @rule(place=st.integers(0, 100))
    def pickle_view(self, place: int) -> None:
        """The same rows, or gone where the writer moved them; never others."""
        view, expected = self.views[place % len(self.views)]
        if not hasattr(view, "source"):
            return
        try:
            found = pickle.loads(pickle.dumps(view))
        except DatasetEvictedError:
            return
        assert told(found) == expected

    @precondition(lambda self: len(self.views) > 3)
    @rule()
    def let_go(self) -> None:
        del self.views[::2]
        del self.raw[::2]

    def _all(self, name: str) -> list[tuple[Any, Row]]:
        keys = self.series[name]._directory.keys
        self.series[name]._directory.refresh()
        plain = self.seen[name].partitions
        return [(key, row) for key in keys for row in plain.get(key, [])]

    @invariant()
    def every_view_is_as_it_was(self) -> None:
        for view, expected in self.views:
            assert told(view) == expected
        for array, before in self.raw:
            assert array.tobytes() == before

    @invariant()
    def readers_see_what_was_published(self) -> None:
        if not hasattr(self, "series"):
            return
        for name, plain in self.seen.items():
            series = self.series[name]
            rows = {key: held for key, held in plain.partitions.items() if held}
            assert series.generation == self.generation
            assert {tuple(key.values()) for key in series.partitions()} == set(rows)
            assert told(series) == [row for _, row in self._all(name)]
            assert series.rows() == sum(map(len, rows.values()))
            for key, held in rows.items():
                named = dict(zip(KEY, key, strict=True))
                assert told(series.frame(**named)) == held
                for count in (1, self.overlap):
                    last = series.last(count, **named)
                    assert told(last) == held[max(0, len(held) - count) :]
                    assert isinstance(last.source, ChunkSource) or count > self.overlap
        with pytest.raises(DatasetNotFoundError, match="no partition"):
            self.series["loose"].last(1, instrument="never", venue=9)

    @invariant()
    def bytes_are_counted(self) -> None:
        if hasattr(self, "writer"):
            found, arenas = self.writer.statistics, self.writer._arenas
            assert found.live_bytes == sum(arenas.live_bytes.values())
            assert found.dead_bytes >= 0
            used = sum(arenas.used(arena) for arena in arenas.arrays)
            assert found.live_bytes + found.dead_bytes == used
            assert found.arena_bytes == sum(map(len, arenas.arrays.values()))
            assert all(nbytes >= 0 for nbytes in arenas.live_bytes.values())


@given(data=st.data(), kinds=st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=7))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_keys_of_several_columns(data: st.DataObject, kinds: list[str]) -> None:
    """Each row is found under its own key and no other; also where products leave no room."""
    row = st.tuples(*(KEYS[kind][1] for kind in kinds))
    rows = data.draw(st.lists(row, min_size=1, max_size=30))
    columns = [
        pa.array([row[place] for row in rows], KEYS[kind][0]) for place, kind in enumerate(kinds)
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batches, "_CODES_MAX", data.draw(st.sampled_from([1, 40, 1 << 62])))
        keys, codes = batches.partition_codes(columns, len(rows))

    assert [keys[code] for code in codes.tolist()] == rows
    assert len(set(keys)) == len(keys) == len(set(rows))


BITS = st.lists(st.sampled_from([None, True, False]), min_size=1, max_size=9)


@given(steps=st.lists(st.tuples(BITS, BITS, st.integers(0, 30)), max_size=12))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_bits_of_views_while_rows_are_added(steps: list[tuple[list[Any], list[Any], int]]) -> None:
    """Rows share a byte with those that come later, published or not: no view shows it."""
    plain: list[Any] = []
    held = []
    with tempfile.TemporaryDirectory(prefix="ngb-test-") as folder:
        group = SeriesGroup.create(Path(folder), "g", arena_bytes=(1 << 14, 1 << 20))
        series = group.series("s", pa.schema([("side", pa.bool_())]))
        writer = group.writer()
        for published, forgotten, count in steps:
            writer.append("s", {"side": pa.array(published, pa.bool_())})
            writer.publish()
            plain += published
            frame, expected = series.last(count), plain[max(0, len(plain) - count) :]
            bits = np.packbits(np.array(expected, np.bool_), bitorder="little")
            held.append((frame, expected, frame.values("side"), bits.tobytes()))
            writer.append("s", {"side": pa.array(forgotten, pa.bool_())})
            writer.discard()
        writer.close()
    for frame, expected, raw, before in held:
        assert frame.arrow()["side"].to_pylist() == expected
        assert raw.tobytes() == before


TestSeriesMachine = SeriesMachine.TestCase
TestSeriesMachine.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.generate],  # shrinking such long runs takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
