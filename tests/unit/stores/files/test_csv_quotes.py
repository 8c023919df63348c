"""Quotes that do not pair up are told by row and line, whatever rows they would take in."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_gpu_bus.errors import BadFileError
from neural_gpu_bus.stores.files import open_file
from neural_gpu_bus.stores.files.csv_quotes import BadQuote, QuoteScan


def rows_of(path: Path) -> list[list[str | None]]:
    rows = open_file(path).read({})
    return [list(row.values()) for batch in rows.batches() for row in batch.to_pylist()]


def scanned(content: bytes, piece_bytes: int) -> BadQuote | None:
    scan = QuoteScan(",")
    for start in range(0, len(content), piece_bytes):
        scan.take(content[start : start + piece_bytes])
    return scan.at_end


def hundred_rows(**changed: str) -> str:
    lines = [f"{n},n{n}" for n in range(1, 101)]
    for row, line in changed.items():
        lines[int(row.removeprefix("row_")) - 1] = line
    return "\n".join(["k,v", *lines, ""])


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            hundred_rows(row_50='50,"n50'),
            r"row 50 \(line 51\): a quote opens a value there and nothing closes it",
        ),
        (
            hundred_rows(row_50='50,"n50', row_52='52,"n52"'),
            r"row 50 \(line 51\): .* text follows the next quote \(line 53\)",
        ),
        (hundred_rows(row_50='"50,n50'), r"row 50 \(line 51\): .* nothing closes it"),
        (hundred_rows(row_7='\n"7\n",n7', row_50='50,"n50'), r"row 50 \(line 53\)"),
        (hundred_rows(row_50='50,"n50"x'), r"row 50 \(line 51\): .* \(line 51\)"),
        (hundred_rows(row_100='100,"n1'), r"row 100 \(line 101\): .* nothing closes it"),
        ('"k",v\n1,a\n2,"b"c\n', r"row 2 \(line 3\)"),
        ('k,"v\n1,a\n', r"the header \(line 1\)"),
    ],
)
def test_a_stray_quote_is_named(tmp_path: Path, text: str, message: str, gzipped: bool) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(gzip.compress(text.encode()) if gzipped else text.encode())

    with pytest.raises(BadFileError, match=message):
        rows_of(path)


def test_a_value_of_many_megabytes_is_told_by_the_quote_that_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('k,v\n1,a\n2,"b\n' + "3,c\n" * 3_000_000)

    with pytest.raises(BadFileError, match=r"row 2 \(line 3\): a quote opens a value there"):
        rows_of(path)


def test_an_earlier_fault_is_told_before_a_later_quote(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('k,v\n1,a\n2\n3,"c\n4,d\n')

    with pytest.raises(BadFileError, match=r"row 2 \(line 3\) has 1 values"):
        rows_of(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quotes_that_pair_up_and_quotes_inside_plain_values_are_fine(
    tmp_path: Path, end: str
) -> None:
    path = tmp_path / "p.csv"
    lines = ['\ufeff"k","v"', "", '1,"two', 'lines, ""quoted"""', '2,5" pipe', '3,""', '"4","x"']
    path.write_bytes(end.join(lines).encode())

    assert rows_of(path) == [
        [1, f'two{end}lines, "quoted"'],
        [2, '5" pipe'],
        [3, ""],
        [4, "x"],
    ]


@settings(deadline=None, derandomize=True)
@given(text=st.text('a",\n\r', max_size=30), piece_bytes=st.integers(1, 31))
def test_scanning_agrees_with_a_strict_reader(text: str, piece_bytes: int) -> None:
    """Python's reader takes all lines at once and the scan takes pieces of any size."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = 0
    try:
        for values in reader:
            rows += bool(values)
        is_bad = False
    except csv.Error:
        is_bad = True

    found = scanned(text.encode(), piece_bytes)

    assert (found is not None) == is_bad
    if found is not None:
        assert found.row == rows
