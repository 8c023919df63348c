"""Files into tables of a real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fix_stores import Playground
from neural_gpu_bus.errors import BadFileError, BadParameterError

BARS = pa.table(
    {
        "instrument_id": ["A", "A", "B"],
        "bar_type": ["1-MINUTE-LAST"] * 3,
        "ts": pa.array([0, 60_000_000, 0], pa.timestamp("us", "UTC")),
        "open": [1.0, 2.0, 3.0],
        "high": [1.0, 2.0, 3.0],
        "low": [1.0, 2.0, 3.0],
        "close": [1.0, 2.0, 3.0],
        "volume": [None, 5.0, 6.0],
    }
)


def parquet(folder: Path, table: pa.Table, name: str = "data.parquet") -> Path:
    pq.write_table(table, folder / name)
    return folder / name


def csv(folder: Path, text: str, name: str = "data.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_known_schema_gets_its_key_and_types(playground: Playground, tmp_path: Path) -> None:
    (report,) = playground.loader.load([parquet(tmp_path, BARS)], playground.table("bars"))

    assert (report.rows, report.created, report.repeated) == (3, True, False)
    assert playground.rows("SELECT instrument_id, volume FROM bars ORDER BY 1, ts") == [
        ("A", None),
        ("A", 5.0),
        ("B", 6.0),
    ]
    key = playground.rows("SELECT indexdef FROM pg_indexes WHERE tablename = 'bars'")
    assert "(instrument_id, bar_type, ts)" in str(key)


def test_csv_of_a_known_schema_has_the_same_types(playground: Playground, tmp_path: Path) -> None:
    file = csv(
        tmp_path,
        "instrument_id,ts,price,size,aggressor_side\n"
        "7,2024-01-31T09:30:00Z,1,2,BUY\n7,2024-01-31T09:30:00.000000001Z,1,2,\n",
    )

    playground.loader.load([file], playground.table("trades"))

    assert playground.rows("SELECT instrument_id, ts, price, aggressor_side FROM trades") == [
        ("7", 1_706_693_400_000_000_000, 1.0, "BUY"),
        ("7", 1_706_693_400_000_000_001, 1.0, None),
    ]


def test_csv_goes_into_a_nanosecond_column_of_an_earlier_file(
    playground: Playground, tmp_path: Path
) -> None:
    first = pa.table({"at": pa.array([5], pa.timestamp("ns", "UTC")), "v": [1]})
    playground.loader.load([parquet(tmp_path, first)], playground.table("t"))

    playground.loader.load(
        [csv(tmp_path, "at,v\n1970-01-01T00:00:00.000000007Z,2\n")], playground.table("t")
    )

    assert playground.rows("SELECT at FROM t ORDER BY at") == [(5,), (7,)]


def test_the_same_bytes_again_change_nothing(playground: Playground, tmp_path: Path) -> None:
    file = csv(tmp_path, "a,b\n1,x\n2,y\n")
    copy = csv(tmp_path, "a,b\n1,x\n2,y\n", "copy.csv")

    reports = playground.loader.load([file, file, copy], playground.table("t"))

    assert [(report.rows, report.repeated) for report in reports] == [
        (2, False),
        (0, True),
        (0, True),
    ]
    assert playground.rows("SELECT count(*) FROM t") == [(2,)]


@pytest.mark.parametrize("key", [None, ["a"]])
def test_the_same_bytes_from_many_threads_are_loaded_once(
    playground: Playground, tmp_path: Path, key: list[str] | None
) -> None:
    file = csv(tmp_path, "a,b\n1,x\n2,y\n")

    with ThreadPoolExecutor(4) as pool:
        reports = list(
            pool.map(
                lambda _: playground.loader.load([file], playground.table("t"), key=key)[0],
                range(4),
            )
        )

    assert sorted(report.rows for report in reports) == [0, 0, 0, 2]
    assert playground.rows("SELECT count(*) FROM t") == [(2,)]


@pytest.mark.parametrize("how", ["TRUNCATE t", "DELETE FROM t", "DROP TABLE t"])
def test_a_table_that_lost_its_rows_takes_the_file_again(
    playground: Playground, tmp_path: Path, how: str
) -> None:
    file = csv(tmp_path, "a,b\n1,x\n")
    playground.loader.load([file], playground.table("t"))
    playground.run(how)

    (report,) = playground.loader.load([file], playground.table("t"))

    assert report.rows == 1


def test_a_table_that_was_replaced_takes_the_file_again(
    playground: Playground, tmp_path: Path
) -> None:
    file = csv(tmp_path, "a,b\n1,x\n")
    playground.loader.load([file], playground.table("t"))
    playground.writer.store(playground.table("t"), {"a": [9], "b": ["z"]}, mode="replace")

    playground.loader.load([file], playground.table("t"))

    assert playground.rows("SELECT a FROM t ORDER BY a") == [(1,), (9,)]


def test_an_overlapping_file_corrects_rows_of_the_same_key(
    playground: Playground, tmp_path: Path
) -> None:
    playground.loader.load([csv(tmp_path, "k,v\n1,a\n2,b\n")], playground.table("t"), key=["k"])

    playground.loader.load([csv(tmp_path, "k,v\n2,B\n3,c\n")], playground.table("t"))

    assert playground.rows("SELECT * FROM t ORDER BY k") == [(1, "a"), (2, "B"), (3, "c")]


@pytest.mark.parametrize(
    ("how", "mended"),
    [("DELETE FROM t WHERE k < 3", 2), ("UPDATE t SET v = 'z' WHERE k = 2", 1), ("SELECT 1", 0)],
)
def test_the_same_file_again_brings_back_rows_of_a_table_with_a_key(
    playground: Playground, tmp_path: Path, how: str, mended: int
) -> None:
    file, table = csv(tmp_path, "k,v\n1,a\n2,b\n3,c\n"), playground.table("t")
    playground.loader.load([file], table, key=["k"])
    playground.run(how)

    (report,) = playground.loader.load([file], table)

    assert (report.rows, report.repeated, report.missing_rows) == (mended, not mended, 0)
    assert playground.rows("SELECT * FROM t ORDER BY k") == [(1, "a"), (2, "b"), (3, "c")]


def test_an_unchanged_table_is_not_written_through_again(
    playground: Playground, tmp_path: Path
) -> None:
    files = [csv(tmp_path, "k,v\n1,a\n2,b\n"), csv(tmp_path, "k,v\n3,c\n", "more.csv")]
    told: list[int] = []

    def load() -> list[int]:
        """Rows that each file sent to the server."""
        told.clear()
        for file in files:
            told.append(0)
            playground.loader.load(
                [file], playground.table("t"), key=["k"], progress=lambda done, _: told.append(done)
            )
        return told

    assert load() == [0, 2, 0, 1]
    assert load() == [0, 2, 0, 1], "the second file changed the table after the first"
    assert load() == [0, 0]
    playground.run("DELETE FROM t WHERE k = 3")
    playground.run("INSERT INTO t VALUES (4, 'd')")
    assert load() == [0, 2, 0, 1]
    assert playground.rows("SELECT k FROM t ORDER BY k") == [(1,), (2,), (3,), (4,)]


def test_rows_missing_from_a_table_without_a_key_are_told_and_loaded_again_when_asked(
    playground: Playground, tmp_path: Path
) -> None:
    files = [csv(tmp_path, "a,b\n1,x\n2,y\n"), csv(tmp_path, "a,b\n3,z\n", "more.csv")]
    playground.loader.load(files, playground.table("t"))
    playground.run("DELETE FROM t WHERE a = 1")

    (told,) = playground.loader.load([files[0]], playground.table("t"))
    (loaded,) = playground.loader.load([files[0]], playground.table("t"), again=True)

    assert (told.rows, told.repeated, told.missing_rows) == (0, True, 1)
    assert (loaded.rows, loaded.repeated, loaded.missing_rows) == (2, False, 0)
    assert playground.rows("SELECT a FROM t ORDER BY a") == [(1,), (2,), (2,), (3,)]


def test_numbers_that_became_text_are_noted(playground: Playground, tmp_path: Path) -> None:
    file = csv(tmp_path, "asset;price\nA;1,5\nB;2,25\n")

    (report,) = playground.loader.load([file], playground.table("t"))

    (note,) = report.notes
    assert "column 'price' is text; values such as '1,5'" in note


def test_a_column_declared_text_is_text(playground: Playground, tmp_path: Path) -> None:
    file = csv(tmp_path, "code,v\n1,2\n")

    playground.loader.load([file], playground.table("t"), text=["code"])

    assert playground.rows("SELECT code, v FROM t") == [("1", 2)]


def test_a_column_declared_text_has_to_be_there(playground: Playground, tmp_path: Path) -> None:
    file = csv(tmp_path, "code,v\n1,2\n")

    with pytest.raises(BadParameterError, match="has no column 'cod' to be read as text; it has"):
        playground.loader.load([file], playground.table("t"), text=["cod"])


# --- bad files


def large_parquet(folder: Path) -> Path:
    numbers = np.arange(200_000)
    numbers[150_000] = 2**40
    return parquet(folder, pa.table({"k": numbers}))


def test_a_bad_row_far_in_leaves_nothing_and_is_named(
    playground: Playground, tmp_path: Path
) -> None:
    file = large_parquet(tmp_path)
    playground.run("CREATE TABLE t (k int)")

    with pytest.raises(BadFileError, match="does not fit into integer") as caught:
        playground.loader.load([file], playground.table("t"))

    assert caught.value.what == (
        f"{file}: row 150001, column 'k': 1099511627776 does not fit into integer "
        "(-2147483648 to 2147483647)"
    )
    assert (caught.value.file, caught.value.row, caught.value.column) == (str(file), 150_001, "k")
    assert playground.rows("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("k,v\n1,a\n2,b\n1,c\n", r"rows 1 and 3 have the same key \(k\) = \(1\)"),
        ("k,v\n1,a\n,b\n", r"row 2 \(line 3\), column 'k': NULL cannot go into a NOT NULL column"),
        ("k,v\n1,a\n\n2x,b\n3,c\n4,d\n", r"row 2 \(line 4\), column 'k': '2x' is not a number"),
    ],
)
def test_a_bad_csv_leaves_no_table(
    playground: Playground, tmp_path: Path, content: str, message: str
) -> None:
    file = csv(tmp_path, content)

    with pytest.raises(BadFileError, match=message) as caught:
        playground.loader.load([file], playground.table("t"), key=["k"])

    assert str(file) in caught.value.what
    assert playground.tables() == []


def test_bad_utf8_is_named_by_row(playground: Playground, tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_bytes(b"a,b\nx,1\nna\xff,2\n")

    with pytest.raises(BadFileError, match=r"row 2 \(line 3\), column 'a': .* is no UTF-8"):
        playground.loader.load([file], playground.table("t"))


def test_nanoseconds_go_into_timestamptz_only_where_they_are_whole_microseconds(
    playground: Playground, tmp_path: Path
) -> None:
    playground.run("CREATE TABLE t (at timestamptz)")
    whole = pa.table({"at": pa.array([1000, 2000], pa.timestamp("ns", "UTC"))})
    bent = pa.table({"at": pa.array([1000, 2001], pa.timestamp("ns", "UTC"))})
    playground.loader.load([parquet(tmp_path, whole)], playground.table("t"))

    with pytest.raises(BadFileError, match=r"row 2, column 'at': .* is no whole microsecond"):
        playground.loader.load([parquet(tmp_path, bent)], playground.table("t"))

    assert playground.rows("SELECT count(*) FROM t") == [(2,)]


def test_files_before_a_bad_one_stay_and_no_file_is_begun_before_all_are_known(
    playground: Playground, tmp_path: Path
) -> None:
    good = csv(tmp_path, "a,b\n1,x\n")
    picture = tmp_path / "picture.csv"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")

    with pytest.raises(BadFileError, match="looks like a PNG image"):
        playground.loader.load([good, picture], playground.table("t"))

    assert playground.tables() == []


def test_a_column_that_the_table_has_not_is_named(playground: Playground, tmp_path: Path) -> None:
    playground.run("CREATE TABLE t (a int)")

    with pytest.raises(BadParameterError, match="has no column 'b'; it has a"):
        playground.loader.load([csv(tmp_path, "a,b\n1,2\n")], playground.table("t"))


def test_a_type_without_a_column_names_the_file(playground: Playground, tmp_path: Path) -> None:
    file = parquet(tmp_path, pa.table({"a": [{"x": 1}]}))

    with pytest.raises(BadFileError, match=r"data.parquet: column 'a': no PostgreSQL column"):
        playground.loader.load([file], playground.table("t"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "a"], "two columns are named 'a'"),
        (["a", ""], "column 2 has no name"),
        (["a", "ctid"], "column 'ctid' has the name of a column that PostgreSQL keeps"),
    ],
)
def test_columns_that_no_table_can_have_name_the_file(
    playground: Playground, tmp_path: Path, names: list[str], message: str
) -> None:
    columns = pa.Table.from_arrays([pa.array([1])] * len(names), names=names)

    with pytest.raises(BadFileError, match=f"data.parquet: {message}") as caught:
        playground.loader.load([parquet(tmp_path, columns)], playground.table("t"))

    assert caught.value.column == names[-1]
    assert playground.tables() == []


def test_a_row_that_fits_no_page_names_the_file(playground: Playground, tmp_path: Path) -> None:
    file = parquet(tmp_path, pa.table({f"c{number}": [1.0] for number in range(1500)}))

    with pytest.raises(
        BadFileError, match=r"data.parquet: PostgreSQL refused it: row is too big: size"
    ):
        playground.loader.load([file], playground.table("t"))


def test_progress_tells_rows_and_their_total(playground: Playground, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    file = parquet(tmp_path, pa.table({"a": np.arange(150_000)}))

    playground.loader.load(
        [file], playground.table("t"), progress=lambda done, total: told.append((done, total))
    )

    assert told[-1] == (150_000, 150_000)
    assert len(told) > 1


LOADING_PROGRAM = """
import sys
from neural_gpu_bus.addresses import postgres_address
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.loading.loads import FileLoader
from neural_gpu_bus.stores.postgres.connections.pool import Pool

