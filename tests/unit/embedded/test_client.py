"""What a client clears away after a keeper that was killed."""

from __future__ import annotations

import os
from pathlib import Path

from neural_gpu_bus.embedded import client
from neural_gpu_bus.embedded.home import named_home
from neural_gpu_bus.embedded.lock import take_lock
from neural_gpu_bus.settings import Settings


def test_leftovers_are_the_next_keepers_once_it_holds_the_lock(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", memory_folder=tmp_path)
    home = named_home(settings)
    home.folder.mkdir()
    home.run.mkdir(parents=True, exist_ok=True)
    lock = take_lock(home)
    assert lock is not None

    client._remove_leftovers(settings, home)
    kept = home.run.exists()
    os.close(lock)
    client._remove_leftovers(settings, home)

    assert kept
    assert not home.run.exists()
