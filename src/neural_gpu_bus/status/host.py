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

from neural_gpu_bus.machine_memory import container_limit_bytes
from neural_gpu_bus.status.checks import Check, Verdict

MIB, GIB = 1 << 20, 1 << 30

#: Docker's default /dev/shm; less than this cannot hold a day of ticks.
SHARED_MEMORY_BYTES_MIN = 64 * MIB
#: One mapping a block; the kernel's default.
MAP_COUNT_MIN = 65_530
#: One descriptor a block while it is made, sockets and libraries besides.
OPEN_FILES_MIN = 1_024
#: Vector extensions that the compiled kernels gain from.
VECTOR_FEATURES = ("avx512f", "avx2", "sse4_2", "asimd", "sve")


def check_host(memory_folder: Path) -> list[Check]:
    """Every host fact, the most basic first."""
    everywhere = [_python(), _cores(), _processor(), _memory(), _shared_memory(memory_folder)]
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
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Check("cores", Verdict.GOOD, f"{usable} usable of {os.cpu_count()}")


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


def _shared_memory(folder: Path) -> Check:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(existing)
    detail = f"{folder}: {usage.free / MIB:,.0f} of {usage.total / MIB:,.0f} MiB free"
    if not os.access(existing, os.W_OK):
        advice = "it cannot be written to; set NGB_MEMORY_FOLDER to a folder on tmpfs that can"
        return Check("shared memory", Verdict.BAD, detail, advice)
    if usage.total <= SHARED_MEMORY_BYTES_MIN:
        advice = "Docker's default: start the container with --shm-size=4g or --ipc=host"
        return Check("shared memory", Verdict.BAD, detail, advice)
    return Check("shared memory", Verdict.GOOD, detail)


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    good = soft >= OPEN_FILES_MIN
    advice = "" if good else f"raise it: ulimit -n {min(hard, 65_536)}"
    verdict = Verdict.GOOD if good else Verdict.LIMITED
    return Check("open files", verdict, f"{soft} of at most {hard}", advice)


def _mappings() -> Check | None:
    file = Path("/proc/sys/vm/max_map_count")
    if not file.exists():
        return None
    count = int(file.read_text())
    good = count >= MAP_COUNT_MIN
    advice = "" if good else f"raise it: sysctl vm.max_map_count={MAP_COUNT_MIN}"
    return Check("memory mappings", Verdict.GOOD if good else Verdict.LIMITED, str(count), advice)


def _removal_at_logout() -> Check | None:
    """systemd's RemoveIPC deletes a plain user's /dev/shm files when his last login ends."""
    if not Path("/run/systemd/system").exists() or os.geteuid() < 1000:
        return None
    lingers = Path(f"/var/lib/systemd/linger/{psutil.Process().username()}").exists()
    if lingers or _logind_setting("RemoveIPC") == "no":
        return Check("RemoveIPC", Verdict.GOOD, "shared memory outlives logout")
    return Check(
        "RemoveIPC",
        Verdict.LIMITED,
        "systemd removes this user's shared memory at logout",
        "loginctl enable-linger, or RemoveIPC=no in logind.conf",
    )


def _logind_setting(name: str) -> str:
    files = [Path("/etc/systemd/logind.conf"), *Path("/etc/systemd").glob("logind.conf.d/*.conf")]
    value = ""
    for line in (line for file in files if file.exists() for line in file.read_text().splitlines()):
        key, _, setting = line.partition("=")
        value = setting.strip().lower() if key.strip() == name else value
    return value
