"""What about a host makes shared memory fail later, found before it does.

Each trap cost somebody data: `ngb doctor` shows them all, and opening the memory warns of them. The
functions that judge are pure; ``at_open`` and ``status.host`` read the host for them.
"""

from __future__ import annotations

import os
import resource
import stat
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import msgspec
import psutil
import structlog

from neural_gpu_bus.machine_memory import container_limit_bytes, usable_memory_bytes

MIB = 1 << 20

#: Docker's default /dev/shm; less than this cannot hold a day of ticks.
SHARED_MEMORY_BYTES_MIN = 64 * MIB
#: One mapping a block; the kernel's default.
MAP_COUNT_MIN = 65_530
#: One descriptor a block while it is made, sockets and libraries besides.
OPEN_FILES_MIN = 1_024
#: File systems whose pages are memory.
IN_MEMORY = frozenset({"tmpfs", "ramfs", "hugetlbfs"})
#: systemd spares the shared memory of system users, whose ids are below.
PERSON_UID_MIN = 1000
#: Later ones win.
LOGIND_FILES = tuple(
    f"{folder}/systemd/{name}"
    for folder in ("/usr/lib", "/run", "/etc")
    for name in ("logind.conf", "logind.conf.d/*.conf")
)

_log = structlog.get_logger(__name__)


class Trap(msgspec.Struct, frozen=True):
    """One thing that will go wrong, or may."""

    #: A few words, the same as in ``ngb doctor``.
    name: str
    #: What was found, with the values, and what it does.
    detail: str
    #: What to do.
    advice: str
    #: True where the memory is unusable or soon full until it is changed.
    breaks: bool = False


# --- judged from values -------------------------------------------------------------------------


def small_file_system(total_bytes: int) -> Trap | None:
    """Docker gives a container 64 MB of shared memory unless it is told otherwise."""
    if total_bytes > SHARED_MEMORY_BYTES_MIN:
        return None
    return Trap(
        "shared memory",
        f"its file system has {total_bytes / MIB:,.0f} MiB in all",
        "Docker's default: start the container with --shm-size=4g or --ipc=host",
        breaks=True,
    )


def on_disk(file_system: str | None) -> Trap | None:
    """Columns on a disk are written back all the time, and come back after a reboot."""
    if file_system is None or file_system in IN_MEMORY:
        return None
    return Trap(
        "memory folder",
        f"it lies on {file_system}, so every block is also written to a disk",
        "set NGB_MEMORY_FOLDER to a folder on tmpfs, e.g. in /dev/shm",
    )


def beyond_memory(budget_bytes: int, usable_bytes: int, swap_bytes: int) -> Trap | None:
    """The kernel charges tmpfs to the control group, and kills where its limit ends.

    ``usable_bytes``: the machine's memory or its container's limit; ``swap_bytes``: what the file
    system may use besides, 0 where it is mounted ``noswap``.
    """
    room_bytes = usable_bytes + swap_bytes
    if budget_bytes <= room_bytes:
        return None
    return Trap(
        "memory limit",
        f"the budget of {budget_bytes / MIB:,.0f} MiB is more than the {room_bytes / MIB:,.0f} MiB "
        "that the machine or its container has: the kernel will kill processes, not refuse blocks",
        "lower NGB_MEMORY_BYTES_MAX, or give the container more memory",
        breaks=True,
    )


def few_mappings(count_max: int) -> Trap | None:
    """Each block that a process holds is one mapping."""
    if count_max >= MAP_COUNT_MIN:
        return None
    return Trap(
        "memory mappings",
        f"a process may have {count_max:,} mappings, and each block is one",
        f"raise it: sysctl vm.max_map_count={MAP_COUNT_MIN}",
    )


def few_open_files(soft: int, hard: int) -> Trap | None:
    """A block is open only while it is made; servers and libraries need the others."""
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES_MIN:
        return None
    most = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    return Trap(
        "open files",
        f"a process may have {soft:,} files open",
        f"raise it: ulimit -n {most}"
        if most >= OPEN_FILES_MIN
        else "raise nofile in /etc/security/limits.conf, then log in again",
    )


def removed_at_logout(remove_ipc: str, *, lingers: bool) -> Trap | None:
    """systemd's RemoveIPC deletes a plain user's /dev/shm files when his last login ends."""
    if lingers or remove_ipc in {"no", "false", "off", "0"}:
        return None
    return Trap(
        "RemoveIPC",
        "systemd removes this user's shared memory at logout",
        "loginctl enable-linger, or RemoveIPC=no in logind.conf",
    )


