"""Mappings live as long as their bytes are referred to, and hold no file open."""

import os
import weakref
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from neural_gpu_bus.errors import HostError
from neural_gpu_bus.memory.files.mapping import FileMapping, allocate


def _file(folder: Path, data: bytes) -> int:
    file = os.open(folder / "file", os.O_CREAT | os.O_RDWR, 0o600)
    os.write(file, data)
    return file


def _open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def test_a_mapping_outlives_its_file_and_its_name(tmp_path: Path) -> None:
    file = _file(tmp_path, b"abcd" * 2048)
    array = FileMapping(file, 8192).array()
    os.close(file)
    (tmp_path / "file").unlink()

    assert bytes(array[:4]) == b"abcd"


def test_a_mapping_goes_with_the_last_reference_to_its_bytes(tmp_path: Path) -> None:
    file = _file(tmp_path, b"abcd" * 2048)
    mapping = FileMapping(file, 8192)
    os.close(file)
    alive = weakref.ref(mapping)
    slice_of_it = mapping.array()[10:20].view("i2")
    del mapping
    buffer = pa.py_buffer(slice_of_it)
    del slice_of_it

    assert alive() is not None
    del buffer
    assert alive() is None


def test_nothing_over_a_read_only_mapping_can_be_made_writable(tmp_path: Path) -> None:
    file = _file(tmp_path, b"abcd" * 2048)
    array = FileMapping(file, 8192).array()
    os.close(file)

    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array.view("f8").flags.writeable = True
    assert not pa.py_buffer(array).is_mutable


def test_what_is_written_is_seen_by_another_mapping(tmp_path: Path) -> None:
    file = _file(tmp_path, bytes(8192))
    writable, readable = FileMapping(file, 8192, writable=True), FileMapping(file, 8192)
    os.close(file)
    writable.array()[100] = 7

    assert readable.array()[100] == 7


def test_a_mapping_holds_no_file_open(tmp_path: Path) -> None:
    file = _file(tmp_path, bytes(8192))
    open_before = _open_files()
    mappings = [FileMapping(file, 8192) for _ in range(50)]

    assert _open_files() == open_before
    os.close(file)
    del mappings


def test_a_refusal_of_the_kernel_is_an_error(tmp_path: Path) -> None:
    file = _file(tmp_path, b"")
    os.close(file)
    with pytest.raises(HostError, match="mapping 8192 bytes failed: Bad file descriptor"):
        FileMapping(file, 8192)


@pytest.mark.parametrize("system_call", [True, False])
def test_allocated_files_have_every_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system_call: bool
) -> None:
    if not system_call:
        monkeypatch.delattr(os, "posix_fallocate")
    file = _file(tmp_path, b"")
    allocate(file, 100_000)
    found = os.fstat(file)
    os.close(file)

    assert found.st_size == 100_000
    assert found.st_blocks * 512 >= 100_000
    assert not np.fromfile(tmp_path / "file", np.uint8).any()
