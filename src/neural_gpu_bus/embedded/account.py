"""Who runs the servers. PostgreSQL refuses root, so as root an unprivileged account runs them."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from neural_gpu_bus.errors import HostError

#: First that exists: a database server's own account, else the one that owns nothing.
CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this host."""

    name: str
    uid: int
    gid: int


def current_account() -> Account:
    """Whoever runs this process; initdb and peer authentication need its name."""
    try:
        entry = pwd.getpwuid(os.geteuid())
    except KeyError:
        raise HostError(
            f"user id {os.geteuid()} has no entry in the user database, and PostgreSQL needs one",
            hint="add the user to /etc/passwd, or name an existing server by NGB_POSTGRES_DSN",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def server_account() -> Account:
    """The current account, or an unprivileged one when that is root."""
    if os.geteuid() != 0:
        return current_account()
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise HostError(
        f"PostgreSQL refuses to run as root, and none of the accounts {CANDIDATES} exists",
        hint="create one (`useradd --system postgres`) or run as an ordinary user",
    )


def first_closed_folder(path: Path, account: Account) -> Path | None:
    """The outermost folder on the way to ``path`` that the account may not enter; None where it
    may enter all. Access lists are not looked at.
    """
    for folder in [*reversed(path.parents), *([path] if path.is_dir() else [])]:
        if not _may(folder.stat(), account, execute=True):
            return folder
    return None


def may_read(path: Path, account: Account) -> bool:
    """Whether the account may read that file, ways included."""
    return first_closed_folder(path, account) is None and _may(path.stat(), account, execute=False)


def _may(status: os.stat_result, account: Account, *, execute: bool) -> bool:
    if account.uid == 0:
        return True
    user, group, other = (
        (stat.S_IXUSR, stat.S_IXGRP, stat.S_IXOTH)
        if execute
        else (stat.S_IRUSR, stat.S_IRGRP, stat.S_IROTH)
    )
    if status.st_uid == account.uid:
        return bool(status.st_mode & user)
    if status.st_gid == account.gid:
        return bool(status.st_mode & group)
    return bool(status.st_mode & other)
