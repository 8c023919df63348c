"""Write-behind as a person sees it in a shell."""

from __future__ import annotations

from pathlib import Path

from neural_gpu_bus.stores.postgres.write_behind.write_behind import WriteBehind


def test_it_says_how_it_stands(tmp_path: Path) -> None:
    def lend() -> None:
        raise AssertionError

    later = WriteBehind(lend, "nowhere", tmp_path, bytes_max=1 << 20, close_timeout_s=0.1)  # type: ignore[arg-type]

    assert repr(later).startswith("WriteBehind idle: 0 records wait, 0 bytes;")
    later.close()
    assert repr(later).startswith("WriteBehind closed: ")
