"""Who keeps a home."""

from __future__ import annotations

import os
from pathlib import Path

from neural_gpu_bus.embedded.account import current_account
from neural_gpu_bus.embedded.home import Home
from neural_gpu_bus.embedded.lock import holder, is_kept, sign_lock, take_lock


def test_one_lock_one_keeper(tmp_path: Path) -> None:
    home = Home(tmp_path, current_account())
    assert not is_kept(home)
    held = take_lock(home)
    assert held is not None

    assert is_kept(home)
    assert take_lock(home) is None

    os.close(held)
    assert not is_kept(home)


def test_a_signed_lock_names_its_holder(tmp_path: Path) -> None:
    home = Home(tmp_path, current_account())
    assert holder(home) is None
    held = take_lock(home)
    assert held is not None
    assert holder(home) is None

    sign_lock(held)

    named = holder(home)
    assert named is not None
    assert named.pid == os.getpid()
    os.close(held)
