"""Where shared memory lies: of one user's home, or of a group, whatever the home."""

from pathlib import Path

import pytest

from neural_gpu_bus.embedded import memory_folder
from neural_gpu_bus.embedded.handover import existing_digests
from neural_gpu_bus.embedded.home import remove_own_memory
from neural_gpu_bus.errors import BadSettingError
from neural_gpu_bus.settings import load_settings


def test_members_of_a_group_share_one_folder_whatever_their_homes(tmp_path: Path) -> None:
    def folder(home: str, group: str | None) -> Path:
        settings = load_settings(home=tmp_path / home, memory_folder=tmp_path, memory_group=group)
        return memory_folder(settings)

    assert folder("a", "quants") == folder("b", "quants") == tmp_path / "ngb-group-quants"
    assert folder("a", None) != folder("b", None)


def test_nobody_removes_the_memory_of_a_group(tmp_path: Path) -> None:
    mine = load_settings(home=tmp_path / "a", memory_folder=tmp_path)
    shared = load_settings(home=tmp_path / "a", memory_folder=tmp_path, memory_group="quants")
    for settings in (mine, shared):
        memory_folder(settings).mkdir()
        remove_own_memory(settings)

    assert not memory_folder(mine).exists()
    assert memory_folder(shared).exists()
    assert existing_digests(mine) != existing_digests(shared)  # keeper and client have to agree


@pytest.mark.parametrize("group", ["../x", "a/b", ""])
def test_a_group_is_a_plain_name(tmp_path: Path, group: str) -> None:
    with pytest.raises(BadSettingError, match="memory_group"):
        load_settings(home=tmp_path, memory_group=group)
