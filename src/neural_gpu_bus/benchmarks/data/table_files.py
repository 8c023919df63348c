"""Files of a folder as Arrow tables: Parquet, Arrow, Feather, CSV and compressed CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, feather
from pyarrow import parquet as pq

from neural_gpu_bus.errors import BadFileError

READERS: Mapping[str, Callable[[Path], pa.Table]] = {
    ".parquet": pq.read_table,
    ".arrow": feather.read_table,
    ".feather": feather.read_table,
    ".csv": csv.read_csv,
    ".csv.gz": csv.read_csv,
}


def find_files(folder: Path, stems: Sequence[str]) -> dict[str, Path]:
    """Stem to its file, for the stems that have one; of several endings the first known wins."""
    return {
        stem: found
        for stem in stems
        if (found := next((p for e in READERS if (p := folder / f"{stem}{e}").is_file()), None))
    }


def read_table(path: Path) -> pa.Table:
    """The whole file; raises BadFileError saying what is wrong with it."""
    ending = next(e for e in sorted(READERS, key=len, reverse=True) if path.name.endswith(e))
    try:
        return READERS[ending](path)
    except (pa.ArrowException, OSError) as error:
        raise BadFileError(
            f"{path} cannot be read as {ending.lstrip('.')}: {str(error).splitlines()[0]}",
            hint="write it again, or take it out of the folder",
            file=str(path),
        ) from error
