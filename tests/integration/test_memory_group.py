"""Who may use a memory folder: its owner, or the members of a group, and nobody else."""

import grp
import os
import pwd
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from neural_gpu_bus.errors import BadSettingError, NeuralGpuBusError
from neural_gpu_bus.memory import UnifiedMemory

BYTES_MAX = 64 << 20
GROUP, MEMBER, SECOND, STRANGER = "ngb-test-group", "ngb-test-a", "ngb-test-b", "ngb-test-c"
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def command(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@pytest.fixture(scope="module")
def users() -> Iterator[None]:
    """A group of two members, and a stranger; gone afterwards."""
    if os.geteuid() != 0:
        pytest.skip("only root makes users")
    try:
        command("groupadd", "--system", GROUP)
        for user in (MEMBER, SECOND):
            command("useradd", "--system", "--no-create-home", "--groups", GROUP, user)
        command("useradd", "--system", "--no-create-home", STRANGER)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no users can be made here: {error}")
    yield
    for user in (MEMBER, SECOND, STRANGER):
        command("userdel", user)
    command("groupdel", GROUP)


def as_user(name: str, do: Callable[[], object]) -> str:
    """What that user gets of it: an answer, or an error."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            user = pwd.getpwnam(name)
            os.setgroups(os.getgrouplist(name, user.pw_gid))
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            os.umask(0o077)
            answer = str(do())
        except NeuralGpuBusError as error:
            answer = f"{type(error).__name__}: {error}"
        except BaseException as error:  # noqa: BLE001  a child must not go on as a test
            answer = f"crashed: {error!r}"
        os.write(theirs, answer.encode()[:4096])
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(pid, 0)
    return answer


def modes(folder: Path) -> dict[str, set[int]]:
    """Rights of files and of directories below, and of the folder itself."""
    found: dict[str, set[int]] = {"files": set(), "directories": {folder.stat().st_mode & 0o7777}}
    for path in folder.rglob("*"):
        kind = "directories" if path.is_dir() else "files"
        found[kind].add(stat.S_IMODE(path.stat().st_mode))
    return found


@pytest.fixture
def parent(memory_folder: Path) -> Path:
    """A directory that all may pass, in which folders are made."""
    memory_folder.chmod(0o777)
    return memory_folder


def test_without_a_group_all_is_the_owner_s(memory: UnifiedMemory) -> None:
    held = memory.put("a", {"x": [1]})
    memory.share({"x": [1]})
    reservation = memory.reserve(held.arrow().schema, 1)

    assert modes(memory.folder) == {"files": {0o600, 0o400}, "directories": {0o700}}
    reservation.abandon()


def test_a_group_that_is_none_is_refused(memory_folder: Path) -> None:
    with pytest.raises(BadSettingError, match="no group 'ngb-none' on this host\nhint: set NGB_ME"):
        UnifiedMemory(memory_folder / "new", BYTES_MAX, group="ngb-none")


@pytest.mark.usefixtures("users")
def test_members_read_write_evict_and_sweep_and_strangers_do_nothing(parent: Path) -> None:
    folder = parent / "memory"

    def make() -> object:
        memory = UnifiedMemory(folder, BYTES_MAX, group=GROUP)
        memory.put("from the first", {"x": np.arange(100_000)})
        memory.put("kept", {"x": np.arange(10)})
        shared = memory.share({"x": [1]})
        assert shared.rows == 1
        return modes(folder)

    def use() -> object:
        memory = UnifiedMemory(folder, BYTES_MAX, group=GROUP)
        got = int(memory.get("from the first")["x"].sum())
        memory.keep("kept")
        version = memory.put("from the first", {"x": np.arange(5)}).version
        memory.drop("from the first")
        for number in range(25):
            memory.put(f"n{number}", {"x": np.full(100_000, number)})
        evicted = memory.statistics().regions[2].evictions > 0
        return got, version, evicted, "kept" in memory.names(), len(memory.statistics().processes)

    first = as_user(MEMBER, make)
    assert first == str({"files": {0o660, 0o440}, "directories": {0o2770}}), first
    group_id = grp.getgrnam(GROUP).gr_gid
    assert {path.stat().st_gid for path in folder.rglob("*")} == {group_id}
    total = sum(range(100_000))
    assert as_user(SECOND, use) == f"({total}, 2, True, True, 1)"
    # The first member again, in what the second made, and swept what he left.
    again = as_user(MEMBER, lambda: UnifiedMemory(folder, BYTES_MAX, group=GROUP).get("n24").rows)
    assert again == "100000"
    for group in (None, GROUP):
        answer = as_user(
            STRANGER, lambda g=group: UnifiedMemory(folder, BYTES_MAX, group=g).names()
        )
        assert answer.startswith("BadSettingError: memory folder"), answer
    with pytest.raises(BadSettingError, match=r"belongs to user \d+, group \d+, with mode 2770"):
        UnifiedMemory(folder, BYTES_MAX)


@pytest.mark.usefixtures("users")
def test_a_folder_of_another_user_is_refused(parent: Path) -> None:
    folder = parent / "private"
    made = as_user(MEMBER, lambda: UnifiedMemory(folder, BYTES_MAX).put("a", {"x": [1]}).version)
    assert made == "1"

    for group in (None, GROUP):
        answer = as_user(SECOND, lambda g=group: UnifiedMemory(folder, BYTES_MAX, group=g).names())
        assert answer.startswith("BadSettingError: memory folder"), answer
        assert "hint: " in answer


@pytest.mark.usefixtures("users")
def test_who_is_no_member_cannot_make_a_group_s_folder(parent: Path) -> None:
    answer = as_user(STRANGER, lambda: UnifiedMemory(parent / "no", BYTES_MAX, group=GROUP))

    assert answer.startswith("BadSettingError: memory folder"), answer
    assert f"be a member of group '{GROUP}'" in answer
