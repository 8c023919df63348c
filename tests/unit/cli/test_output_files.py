"""Files of a command: known beforehand to be writable, whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from neural_gpu_bus.cli.output_files import require_writable, write_whole
from neural_gpu_bus.errors import DiskFullError, HostError


def test_a_missing_folder_is_made_and_nothing_stays_in_it(tmp_path: Path) -> None:
    require_writable("--json FILE", tmp_path / "new" / "figures.json")

    assert list((tmp_path / "new").iterdir()) == []


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot be written: Is a directory") as caught:
        require_writable("--json FILE", tmp_path)

    assert caught.value.hint == "name another place with --json FILE"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "figures.json"
    file.write_bytes(b"old")

    def full(_path: Path, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)

    with pytest.raises(DiskFullError, match="No space left on device") as caught:
        write_whole("--json FILE", file, b"new")

    assert caught.value.folder == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
    assert file.read_bytes() == b"old"


def test_a_folder_that_went_meanwhile_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot be written: No such file"):
        write_whole("--json FILE", tmp_path / "gone" / "figures.json", b"new")