def unsafe_folder(folder: os.stat_result, parent: os.stat_result, uid: int) -> Trap | None:
    """Who else could read, remove or replace what lies in the memory folder."""
    shared = bool(folder.st_mode & stat.S_IWGRP)
    if folder.st_uid != uid and not shared:
        return Trap(
            "memory folder",
            f"it belongs to user {folder.st_uid}, and this is user {uid}",
            "set NGB_MEMORY_FOLDER to a folder of your own",
            breaks=True,
        )
    if shared and folder.st_mode & stat.S_ISVTX:
        return Trap(
            "memory folder",
            "its sticky bit keeps members of its group from removing each other's blocks",
            "chmod -t that folder",
        )
    if parent.st_mode & stat.S_IWOTH and not parent.st_mode & stat.S_ISVTX:
        return Trap(
            "memory folder",
            "the folder above it has no sticky bit, so any user can put another in its place",
            "chmod +t the folder above it, or set NGB_MEMORY_FOLDER to another",
        )
    return None


# --- read from the host -------------------------------------------------------------------------


def at_open(folder: Path, bytes_max: int) -> list[Trap]:
    """Traps of this host for a memory folder that exists, with a budget. Takes 0.1 ms."""
    found = [*_of_host(), *_of_folder(folder, bytes_max)]
    return [trap for trap in found if trap is not None]


def warn_at_open(folder: Path, bytes_max: int) -> None:
    """Log each trap, once a process."""
    for trap in at_open(folder, bytes_max):
        _warn(trap)


@cache
def _warn(trap: Trap) -> None:
    _log.warning(f"{trap.name}: {trap.detail}", advice=trap.advice)


@cache
def _of_host() -> tuple[Trap | None, ...]:
    return (
        few_open_files(*resource.getrlimit(resource.RLIMIT_NOFILE)),
        None if (count := mappings_max()) is None else few_mappings(count),
        logout_trap(),
    )


def _of_folder(folder: Path, bytes_max: int) -> Iterator[Trap | None]:
    host = os.statvfs(folder)
    yield small_file_system(host.f_blocks * host.f_frsize)
    yield unsafe_folder(folder.stat(), folder.parent.stat(), os.geteuid())
    yield on_disk(file_system_of(folder)[0])
    yield memory_trap(bytes_max, folder)


def memory_trap(budget_bytes: int, folder: Path) -> Trap | None:
    """``beyond_memory`` with this host's values."""
    usable = usable_memory_bytes()
    if budget_bytes <= usable:  # nearly always, and the rest takes a while
        return None
    _, options = file_system_of(folder)
    swaps = usable < container_limit_bytes() and "noswap" not in options.split(",")
    return beyond_memory(budget_bytes, usable, psutil.swap_memory().total if swaps else 0)


def mappings_max(file: Path = Path("/proc/sys/vm/max_map_count")) -> int | None:
    """Mappings that a process may have; None where the system has no such limit (macOS)."""
    try:
        return int(file.read_text())
    except OSError:
        return None


def logins_are_kept() -> bool:
    """Whether systemd would look at this user's files when he leaves."""
    return os.geteuid() >= PERSON_UID_MIN and Path("/run/systemd/system").exists()


def logout_trap() -> Trap | None:
    """``removed_at_logout`` with this host's values."""
    if not logins_are_kept():
        return None
    import pwd

    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container run under a bare number
        name = str(uid)
    lingers = Path(f"/var/lib/systemd/linger/{name}").exists()
    files = [file for pattern in LOGIND_FILES for file in sorted(Path("/").glob(pattern[1:]))]
    return removed_at_logout(logind_setting("RemoveIPC", files), lingers=lingers)


def logind_setting(name: str, files: Iterable[Path]) -> str:
    """The last value that the files give, in lower case; empty where none does."""
    value = ""
    for line in (line for file in files for line in file.read_text().splitlines()):
        key, _, setting = line.partition("=")
        value = setting.strip().lower() if key.strip() == name else value
    return value


def file_system_of(
    folder: Path, mounts: Path = Path("/proc/self/mountinfo")
) -> tuple[str | None, str]:
    """Type and options of the mount below; ``(None, "")`` where nobody tells (macOS)."""
    if sys.platform != "linux":
        return None, ""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.read_text().splitlines():
        if line.split(" ", 3)[2] == wanted:
            file_system, _, options = line.partition(" - ")[2].split(" ", 2)
            return file_system, options
    return None, ""
