"""Starting processes that die with the keeper, and ending those that outlived one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from neural_gpu_bus.embedded.account import Account
from neural_gpu_bus.embedded.home import ProcessRecord

_EXEC_CHILD = Path(__file__).with_name("exec_child.py")

#: All that a server needs to know of its surroundings; secrets in our environment are not for it.
SERVER_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}

#: PostgreSQL writes a checkpoint before it leaves; on a slow disk that takes a while.
STOP_S_MAX = 60.0
#: Leftovers have had the kernel's signal already.
LEFTOVER_S_MAX = 15.0


async def spawn(
    command: Sequence[str | Path],
    *,
    death_signal: signal.Signals,
    log_file: Path,
    standard_input: Path | None = None,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
) -> asyncio.subprocess.Process:
    """Start a program that gets ``death_signal`` when this process dies (Linux).

    Call it on the main thread: the kernel counts the death of the *thread* that started the child.
    """
    wrapper = [sys.executable, "-I", "-S", str(_EXEC_CHILD)]
    uid, gid = (os.geteuid(), os.getegid()) if account is None else (account.uid, account.gid)
    identity = [str(number) for number in (os.getpid(), int(death_signal), uid, gid)]
    with log_file.open("ab") as log, (standard_input or Path(os.devnull)).open("rb") as given:
        return await asyncio.create_subprocess_exec(
            *wrapper,
            *identity,
            *(str(part) for part in command),
            stdin=given,
            stdout=log,
            stderr=log,
            env=dict(SERVER_ENVIRONMENT if environment is None else environment),
            cwd="/",
        )


async def stop(
    process: asyncio.subprocess.Process, polite: signal.Signals, limit_s: float = STOP_S_MAX
) -> None:
    """End a process of ours: politely, and after ``limit_s`` by SIGKILL."""
    if process.returncode is not None:
        return
    process.send_signal(polite)
    try:
        await asyncio.wait_for(process.wait(), limit_s)
    except TimeoutError:
        process.kill()
        await process.wait()


def record_of(name: str, pid: int) -> ProcessRecord | None:
    """How to recognise that process later; None when it is gone already."""
    try:
        return ProcessRecord(name, pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def living(records: Sequence[ProcessRecord]) -> list[psutil.Process]:
    """Those of the recorded processes that still run; another one with a reused id is none."""
    found = []
    for record in records:
        try:
            process = psutil.Process(record.pid)
            same = abs(process.create_time() - record.started_s) < 1.0
            if same and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def end_leftovers(
    records: Sequence[ProcessRecord], report: Callable[[str], None] | None = None
) -> None:
    """End what a killed keeper left: SIGINT (fast shutdown for PostgreSQL), then SIGKILL."""
    left = living(records)
    for process in left:
        if report:
            report(f"ending leftover pid {process.pid} of a keeper that was killed")
        _send(process, signal.SIGINT)
    _, stubborn = psutil.wait_procs(left, timeout=LEFTOVER_S_MAX)
    for process in stubborn:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=LEFTOVER_S_MAX)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
