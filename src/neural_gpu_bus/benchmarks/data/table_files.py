"""Files of a folder as Arrow tables, read as ``ngb load`` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from neural_gpu_bus.stores.files import open_file
from neural_gpu_bus.stores.postgres.loading.known_schemas import recognise

#: Endings by preference; what a file is, its content says.
ENDINGS = (".parquet", ".arrow", ".feather", ".csv", ".csv.gz")


def find_files(folder: Path, stems: Sequence[str]) -> dict[str, Path]:
    """Stem to its file, for the stems that have one; of several endings the first wins."""
    return {
        stem: found
        for stem in stems
        if (found := next((p for e in ENDINGS if (p := folder / f"{stem}{e}").is_file()), None))
    }


def read_table(path: Path) -> pa.Table:
    """The whole file; raises BadFileError saying what is wrong with it."""
    file = open_file(path)
    rows = file.read(recognise(file.column_names).types)
    return pa.Table.from_batches(rows.batches(), rows.schema)
