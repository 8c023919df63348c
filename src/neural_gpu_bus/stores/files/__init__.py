"""Files of columns: told apart by their content, read as a schema and batches of bounded size."""

from __future__ import annotations

from neural_gpu_bus.stores.files.data_file import DataFile, FileRows, open_file

__all__ = ["DataFile", "FileRows", "open_file"]
