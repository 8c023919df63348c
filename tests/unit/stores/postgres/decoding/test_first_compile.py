"""Whether anything is compiled yet."""

from __future__ import annotations

from pathlib import Path

from neural_gpu_bus.stores.postgres.decoding import first_compile
from neural_gpu_bus.stores.postgres.decoding.first_compile import is_compiled

FOLDER = Path(first_compile.__file__).parent
INDEX = "copy_kernels.walk-10.py311.nbi"


def test_loops_lie_beside_their_source(tmp_path: Path) -> None:
    assert not is_compiled(tmp_path, None)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / INDEX).touch()

    assert is_compiled(tmp_path, None)
    assert not is_compiled(tmp_path, str(tmp_path / "other"))


def test_or_in_the_folder_that_numba_is_told(tmp_path: Path) -> None:
    (tmp_path / "decoding_1234").mkdir()
    (tmp_path / "decoding_1234" / INDEX).touch()

    assert is_compiled(FOLDER, str(tmp_path))
