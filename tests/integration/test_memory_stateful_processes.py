"""Any sequence of steps by several processes, while memory is short and one of them always looks.

``model`` says of each name what is its newest version and what may have become of it: a dataset
that is neither kept nor looked at may have been evicted by any step that needs room.
"""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import memory_workers as workers
from neural_gpu_bus.errors import (
    DatasetEvictedError,
    DatasetNotFoundError,
    SharedMemoryFullError,
)

BYTES_MAX = 32 << 20
OPTIONS = {"shares": {"shared": 0.25, "gpu": 0, "neural": 0}}
BUDGET = BYTES_MAX // 4
#: What each process may keep mapped for speed, and as spare pages, that nobody else can take.
KEPT_BYTES = 2 * BYTES_MAX // 32
PROCESSES = 3
NAMES = st.sampled_from(["a", "b", "b/c", "d"])
USERS = st.integers(0, PROCESSES - 1)
ROWS = st.sampled_from([1, 20_000, 20_500, 60_000, 110_000])
HOW = st.sampled_from(["frame", "slice", "arrow", "pinned"])


@dataclass
class Dataset:
    """Versions of a name: number -> value."""

    last: int = 0
    values: dict[int, int] = field(default_factory=dict)
    rows: int = 0
    kept: bool = False
    #: Version -> views that somebody holds.
    held: dict[int, int] = field(default_factory=dict)

    @property
    def stays(self) -> bool:
        return self.kept or self.held.get(self.last, 0) > 0