dsn, table, *files = sys.argv[1:]
pool = Pool(lambda: connect(dsn, timeout_s=5), connections_max=1, wait_timeout_s=5)
loader = FileLoader(pool.lend, postgres_address(dsn))
for number, file in enumerate(files):
    loader.load([file], f"{table}{number}", progress=lambda done, total: print(done, flush=True))
pool.close()
print("pandas" in sys.modules)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.slow
def test_a_load_that_is_killed_leaves_nothing(
    playground: Playground, tmp_path: Path, postgres_dsn: str, how: signal.Signals
) -> None:
    file = parquet(tmp_path, pa.table({"k": np.arange(2_000_000)}))
    program = subprocess.Popen(
        [sys.executable, "-c", LOADING_PROGRAM, postgres_dsn, playground.table("t"), file],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONDEVMODE": ""},
    )
    assert program.stdout is not None
    program.stdout.readline()
    program.send_signal(how)
    program.stdout.close()

    assert program.wait() != 0
    deadline_s = time.monotonic() + 20
    query = f"SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%{playground.schema}%'"
    while playground.rows(query) != [(0,)]:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    assert playground.tables() == []
    (report,) = playground.loader.load([file], playground.table("t"))
    assert report.rows == 2_000_000


def test_a_load_does_not_import_pandas(
    playground: Playground, tmp_path: Path, postgres_dsn: str
) -> None:
    """pyarrow does so inside its conversions, where a Ctrl-C that comes meanwhile is lost."""
    text = "k,f,b,t,z,w\n1,1.5,true,2024-01-31T09:30:00Z,01,0\n-,NA,,,2,12345678901234567\n"
    columns = pa.table(
        {
            "k": pa.array([1, None], pa.uint16()),
            "b": [None, True],
            "w": pa.array(["p", None]).dictionary_encode(),
            "ts": pa.array([None, 5], pa.timestamp("ns", "UTC")),
        }
    )

    program = [sys.executable, "-c", LOADING_PROGRAM, postgres_dsn, playground.table("t")]
    files = [csv(tmp_path, text), parquet(tmp_path, columns)]
    answer = subprocess.run([*program, *files], capture_output=True, text=True, check=True)

    assert answer.stdout.splitlines()[-1] == "False"
    assert playground.tables() == ["t0", "t1"]


