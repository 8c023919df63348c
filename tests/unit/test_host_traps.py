"""Host traps are told from values; reading the host for them is quick and never fails."""

from __future__ import annotations

import os
import resource
import stat
import sys
from pathlib import Path

import pytest

from neural_gpu_bus import host_traps
from neural_gpu_bus.host_traps import Trap

MIB = 1 << 20


def told(trap: Trap | None) -> Trap:
    """It is one, and says what to do."""
    assert trap is not None
    assert trap.detail
    assert trap.advice
    return trap


def test_dockers_64_mib_is_a_trap_and_one_more_byte_is_none() -> None:
    assert told(host_traps.small_file_system(64 * MIB)).breaks
    assert host_traps.small_file_system(64 * MIB + 1) is None


@pytest.mark.parametrize("file_system", ["ext4", "overlay", "nfs4"])
def test_a_folder_on_a_disk_is_a_trap(file_system: str) -> None:
    assert file_system in told(host_traps.on_disk(file_system)).detail


@pytest.mark.parametrize("file_system", ["tmpfs", "ramfs", None])
def test_a_folder_in_memory_or_nobody_knows_where_is_none(file_system: str | None) -> None:
    assert host_traps.on_disk(file_system) is None


def test_a_budget_beyond_memory_and_swap_is_a_trap() -> None:
    assert host_traps.beyond_memory(300 * MIB, 200 * MIB, 100 * MIB) is None
    assert "300 MiB" in told(host_traps.beyond_memory(301 * MIB, 200 * MIB, 100 * MIB)).detail
    assert host_traps.beyond_memory(201 * MIB, 200 * MIB, 0) is not None


def test_few_mappings_are_a_trap() -> None:
    assert host_traps.few_mappings(65_530) is None
    assert "max_map_count=65530" in told(host_traps.few_mappings(65_529)).advice


@pytest.mark.parametrize(
    ("soft", "hard", "advice"),
    [
        (256, 4096, "ulimit -n 4096"),
        (256, resource.RLIM_INFINITY, "ulimit -n 65536"),
        (256, 512, "limits.conf"),
    ],
)
def test_few_open_files_are_a_trap_with_a_way_out(soft: int, hard: int, advice: str) -> None:
    assert advice in told(host_traps.few_open_files(soft, hard)).advice


@pytest.mark.parametrize("soft", [1024, resource.RLIM_INFINITY])
def test_enough_open_files_are_none(soft: int) -> None:
    assert host_traps.few_open_files(soft, resource.RLIM_INFINITY) is None


def test_removal_at_logout_is_a_trap_unless_it_is_off_or_the_user_stays() -> None:
    assert "logout" in told(host_traps.removed_at_logout("", lingers=False)).detail
    assert host_traps.removed_at_logout("no", lingers=False) is None
    assert host_traps.removed_at_logout("yes", lingers=True) is None


def status(mode: int, uid: int = 7) -> os.stat_result:
    return os.stat_result((stat.S_IFDIR | mode, 0, 0, 1, uid, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("folder", "parent", "word"),
    [
        (status(0o700, uid=8), status(0o1777), "belongs to user 8"),
        (status(0o3770), status(0o1777), "sticky bit keeps"),
        (status(0o700), status(0o777), "no sticky bit"),
    ],
)
def test_a_folder_that_others_can_meddle_with_is_a_trap(
    folder: os.stat_result, parent: os.stat_result, word: str
) -> None:
    assert word in told(host_traps.unsafe_folder(folder, parent, 7)).detail


@pytest.mark.parametrize("folder", [status(0o700), status(0o2770, uid=8)])
def test_a_private_folder_and_one_of_a_group_are_none(folder: os.stat_result) -> None:
    assert host_traps.unsafe_folder(folder, status(0o1777), 7) is None


def test_the_last_file_that_sets_a_value_wins(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("[Login]\n#RemoveIPC=yes\nRemoveIPC=Yes\n")
    (tmp_path / "b").write_text(" RemoveIPC = no\nOther=1\n")

    assert host_traps.logind_setting("RemoveIPC", [tmp_path / "a"]) == "yes"
    assert host_traps.logind_setting("RemoveIPC", [tmp_path / "a", tmp_path / "b"]) == "no"
    assert host_traps.logind_setting("Missing", [tmp_path / "a"]) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="mountinfo is Linux's")
def test_the_mount_below_a_folder_is_found_by_its_device(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 999:1 / / rw - ext4 /dev/vda rw\n"
        f"2 1 {os.major(device)}:{os.minor(device)} / /x rw,nosuid shared:4 - tmpfs shm rw,noswap\n"
    )

    assert host_traps.file_system_of(tmp_path, mounts) == ("tmpfs", "rw,noswap")


def test_a_system_without_a_limit_of_mappings_has_none(tmp_path: Path) -> None:
    assert host_traps.mappings_max(tmp_path / "missing") is None


def test_opening_tells_a_budget_that_this_host_cannot_hold(memory_folder: Path) -> None:
    names = [trap.name for trap in host_traps.at_open(memory_folder, 1 << 60)]

    assert "memory limit" in names
    assert "memory limit" not in [trap.name for trap in host_traps.at_open(memory_folder, MIB)]


def test_each_trap_is_logged_once_a_process(
    memory_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = (1 << 60) + os.getpid()  # one that no other test told

    host_traps.warn_at_open(memory_folder, budget)
    host_traps.warn_at_open(memory_folder, budget)

    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("memory limit: the budget of") == 1
