"""The folder: private, swept of the dead, never of the living."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadSettingError, HostError
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.files import folder as folders

BLOCK = f"{'0' * 32}.arrow"


def test_a_folder_that_others_can_enter_is_refused(memory_folder: Path) -> None:
    memory_folder.chmod(0o755)
    with pytest.raises(BadSettingError, match="with mode 755"):
        UnifiedMemory(memory_folder, 1 << 20)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSettingError, match=r"cannot be made: .*\n.*NGB_MEMORY_FOLDER"):
        UnifiedMemory(tmp_path / "file" / "folder", 1 << 20)


def test_everything_made_is_private(memory: UnifiedMemory) -> None:
    memory.share({"a": [1]})
    memory.put("a", {"a": [1]})
    for path in [memory.folder, *memory.folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_dead_session_is_swept_and_a_living_one_is_not(memory: UnifiedMemory) -> None:
    frame = memory.share({"a": [1]})
    dead = memory.folder / "sessions" / ("d" * 32)
    dead.mkdir()
    (dead / "lock").touch()
    (dead / BLOCK).touch()
    unborn = memory.folder / "sessions" / ("e" * 32)
    unborn.mkdir()
    UnifiedMemory(memory.folder, 1 << 20).close()

    assert not dead.exists()
    assert not unborn.exists()
    assert (memory.folder / frame.descriptor.path).exists()


def test_a_dataset_without_an_entry_is_swept_and_foreign_files_are_not(
    memory: UnifiedMemory,
) -> None:
    frame = memory.put("a", {"a": [1]})
    orphan = memory.folder / "datasets" / BLOCK
    orphan.touch()
    foreign = memory.folder / "datasets" / "notes.txt"
    foreign.touch()
    memory.close()
    UnifiedMemory(memory.folder, 1 << 20).close()  # the first to come looks at every file

    assert not orphan.exists()
    assert foreign.exists()
    assert (memory.folder / frame.descriptor.path).exists()


def test_what_an_earlier_boot_left_is_forgotten(
    memory_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_data = UnifiedMemory(memory_folder, 1 << 24)
    with_data.put("a", {"a": [1]})
    with_data.close()
    monkeypatch.setattr(folders, "host_identity", lambda: "the next boot")

    assert UnifiedMemory(memory_folder, 1 << 24).names() == []


@pytest.mark.parametrize(
    "path",
    ["../../etc/passwd", "datasets/../../x", "/etc/passwd", "index/data.mdb", "datasets/x.arrow"],
)
def test_only_block_paths_are_block_paths(path: str) -> None:
    assert not folders.BLOCK_PATH.fullmatch(path)


def test_blocks_without_a_name_are_counted_and_nothing_else(memory_folder: Path) -> None:
    corner = memory_folder / "sessions" / ("a" * 32)
    corner.mkdir(parents=True)
    for name in ("b.arrow", "c.arrow", "lock", "maps", "d.spare"):
        (corner / name).touch()

    assert folders.count_unnamed(memory_folder) == 2


def test_files_and_folders_have_the_rights_of_the_folder_they_lie_in(memory_folder: Path) -> None:
    private = memory_folder / "private"
    folders.make_directory(private)
    shared = memory_folder / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    folders.make_directory(shared / "inner")
    modes = []
    for folder in (private, shared / "inner"):
        file = folders.make_file(folder / "x")
        open_mode = (folder / "x").stat().st_mode & 0o777
        folders.seal_file(file)
        os.close(file)
        sealed_mode = (folder / "x").stat().st_mode & 0o777
        modes.append((folder.stat().st_mode & 0o777, open_mode, sealed_mode))

    assert modes == [(0o700, 0o600, 0o400), (0o770, 0o660, 0o440)]


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_a_folder_that_is_gone_is_told(memory_folder: Path, *, is_made_anew: bool) -> None:
    """Its keeper was killed; the next one's has the same path."""
    memory = UnifiedMemory(memory_folder, 1 << 24)
    gone = memory_folder.rename(memory_folder.with_name(f"{memory_folder.name}-gone"))
    if is_made_anew:
        UnifiedMemory(memory_folder, 1 << 24).close()

    with pytest.raises(HostError, match="is gone: its keeper has ended"):
        memory.put("a", {"x": [1.0]})
    if not is_made_anew:
        with pytest.raises(HostError, match="is gone: the keeper of this memory has ended"):
            memory.growing.series("s", pa.schema([("x", pa.float64())]), [], None, "s")
        memory_folder.mkdir()
    shutil.rmtree(gone)


def test_a_folder_made_anew_is_another_memory_beside_the_one_that_is_open(
    memory_folder: Path,
) -> None:
    """A process that still has the old one open can use the new one, and a child of it, too."""
    old = UnifiedMemory(memory_folder, 1 << 24)
    old.put("a", {"x": [1.0]})
    shutil.rmtree(memory_folder)
    new = UnifiedMemory(memory_folder, 1 << 24)

    new.put("b", {"x": [2.0]})
    assert new.names() == ["b"]
    child = os.fork()
    if child == 0:
        new.put("c", {"x": [3.0]})
        os._exit(new.names() != ["b", "c"])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(HostError, match="is gone: its keeper has ended"):
        old.put("a", {"x": [1.0]})
    with pytest.raises(HostError, match="is gone: its keeper has ended"):  # closed by the fork
        old.names()
    old.close()
    new.put("d", {"x": [4.0]})
    assert new.get("b").arrow().to_pylist() == [{"x": 2.0}]
    new.close()