# --- real market data


FILES = [
    "bars",
    "book",
    "book_deltas",
    "daily_prices",
    "daily_returns_sp500",
    "factors",
    "french_portfolios_monthly",
    "quotes",
    "trades",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_real_market_data_arrives_as_it_is(
    playground: Playground, market_data_folder: Path, name: str
) -> None:
    file = market_data_folder / f"{name}.parquet"
    (report,) = playground.loader.load([file], playground.table("t"))

    data = pq.read_table(file)
    assert report.rows == data.num_rows
    for column in [*data.column_names[:12], data.column_names[-1]]:
        assert _on_server(playground, column) == _in_file(data[column])


def _on_server(playground: Playground, column: str) -> tuple[object, ...]:
    """Rows, NULLs, smallest and largest value, and how many different ones."""
    quoted = f'"{column}"'
    kind = playground.rows(f"SELECT pg_typeof({quoted})::text FROM t LIMIT 1")[0][0]
    value = {
        "timestamp with time zone": f"(extract(epoch FROM {quoted}) * 1000000)::int8",
        "date": f"{quoted} - date '1970-01-01'",
        "boolean": f"{quoted}::int",
        "text": f'{quoted} COLLATE "C"',
    }.get(str(kind), quoted)
    return playground.rows(
        f"SELECT count(*), count(*) - count({quoted}), min({value}), max({value}), "
        f"count(DISTINCT {quoted}) FROM t"
    )[0]


def _in_file(values: pa.ChunkedArray) -> tuple[object, ...]:
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    elif pa.types.is_date(values.type) or pa.types.is_boolean(values.type):
        values = values.cast(pa.int32())
    limits = pc.min_max(values)
    return (
        len(values),
        values.null_count,
        limits["min"].as_py(),
        limits["max"].as_py(),
        pc.count_distinct(values, mode="only_valid").as_py(),
    )
