"""Run as a script between the keeper and each program it starts; becomes that program by exec.

Arguments: keeper's pid, signal number, uid, gid, program, its arguments. It gives up root where
asked, and has the kernel send the signal when the keeper dies. Done here and not in a fork of the
keeper: code between fork and exec of a process with threads can hang. Costs 17 ms (2 cores, 2026).
"""

from __future__ import annotations

import ctypes
import os
import sys

#: linux/prctl.h
PR_SET_PDEATHSIG = 1

#: As a shell says it of a program that it cannot run.
EXIT_NOT_RUNNABLE = 126


def become(keeper: int, death_signal: int, uid: int, gid: int, command: list[str]) -> None:
    """Never returns, unless the keeper is gone already."""
    if uid != os.geteuid():
        os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)
    os.umask(0o077)
    if sys.platform == "linux":
        # After the change of account, which would clear it.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() == keeper:  # else it died before the line above, and no signal will come
        os.execv(command[0], command)  # noqa: S606  (no shell is wanted)


def run(arguments: list[str]) -> int:
    """Exit status for when the program could not be run."""
    keeper, death_signal, uid, gid = (int(argument) for argument in arguments[:4])
    command = arguments[4:]
    try:
        become(keeper, death_signal, uid, gid, command)
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]!r}: {error.strerror}\n")
    return EXIT_NOT_RUNNABLE


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
