"""What every unified memory has to do (``ports.Memory``)."""

import gc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import (
    BadParameterError,
    DatasetEvictedError,
    DatasetNotFoundError,
    SharedMemoryFullError,
)
from neural_gpu_bus.memory import UnifiedMemory

A = {"x": np.arange(10), "t": ["a"] * 10}
B = {"x": np.arange(20)}


class TestMemory:
    """Over one folder, as one process sees it; ``memory`` may be replaced by another kind."""

    def test_what_is_put_is_got(self, memory: UnifiedMemory) -> None:
        put = memory.put("a", A)

        assert memory.get("a") == put
        assert memory.get("a")["x"].tolist() == list(range(10))
        assert (put.descriptor.name, put.descriptor.version, put.rows) == ("a", 1, 10)
        assert memory.names() == ["a"]

    def test_names_of_results_are_not_for_users(self, memory: UnifiedMemory) -> None:
        """A worker drops old results: whatever is named so would be lost with them."""
        memory.put_result("a", A)
        reservation = memory.reserve(pa.schema([("x", pa.int64())]), 1)
        for seal in (lambda: memory.put("jobs/a", B), lambda: reservation.seal("jobs/b")):
            with pytest.raises(BadParameterError, match="a name for the result of a job"):
                seal()

        assert reservation.seal("b").rows == 1
        assert memory.get("jobs/a").rows == 10
        assert memory.names() == ["b", "jobs/a"]

    def test_blocks_are_listed_by_the_beginning_of_their_names(self, memory: UnifiedMemory) -> None:
        for name in ("a", "b/1", "b/2", "c"):
            memory.put(name, A)
        new = memory.put("b/1", B)

        assert [block.name for block in memory.blocks("b/")] == ["b/1", "b/2"]
        assert memory.blocks("b/")[0] == new.descriptor
        assert memory.blocks("d") == []

    @pytest.mark.parametrize("name", [5, None, b"a", "", "\ud800"])
    def test_what_is_no_name_is_refused_everywhere(self, memory: UnifiedMemory, name: Any) -> None:
        for use in (lambda: memory.put(name, A), lambda: memory.drop(name)):
            with pytest.raises(BadParameterError, match="is no name for a dataset"):
                use()
        with pytest.raises((BadParameterError, DatasetNotFoundError), match="dataset"):
            memory.get(name)

    def test_getting_again_is_the_same_frame(self, memory: UnifiedMemory) -> None:
        memory.put("a", A)

        assert memory.get("a") is memory.get("a")

    def test_a_new_version_is_got_and_the_old_view_stays(self, memory: UnifiedMemory) -> None:
        memory.put("a", A)
        old = memory.get("a")
        values = old["x"]
        for _ in range(3):
            memory.put("a", B)

        assert memory.get("a").rows == 20
        assert memory.get("a").descriptor.version == 4
        assert values.tolist() == list(range(10))
        assert old["t"].tolist() == ["a"] * 10

    def test_the_version_before_is_kept(self, memory: UnifiedMemory) -> None:
        memory.put("a", A)
        memory.put("a", B)

        assert memory.get("a", 1).rows == 10
        assert memory.get("a", 2).rows == 20
        memory.put("a", B)
        with pytest.raises(DatasetEvictedError, match="version 1 of 'a' is not kept"):
            memory.get("a", 1)

    def test_unknown_names_are_errors(self, memory: UnifiedMemory) -> None:
        memory.put("bars", A)
        with pytest.raises(
            DatasetNotFoundError, match=r"no dataset 'barz'.*\n.*did you mean.*bars"
        ):
            memory.get("barz")
        for name in ("x", "", "x" * 600):
            with pytest.raises(DatasetNotFoundError, match=f"no dataset '{name}'"):
                memory.get(name)
        with pytest.raises(DatasetNotFoundError, match="no dataset 'x'"):
            memory.get("x", 1)
        with pytest.raises(DatasetNotFoundError, match="no dataset 'x'"):
            memory.drop("x")
        with pytest.raises(BadParameterError, match="'' is no name"):
            memory.put("", A)

    def test_drop_forgets_and_views_stay(self, memory: UnifiedMemory) -> None:
        frame = memory.put("a", A)
        memory.put("a", B)
        memory.drop("a")

        assert memory.names() == []
        with pytest.raises(DatasetNotFoundError, match="no dataset 'a'"):
            memory.get("a")
        assert frame["x"].tolist() == list(range(10))

    def test_a_result_is_dropped_only_while_it_is_the_newest(self, memory: UnifiedMemory) -> None:
        before = memory.statistics().bytes_used
        old = memory.put_result("a", A).descriptor
        new = memory.put_result("a", B)
        used = memory.statistics().bytes_used
        memory.drop_result(old)
        assert memory.get("jobs/a") == new
        assert memory.statistics().bytes_used == used

        block = new.descriptor
        for _ in range(2):  # another was first: nothing is left to do
            memory.drop_result(block)
        assert memory.names() == []
        assert memory.statistics().bytes_used == before + new.nbytes  # somebody still looks at it
        del new
        gc.collect()
        assert memory.statistics().bytes_used == before
        assert list((memory.folder / "datasets").iterdir()) == []

    def test_dropped_memory_is_given_back(self, memory: UnifiedMemory) -> None:
        before = memory.statistics()
        memory.put("a", A)
        memory.put("a", B)
        memory.share(A)
        memory.drop("a")
        gc.collect()

        left = msgspec.structs.replace(memory.statistics(), bytes_free_host=before.bytes_free_host)
        assert left == before
        assert list((memory.folder / "datasets").iterdir()) == []

    def test_descriptors_attach_the_same_block(self, memory: UnifiedMemory) -> None:
        for frame in (memory.put("a", A), memory.share(A)):
            travelled = msgspec.msgpack.decode(
                msgspec.msgpack.encode(frame.descriptor), type=type(frame.descriptor)
            )

            assert memory.attach(travelled) == frame

    def test_a_block_that_is_gone_is_an_error(self, memory: UnifiedMemory) -> None:
        descriptor = memory.share(A).descriptor
        gc.collect()
        with pytest.raises(DatasetEvictedError, match="not in this memory any more: No such file"):
            memory.attach(descriptor)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"host": "another"}, r"lies on another host \(another\)"),
            ({"path": "../../../etc/passwd"}, "is no path of a block"),
            ({"nbytes": 5}, "its file has another size"),
            ({"uuid": "f" * 32}, "its file is another block"),
        ],
    )
    def test_another_block_is_never_taken_for_it(
        self, memory: UnifiedMemory, change: dict[str, object], says: str
    ) -> None:
        frame = memory.put("a", A)
        with pytest.raises(DatasetEvictedError, match=says):
            memory.attach(msgspec.structs.replace(frame.descriptor, **change))

    def test_a_pinned_block_outlives_its_dataset(self, memory: UnifiedMemory) -> None:
        pinned = memory.pin(memory.put("a", A))
        used = memory.statistics().bytes_used
        memory.drop("a")

        assert memory.attach(pinned.descriptor)["x"].tolist() == list(range(10))
        assert memory.statistics().bytes_used == used
        descriptor = pinned.descriptor
        del pinned
        gc.collect()
        with pytest.raises(DatasetEvictedError, match="No such file"):
            memory.attach(descriptor)

    def test_pinning_what_has_no_name_is_holding_it(self, memory: UnifiedMemory) -> None:
        frame = memory.share(A)

        assert memory.pin(frame) is frame

    def test_the_budget_is_an_error_before_any_memory(self, memory_folder: Path) -> None:
        memory = UnifiedMemory(memory_folder, 4 << 20)
        memory.put("a", {"x": np.zeros(1000)})
        with pytest.raises(
            SharedMemoryFullError, match="whole budget of region 'shared' is 1,048,576"
        ) as caught:
            memory.put("b", {"x": np.zeros(200_000)})

        assert caught.value.needed_bytes > 1_600_000
        assert caught.value.folder == str(memory_folder)
        assert caught.value.free_bytes > 0
        assert memory.names() == ["a"]
        assert memory.statistics().blocks == 1

    def test_a_version_that_is_held_here_is_found_while_it_lives(
        self, memory: UnifiedMemory
    ) -> None:
        first = memory.put("a", A)
        for _ in range(3):
            memory.put("a", B)

        assert memory.get("a", 1) is first
        del first
        gc.collect()
        with pytest.raises(DatasetEvictedError, match="version 1 of 'a' is not kept"):
            memory.get("a", 1)

    def test_what_making_it_again_costs_is_remembered(self, memory: UnifiedMemory) -> None:
        memory.put("a", A, reload_ns=5)
        memory.reserve(pa.schema([("x", pa.int64())]), 1, name="b").seal(reload_ns=7)

        assert [one.reload_ns for one in memory.facts()] == [5, 7]

    def test_statistics_count_everything(self, memory: UnifiedMemory) -> None:
        named, loose = memory.put("a", A), memory.share(A)
        found = memory.statistics()

        assert (found.datasets, found.blocks) == (1, 2)
        assert found.bytes_used == named.nbytes + loose.nbytes
        assert found.bytes_used <= found.bytes_max
        assert found.folder == str(memory.folder)

    def test_frames_stay_readable_after_close(self, memory_folder: Path) -> None:
        memory = UnifiedMemory(memory_folder, 1 << 24)
        frame, loose = memory.put("a", A), memory.share(A)
        memory.close()

        assert frame["x"].tolist() == loose["x"].tolist() == list(range(10))
        assert list((memory_folder / "sessions").iterdir()) == []
        assert UnifiedMemory(memory_folder, 1 << 24).names() == ["a"]

    def test_two_memories_of_one_process_see_each_other(self, memory: UnifiedMemory) -> None:
        other = UnifiedMemory(memory.folder, 1 << 24)
        memory.put("a", A)
        assert other.get("a")["x"].tolist() == list(range(10))
        other.close()
        memory.put("a", B)

        assert memory.get("a").rows == 20

    def test_a_kept_frame_that_another_replaced_is_let_go(self, memory: UnifiedMemory) -> None:
        other = UnifiedMemory(memory.folder, 1 << 24)
        other.put("a", A)
        other.put("b", A)
        memory.get("a")
        other.drop("a")
        memory.get("b")

        assert list(memory._use.kept) == ["b"]
        other.close()
