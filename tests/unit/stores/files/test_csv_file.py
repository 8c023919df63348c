"""CSV: types from all rows, and bad values by row, line, column and value."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from neural_gpu_bus.errors import BadFileError
from neural_gpu_bus.stores.files import open_file

UTC_US = pa.timestamp("us", "UTC")


def read(path: Path, types: Mapping[str, pa.DataType] | None = None) -> pa.Table:
    rows = open_file(path).read(types or {})
    table = pa.Table.from_batches(list(rows.batches()), rows.schema)
    assert rows.rows in (None, table.num_rows)
    return table


def column(tmp_path: Path, *values: str) -> pa.ChunkedArray:
    """The column that these values make, as they stand in the file."""
    path = tmp_path / "one.csv"
    path.write_text("v,other\n" + "".join(f"{value},1\n" for value in values))
    return read(path)["v"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "-2", ""], pa.int64()),
        (["1", "2.5", "1e3"], pa.float64()),
        (["nan", "inf", "1"], pa.float64()),
        (["1", "NA", "NULL", " 3 "], pa.int64()),
        (["true", "False", ""], pa.bool_()),
        (["2024-01-31", "2024-02-29"], pa.date32()),
        (["2024-01-31", "2024-01-31 09:30"], pa.timestamp("us")),
        (["2024-01-31T09:30:00.123456"], pa.timestamp("us")),
        (["2024-01-31T09:30:00Z", "2024-01-31 09:30:00+05:30"], UTC_US),
        (["2024-01-31T09:30:00Z", "2024-01-31T09:30:00.123456789Z"], pa.timestamp("ns", "UTC")),
        (["007", "12"], pa.string()),
        (["12", "007"], pa.string()),
        (["1234567890123456789012", "1"], pa.string()),
        (["AAPL", "NA", "1"], pa.string()),
        (["", ""], pa.string()),
    ],
)
def test_types_are_found_from_all_values(
    tmp_path: Path, values: list[str], expected: pa.DataType
) -> None:
    assert column(tmp_path, *values).type == expected


def test_values_are_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text(
        'text;number;at;empty\n"a;""b""\nc";1,5;2024-01-31T09:30:00+01:00;""\n;2;;x\nNA;;;\n'
    )

    table = read(path, {"number": pa.string()})

    assert table["text"].to_pylist() == ['a;"b"\nc', None, "NA"]
    assert table["number"].to_pylist() == ["1,5", "2", None]
    assert table["at"].cast(pa.int64()).to_pylist() == [1_706_689_800_000_000, None, None]
    assert table["empty"].to_pylist() == ["", "x", None]


def test_times_without_a_zone_are_utc_where_the_type_has_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("at,b\n2024-01-31 09:30:00,1\n")

    assert str(read(path, {"at": UTC_US})["at"][0]) == "2024-01-31 09:30:00+00:00"


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("row", [3, 300_000])
def test_a_bad_value_is_named_wherever_it_stands(tmp_path: Path, row: int, gzipped: bool) -> None:
    lines = ["day,price", *["2024-01-31,1.5"] * (row - 1), "2024-01-31,1.5x", "2024-01-31,2"]
    content = "\n".join(lines).encode()
    path = tmp_path / ("p.csv.gz" if gzipped else "p.csv")
    path.write_bytes(gzip.compress(content, 1) if gzipped else content)

    with pytest.raises(BadFileError, match="is not a number") as caught:
        read(path)

    assert caught.value.what == (
        f"{path}: row {row} (line {row + 1}), column 'price': '1.5x' is not a number"
    )
    assert "--text price" in caught.value.hint
    assert (caught.value.row, caught.value.column) == (row, "price")


def test_the_line_counts_blank_lines_and_line_breaks_in_values(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('a,b\n"one\ntwo",1\n\nx,2\ny,3\ny,bad\n')

    with pytest.raises(BadFileError, match=r"row 4 \(line 7\), column 'b': 'bad' is not a number"):
        read(path)


def test_a_column_declared_text_takes_everything(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("a,b\n1,1\n2,A17\n3,3\n")

    assert read(path, {"b": pa.string()})["b"].to_pylist() == ["1", "A17", "3"]


@pytest.mark.parametrize(
    ("values", "example"),
    [
        (["1,5", "2", "3,25"], "1,5"),
        (["1.234,5", "-7.000"], "1.234,5"),
        (["$5", "£12.50"], "$5"),
        (["5%", "7.5 %"], "5%"),
        (["1.234,5", "AAPL", "MSFT"], None),
        (["AAPL", "MSFT", "1.5"], None),
        (["007", "012"], None),
        (["31.01.2024", "1.2.3"], None),
        (["1.5", "2"], None),
    ],
)
def test_text_that_people_read_as_numbers_is_noted(
    tmp_path: Path, values: list[str], example: str | None
) -> None:
    path = tmp_path / "p.csv"
    path.write_text("v;w\n" + "".join(f"{value};1\n" for value in values))

    notes = open_file(path).read({}).notes

    if example is None:
        assert notes == ()
    else:
        (note,) = notes
        assert f"column 'v' is text; values such as {example!r}" in note
        assert open_file(path).read({"v": pa.string()}).notes == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["1"] * 2000 + ["0012"], r"row 2001 .*: '0012' is not a number \(with leading zeros"),
        (["9007199254740993", "1.5", "2"], r"'9007199254740993' is not exact beside numbers"),
        (["2024-01-31"] * 3 + ["31.01.2024"], r"'31.01.2024' is not a time such as"),
        (["true", "true", "maybe"], r"'maybe' is not true or false"),
    ],
)
def test_values_of_another_kind_are_refused(
    tmp_path: Path, values: list[str], message: str
) -> None:
    with pytest.raises(BadFileError, match=message):
        column(tmp_path, *values)


@pytest.mark.parametrize(
    ("type_", "value", "message"),
    [
        (pa.int16(), "70000", "'70000' is not a whole number that fits smallint"),
        (pa.int64(), "1.5", "'1.5' is not a whole number that fits bigint"),
        (UTC_US, "2024-01-31T09:30:00.1234567Z", "at most 6 digits after the second"),
        (pa.time64("us"), "25:00", "'25:00' is not a time of day"),
    ],
)
def test_values_that_do_not_fit_a_given_type_are_refused(
    tmp_path: Path, type_: pa.DataType, value: str, message: str
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(f"a,b\n{value},1\n")

    with pytest.raises(BadFileError, match=message):
        read(path, {"a": type_})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3,4,5\n", r"row 2 \(line 3\) has 3 values where the header has 2 columns"),
        ("a,b\n\n1,2\n\n3\n", r"row 2 \(line 5\) has 1 values where the header has 2 columns"),
        ("1,2\n3,4\n", r"starts with values \(1, 2\) where column names should stand"),
        ("a,a\n1,2\n", "two columns are named 'a'"),
        ("a,\n1,2\n", "column 2 has no name"),
        ("a,b\n", "has a header and no rows"),
    ],
)
def test_a_broken_shape_is_told_as_such(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(content)

    with pytest.raises(BadFileError, match=message):
        read(path)


def test_a_cut_gzip_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "p.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"".join(b"%d,2\n" % n for n in range(90_000)))[:-40])

    with pytest.raises(BadFileError, match="cannot be read as CSV after row"):
        read(path)


def test_a_header_alone_is_fine_where_the_types_are_known(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("a,b\n")

    assert read(path, {"a": pa.int64(), "b": pa.string()}).num_rows == 0


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(b"\xef\xbb\xbfa\tb\n1\t2\n")

    assert read(path).to_pydict() == {"a": [1], "b": [2]}
