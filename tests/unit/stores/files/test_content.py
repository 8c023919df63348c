"""What a file is, told from its bytes."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from neural_gpu_bus.errors import BadFileError
from neural_gpu_bus.stores.files import open_file
from neural_gpu_bus.stores.files.content import identify

TABLE = pa.table({"a": [1, 2, None], "b": ["x", None, "zé"]})
CSV = b"a,b\n1,x\n2,\n,z\xc3\xa9\n"


def write_parquet(path: Path) -> None:
    pq.write_table(TABLE, path)


def write_feather(path: Path) -> None:
    feather.write_feather(TABLE, str(path))


def write_stream(path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)


def write_csv(path: Path) -> None:
    path.write_bytes(CSV)


def write_gzipped_csv(path: Path) -> None:
    path.write_bytes(gzip.compress(CSV, mtime=0))


@pytest.mark.parametrize(
    ("write", "format_"),
    [
        (write_parquet, "parquet"),
        (write_feather, "arrow file"),
        (write_stream, "arrow stream"),
        (write_csv, "csv"),
        (write_gzipped_csv, "csv.gz"),
    ],
)
def test_every_format_is_known_by_its_content_and_read(
    tmp_path: Path, write: object, format_: str
) -> None:
    path = tmp_path / "suffix-says.nothing"
    write(path)

    assert identify(path) == format_
    rows = open_file(path).read({})
    assert pa.Table.from_batches(list(rows.batches()), rows.schema).equals(TABLE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"  \n\n", "holds nothing but blank space"),
        (b"\x89PNG\r\n\x1a\n0000", "looks like a PNG image"),
        (b"PK\x03\x04rest", "looks like a ZIP archive or an Excel workbook"),
        (b'{"a": 1}', "looks like JSON"),
        (b"<html>", "looks like XML or HTML"),
        (b"a,b\n1,\x002\n", "looks like binary data of an unknown kind"),
        ("a,b\n1,2\n".encode("utf-16"), "looks like UTF-16 text"),
        (gzip.compress(b"\x89PNG\r\n\x1a\n0000", mtime=0), "looks like gzip of a PNG image"),
        (b"\x1f\x8bnonsense", "looks like gzip and cannot be unpacked"),
        (b"PAR1 and no more", "is a broken or cut Parquet file"),
        (b"ARROW1\x00\x00 and no more", "is a broken or cut Arrow file"),
        (b"\xff\xff\xff\xff\x08\x00\x00\x00abc", "is a broken or cut Arrow stream"),
        (b"# Read me\n\nWords.\n", "looks like text without columns"),
    ],
)
def test_a_file_of_the_wrong_type_is_told_what_it_looks_like(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(content)

    with pytest.raises(BadFileError, match=message) as caught:
        open_file(path)

    assert caught.value.file == str(path)
    assert str(path) in caught.value.what


def test_folders_and_missing_files_are_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="is a folder"):
        open_file(tmp_path)
    with pytest.raises(BadFileError, match="does not exist"):
        open_file(tmp_path / "nothing.csv")


def test_a_pipe_is_no_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(BadFileError, match="is no plain file"):
        open_file(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_rights_is_said_as_such(tmp_path: Path) -> None:
    path = tmp_path / "secret.csv"
    path.write_bytes(CSV)
    path.chmod(0)

    with pytest.raises(BadFileError, match="permission denied"):
        open_file(path)


@pytest.mark.parametrize("write", [write_parquet, write_feather, write_stream])
def test_a_file_cut_anywhere_is_an_error_and_never_fewer_rows(
    tmp_path: Path, write: object
) -> None:
    path = tmp_path / "whole"
    write(path)
    whole = path.read_bytes()
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFileError, match=str(path)):
            list(open_file(path).read({}).batches())