class ProcessesMachine(RuleBasedStateMachine):
    """``views``: key -> process, name and version of what it holds."""

    pool: ClassVar[list[workers.Remote]] = []
    evictions: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        shared = Path("/dev/shm")
        where = shared if shared.is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="ngb-test-", dir=where))
        for worker in self.pool:
            worker.tell("reopen", self.folder, BYTES_MAX, OPTIONS)
        self.users, self.watcher = self.pool[:-1], self.pool[-1]
        self.watcher.send("watch")
        self.model: dict[str, Dataset] = {}
        self.views: dict[int, tuple[int, Dataset | None, int, int]] = {}
        self.loose: list[tuple[int, Any]] = []
        self.next = 0

    def teardown(self) -> None:
        self.watcher.send("pid")
        self.watcher.answer()  # of watching: it saw no mixture
        self.watcher.answer()
        found = self.users[0].tell("ask", "statistics")
        type(self).evictions += sum(region.evictions for region in found.regions)
        for worker in self.pool:
            worker.tell("reopen", None, 0, {})
        left = list(self.folder.glob("sessions/*"))
        shutil.rmtree(self.folder)
        assert left == []

    def value(self) -> int:
        self.next += 1
        return self.next

    def holds_bytes(self) -> int:
        """What cannot go: views, kept datasets, and what processes keep for speed."""
        views = sum(nbytes for *_, nbytes in self.views.values())
        kept = sum(_bytes(dataset.rows) for dataset in self.model.values() if dataset.kept)
        return views + kept + (PROCESSES + 1) * KEPT_BYTES

    def published(self, name: str, value: int, rows: int, version: int) -> None:
        dataset = self.model.setdefault(name, Dataset())
        dataset.last += 1
        assert version == dataset.last
        dataset.values[version], dataset.rows = value, rows

    def refused(self, nbytes: int) -> None:
        """No room is an answer only where what is held leaves none."""
        assert self.holds_bytes() + nbytes > BUDGET

    @rule(user=USERS, name=NAMES, rows=ROWS, filled=st.booleans())
    def put(self, user: int, name: str, rows: int, *, filled: bool) -> None:
        value = self.value()
        try:
            found = self.users[user].tell("fill" if filled else "put", name, value, rows)
        except SharedMemoryFullError:
            self.refused(_bytes(rows))
            return
        self.published(name, value, rows, found.version if filled else found)

    @rule(user=USERS, names=st.sets(NAMES, min_size=2), rows=ROWS)
    def put_all(self, user: int, names: set[str], rows: int) -> None:
        values = {name: (self.value(), rows) for name in sorted(names)}
        try:
            versions = self.users[user].tell("put_all", values)
        except SharedMemoryFullError:
            self.refused(len(names) * _bytes(rows))
            return
        for name, version in versions.items():
            self.published(name, *values[name], version)

    @rule(user=USERS, name=NAMES, version=st.integers(-2, 0))
    def get(self, user: int, name: str, version: int) -> None:
        """The newest, or one of the last versions by its number."""
        dataset = self.model.get(name)
        wanted = None if version == 0 or dataset is None else dataset.last + 1 + version
        try:
            value, _, found = self.users[user].tell("get", name, wanted)
        except DatasetNotFoundError:
            assert dataset is None
        except DatasetEvictedError:
            assert dataset is not None
            assert not dataset.stays or wanted not in {None, dataset.last}
        else:
            assert dataset is not None
            assert found == (wanted or dataset.last)
            assert value == dataset.values[found]

    @rule(user=USERS, name=NAMES, how=HOW)
    def hold(self, user: int, name: str, how: str) -> None:
        dataset = self.model.get(name)
        key = self.value()
        try:
            version = self.users[user].tell("hold", key, name, how)
        except (DatasetNotFoundError, DatasetEvictedError):
            assert dataset is None or not dataset.stays
            return
        assert dataset is not None
        assert version == dataset.last
        dataset.held[version] = dataset.held.get(version, 0) + 1
        self.views[key] = user, dataset, version, _bytes(dataset.rows)

    @rule(user=USERS, rows=ROWS)
    def share(self, user: int, rows: int) -> None:
        key = self.value()
        try:
            descriptor = self.users[user].tell("fill", None, key, rows, key=key)
        except SharedMemoryFullError:
            self.refused(_bytes(rows))
            return
        self.views[key] = user, None, 0, _bytes(rows)
        self.loose.append((key, descriptor))

    @precondition(lambda self: self.loose)
    @rule(user=USERS, place=st.integers(0, 100))
    def attach(self, user: int, place: int) -> None:
        owner, descriptor = self.loose[place % len(self.loose)]
        key = self.value()
        self.users[user].tell("attach", key, descriptor)
        self.views[key] = user, None, 0, self.views[owner][3]

    @precondition(lambda self: self.views)
    @rule(place=st.integers(0, 100))
    def let_go(self, place: int) -> None:
        key = list(self.views)[place % len(self.views)]
        user, dataset, version, _ = self.views.pop(key)
        self.users[user].tell("let_go", key)
        self.loose = [(owner, descriptor) for owner, descriptor in self.loose if owner != key]
        if dataset is not None:
            dataset.held[version] -= 1

    @rule(user=USERS, name=NAMES)
    def drop(self, user: int, name: str) -> None:
        dataset = self.model.pop(name, None)
        try:
            self.users[user].tell("do", "drop", name)
        except DatasetNotFoundError:
            assert dataset is None or not dataset.stays

    @rule(user=USERS, name=NAMES, forever=st.booleans())
    def keep(self, user: int, name: str, *, forever: bool) -> None:
        dataset = self.model.get(name)
        try:
            self.users[user].tell("do", "keep", name, forever=forever)
        except (DatasetNotFoundError, DatasetEvictedError):
            assert dataset is None or not dataset.stays
        else:
            assert dataset is not None
            dataset.kept = forever

    @rule(user=USERS, name=NAMES, rows=ROWS)
    def fork(self, user: int, name: str, rows: int) -> None:
        """The child inherits the views, puts and ends."""
        value = self.value()
        code, answer = self.users[user].tell("fork", "put", name, value, rows)
        if code:
            assert "SharedMemoryFullError" in answer
            self.refused(_bytes(rows) + KEPT_BYTES)
        else:
            self.published(name, value, rows, int(answer))

    @invariant()
    def every_view_shows_what_it_showed(self) -> None:
        for worker in self.users:
            worker.send("check")
        assert sum(worker.answer() for worker in self.users) == len(self.views)

    @invariant()
    def what_cannot_go_is_there(self) -> None:
        names = set(self.users[0].tell("ask", "names"))

        assert names <= set(self.model)
        assert names >= {name for name, dataset in self.model.items() if dataset.stays}


def _bytes(rows: int) -> int:
    """At most; two columns of 8 bytes, a head and paddings."""
    return 16 * rows + (64 << 10)


@pytest.fixture(scope="module")
def pool() -> Iterator[list[workers.Remote]]:
    with workers.starting() as start:
        first = Path(tempfile.mkdtemp(prefix="ngb-test-"))
        yield [start(first, BYTES_MAX, **OPTIONS) for _ in range(PROCESSES + 1)]
        shutil.rmtree(first, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "examples", [6, pytest.param(400, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_any_steps_of_several_processes(pool: list[workers.Remote], examples: int) -> None:
    ProcessesMachine.pool = pool
    run_state_machine_as_test(
        ProcessesMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )

    assert ProcessesMachine.evictions > 20
