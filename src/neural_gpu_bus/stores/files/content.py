"""What a file is, by its first bytes; a suffix is only what somebody once called it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Literal

from neural_gpu_bus.errors import BadFileError

Format = Literal["parquet", "arrow file", "arrow stream", "csv", "csv.gz"]

UNDERSTOOD = "Parquet, Arrow (Feather) and CSV (also gzipped) are understood"

#: Enough for every magic number below and for the first lines of a CSV.
HEAD_BYTES = 64 << 10

#: tar's magic number stands here.
_TAR_AT = 257

#: First bytes of what people load by mistake, and what to do about it where there is more to say.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG\r\n", "a PNG image", ""),
    (b"\xff\xd8\xff", "a JPEG image", ""),
    (b"GIF8", "a GIF image", ""),
    (b"%PDF", "a PDF document", ""),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word document", "save the sheet as CSV"),
    (b"SQLite format 3\x00", "a SQLite database", "export the table as CSV or Parquet"),
    (b"\x89HDF\r\n", "an HDF5 file", "write it as Parquet"),
    (b"\x93NUMPY", "a NumPy array", "write it as Parquet, with column names"),
    (b"ORC", "an ORC file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"FEA1", "a Feather file of version 1", "write it again: Feather is Arrow since 2020"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it first (zstd -d)"),
    (b"BZh", "a bzip2 archive", "unpack it first (bunzip2)"),
    (b"\xfd7zXZ\x00", "an xz archive", "unpack it first (unxz)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first"),
    (b"\x7fELF", "a program", ""),
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8"),
    (b"\x80\x04\x95", "a Python pickle", "write it as Parquet"),
    (b"\x80\x05\x95", "a Python pickle", "write it as Parquet"),
)


def identify(path: Path) -> Format:
    """The format of a file. Raises BadFileError that says what the file looks like instead."""
    head = _head(path)
    if not head:
        raise bad_file(path, "is empty")
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1"):
        return "arrow file"
    if head.startswith(b"\xff\xff\xff\xff") and len(head) > 8:
        return "arrow stream"
    if head.startswith(b"\x1f\x8b"):
        _refuse_other(path, unzipped_head(path, head), "gzip of ")
        return "csv.gz"
    _refuse_other(path, head, "")
    return "csv"


def unzipped_head(path: Path, head: bytes) -> bytes:
    """The first bytes behind the gzip; BadFileError where it is broken."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD_BYTES)
    except zlib.error as error:
        raise bad_file(path, f"looks like gzip and cannot be unpacked ({error})") from None


def bad_file(path: Path, why: str, hint: str = "", **facts: object) -> BadFileError:
    """BadFileError in this package's one form: the file, then what is the matter with it."""
    return BadFileError(f"{path}: {why}", hint=hint or UNDERSTOOD, file=str(path), **facts)


def _head(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise bad_file(path, "is a folder", "name the files in it")
        if path.exists() and not path.is_file():
            raise bad_file(path, "is no plain file", "copy its content into a file first")
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise bad_file(path, "does not exist", "check the name and the folder") from None
    except PermissionError:
        raise bad_file(path, "cannot be read: permission denied", "change its rights") from None
    except OSError as error:
        raise bad_file(path, f"cannot be read: {error.strerror}", "check the disk") from None


def _refuse_other(path: Path, head: bytes, prefix: str) -> None:
    for magic, looks_like, hint in _OTHERS:
        if head.startswith(magic):
            raise bad_file(
                path, f"looks like {prefix}{looks_like}", hint and f"{hint}; {UNDERSTOOD}"
            )
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        raise bad_file(path, f"looks like {prefix}a tar archive", "unpack it first")
    if b"\x00" in head:
        raise bad_file(path, f"looks like {prefix}binary data of an unknown kind")
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"{", b"[")):
        raise bad_file(
            path, f"looks like {prefix}JSON", f"write it as CSV or Parquet; {UNDERSTOOD}"
        )
    if start.startswith(b"<"):
        raise bad_file(path, f"looks like {prefix}XML or HTML")
    if not start:
        raise bad_file(path, "holds nothing but blank space")
