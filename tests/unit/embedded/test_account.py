"""Who may enter which folder, by mode bits."""

from __future__ import annotations

import os
from pathlib import Path

from neural_gpu_bus.embedded.account import (
    Account,
    current_account,
    first_closed_folder,
    may_read,
    server_account,
)

#: Nobody's: no folder here belongs to it.
STRANGER = Account("stranger", 54321, 54321)


def test_a_closed_folder_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    inner = closed / "inner"
    inner.mkdir(parents=True)
    closed.chmod(0o700)
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        if folder.stat().st_mode & 0o001 == 0:
            closed = folder  # pytest's own folder may be closed already

    assert first_closed_folder(inner, STRANGER) == closed
    assert first_closed_folder(Path("/"), STRANGER) is None


def test_owner_and_group_go_by_their_own_bits(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    status = file.stat()
    owner = Account("owner", status.st_uid, 54321)

    file.chmod(0o400)
    assert may_read(file, owner) or status.st_uid == 0 or first_closed_folder(file, owner)
    file.chmod(0o044)
    assert not may_read(file, Account("owner", status.st_uid, 54321)) or status.st_uid == 0


def test_the_servers_account_is_never_root() -> None:
    assert server_account().uid != 0
    if os.geteuid() != 0:
        assert server_account() == current_account()
