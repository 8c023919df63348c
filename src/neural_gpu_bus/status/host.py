"""Facts of the machine that decide how well shared memory and the engines run."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from neural_gpu_bus import host_traps
from neural_gpu_bus.host_traps import Trap
from neural_gpu_bus.machine_cores import usable_cores
from neural_gpu_bus.machine_memory import container_limit_bytes
from neural_gpu_bus.status.checks import Check, Verdict

MIB, GIB = 1 << 20, 1 << 30

#: Vector extensions that the compiled kernels gain from.
VECTOR_FEATURES = ("avx512f", "avx2", "sse4_2", "asimd", "sve")


def check_host(memory_folder: Path, budget_bytes: int) -> list[Check]:
    """Every host fact, the most basic first; the budget is that of the shared memory."""
    everywhere = [_python(), _cores(), _processor(), _memory()]
    everywhere += _memory_folder(memory_folder, budget_bytes)
    linux_only = [_mappings(), _removal_at_logout()]
    return [*everywhere, _open_files(), *(check for check in linux_only if check is not None)]


def _python() -> Check:
    good = (3, 11) <= sys.version_info[:2] < (3, 15)
    return Check(
        "Python",
        Verdict.GOOD if good else Verdict.BAD,
        f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "" if good else "use Python 3.11 to 3.14",
    )


def _cores() -> Check:
    return Check("cores", Verdict.GOOD, f"{usable_cores()} usable of {os.cpu_count()}")


def _processor() -> Check:
    flags = _processor_flags()
    found = [feature for feature in VECTOR_FEATURES if feature in flags]
    advice = "" if found else "kernels run on plain instructions; nothing to do"
    verdict = Verdict.GOOD if found else Verdict.LIMITED
    return Check("CPU features", verdict, ", ".join(found) or "no vector extension found", advice)


def _processor_flags() -> set[str]:
    """Feature names as Linux spells them; Apple's chips all have asimd (NEON)."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.split(":")[0].strip() in {"flags", "Features"}:
                return set(line.split(":", 1)[1].split())
        return set()
    if platform.machine() == "arm64":
        return {"asimd"}
    answer = subprocess.run(
        ["/usr/sbin/sysctl", "-n", "machdep.cpu.features", "machdep.cpu.leaf7_features"],
        capture_output=True,
        text=True,
        check=False,
        timeout=5,
    )
    return {name.lower().replace(".", "_") for name in answer.stdout.split()}


def _memory() -> Check:
    memory = psutil.virtual_memory()
    limit_bytes = container_limit_bytes()
    detail = f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} GiB available"
    if limit_bytes < memory.total:
        detail += f", of which this container may use {limit_bytes / GIB:.1f} GiB"
    return Check("memory", Verdict.GOOD, detail)


def _memory_folder(folder: Path, budget_bytes: int) -> list[Check]:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(existing)
    detail = f"{folder}: {usage.free / MIB:,.0f} of {usage.total / MIB:,.0f} MiB free"
    if not os.access(existing, os.W_OK):
        advice = "it cannot be written to; set NGB_MEMORY_FOLDER to a folder on tmpfs that can"
        return [Check("shared memory", Verdict.BAD, detail, advice)]
    traps = [host_traps.on_disk(host_traps.file_system_of(existing)[0])]
    if existing == folder:
        traps.append(host_traps.unsafe_folder(folder.stat(), folder.parent.stat(), os.geteuid()))
    return [
        _check("shared memory", detail, host_traps.small_file_system(usage.total)),
        *(_check(trap.name, "", trap) for trap in traps if trap is not None),
        _memory_budget(existing, budget_bytes, usage.total),
    ]


def _memory_budget(folder: Path, asked_bytes: int, file_system_bytes: int) -> Check:
    """The budget in force is what the file system can hold where that is less."""
    detail = f"{min(asked_bytes, file_system_bytes) / MIB:,.0f} MiB"
    if asked_bytes > file_system_bytes:
        detail += f", all that its file system has, of {asked_bytes / MIB:,.0f} MiB"
    return _check("memory budget", detail, host_traps.memory_trap(asked_bytes, folder))


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _check("open files", f"{soft} of at most {hard}", host_traps.few_open_files(soft, hard))


def _mappings() -> Check | None:
    count = host_traps.mappings_max()
    if count is None:
        return None
    return _check("memory mappings", str(count), host_traps.few_mappings(count))


def _removal_at_logout() -> Check | None:
    """Nothing where no systemd runs, or for a system user."""
    if not host_traps.logins_are_kept():
        return None
    return _check("RemoveIPC", "shared memory outlives logout", host_traps.logout_trap())


def _check(name: str, detail: str, trap: Trap | None) -> Check:
    """The fact as it stands where there is no trap, and the trap where there is one."""
    if trap is None:
        return Check(name, Verdict.GOOD, detail)
    found = f"{detail}; {trap.detail}" if detail else trap.detail
    return Check(name, Verdict.BAD if trap.breaks else Verdict.LIMITED, found, trap.advice)
